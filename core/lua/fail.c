#include "lua/fail.h"
#include "lua/json.h"
#include <lauxlib.h>

static const char problem_key; /* registry: metatable of problems */

/* fail(status, detail?, extra?). What is somebody else's is told of in the same words as what is not there.
 */
static int fail(lua_State *L)
{
    lua_Integer status = luaL_checkinteger(L, 1);
    luaL_argcheck(L, status >= 400 && status <= 599, 1, "not the status of a problem");
    if (luaL_optstring(L, 2, NULL) == NULL && status == 404) {
        lua_settop(L, 3);
        lua_pushliteral(L, "There is no such thing, or it is not yours to see.");
        lua_replace(L, 2);
    }
    if (!lua_isnoneornil(L, 3))
        luaL_checktype(L, 3, LUA_TTABLE);
    lua_settop(L, 3);
    lua_createtable(L, 0, 3);
    for (int i = 1; i <= 3; i++) {
        static const char *const names[] = {"status", "detail", "extra"};
        lua_pushvalue(L, i);
        lua_setfield(L, -2, names[i - 1]);
    }
    lua_rawgetp(L, LUA_REGISTRYINDEX, &problem_key);
    lua_setmetatable(L, -2);
    return lua_error(L);
}

int fail_raise(lua_State *L, int status, const char *detail)
{
    lua_settop(L, 0);
    lua_pushcfunction(L, fail);
    lua_pushinteger(L, status);
    lua_pushstring(L, detail);
    lua_call(L, 2, 0);
    return 0;
}

void fail_raise_fields(lua_State *L, int errors)
{
    errors = lua_absindex(L, errors);
    lua_pushcfunction(L, fail);
    lua_pushinteger(L, 422);
    lua_pushstring(L, "Some fields are not as they must be.");
    lua_createtable(L, 0, 1);
    lua_pushvalue(L, errors);
    lua_setfield(L, -2, "errors");
    lua_call(L, 3, 0);
}

void fail_raise_field(lua_State *L, int name, const char *message)
{
    lua_pushvalue(L, name);
    lua_createtable(L, 1, 0);
    lua_createtable(L, 0, 2);
    lua_pushvalue(L, -3);
    lua_setfield(L, -2, "field");
    lua_pushstring(L, message);
    lua_setfield(L, -2, "message");
    lua_rawseti(L, -2, 1);
    json_mark_list(L);
    fail_raise_fields(L, -1);
}

bool fail_is_problem(lua_State *L, int index)
{
    if (!lua_istable(L, index) || !lua_getmetatable(L, index))
        return false;
    lua_rawgetp(L, LUA_REGISTRYINDEX, &problem_key);
    bool problem = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return problem;
}

void mod_fail_open(lua_State *L)
{
    lua_createtable(L, 0, 1);
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_rawsetp(L, LUA_REGISTRYINDEX, &problem_key);
    lua_register(L, "fail", fail);
}

void fail_unless_there(lua_State *L, const void *service, const char *name)
{
    if (service == NULL)
        luaL_error(L, "%s is not available here: no server is running", name);
}
