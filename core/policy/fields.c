#include "policy/fields.h"
#include "base/embed.h"
#include "policy/declare.h"
#include <lauxlib.h>

EMBED(fields_lua, "policy/fields.lua");

void fields_push(lua_State *L)
{
    if (luaL_loadbufferx(L, fields_lua, (size_t)(fields_lua_end - fields_lua), "=fields.lua", "t") != LUA_OK)
        lua_error(L);
    lua_call(L, 0, 1);
    declare_push_fields(L);
    lua_setfield(L, -2, "policy");
}
