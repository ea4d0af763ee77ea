/* json.encode, json.decode, json.array, json.is_array, json.null */
#include "lua/json.h"
#include "lua/modules.h"

static int encode(lua_State *L)
{
    struct buffer *out = &runtime_of(L)->out;
    out->len = 0;
    json_write(L, 1, out);
    lua_pushlstring(L, out->data, out->len);
    return 1;
}

static int decode(lua_State *L)
{
    size_t len;
    char message[160];
    const char *text = luaL_checklstring(L, 1, &len);
    if (json_read(L, text, len, message, sizeof(message)))
        return 1;
    lua_pushnil(L);
    lua_pushstring(L, message);
    return 2;
}

static int array(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    if (luaL_getmetafield(L, 1, "__metatable") != LUA_TNIL && !json_is_list(L, 1))
        return luaL_error(L, "a table with a protected metatable is no list");
    lua_settop(L, 1);
    json_mark_list(L);
    return 1;
}

static int is_array(lua_State *L)
{
    lua_pushboolean(L, json_is_list(L, 1));
    return 1;
}

void mod_json_open(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"encode", encode}, {"decode", decode}, {"array", array}, {"is_array", is_array}, {NULL, NULL}};
    luaL_newlib(L, functions);
    lua_pushlightuserdata(L, NULL);
    lua_setfield(L, -2, "null");
    lua_setglobal(L, "json");
}
