#include "lua/sandbox.h"
#include "lua/bounded.h"
#include "lua/coroutine.h"
#include "lua/modules.h"
#include <lauxlib.h>
#include <lualib.h>
#include <string.h>

/* Not here: collectgarbage coroutine debug dofile io load loadfile os package print warn xpcall. */
static const char *const base_functions[] = {"assert",   "error",  "ipairs",       "next",
                                             "pairs",    "pcall",  "select",       "tonumber",
                                             "tostring", "type",   "rawequal",     "rawget",
                                             "rawlen",   "rawset", "getmetatable", NULL};

/* setmetatable, but no finalizers: they would run in the collector, where no deadline reaches them. */
static int checked_setmetatable(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    if (!lua_isnil(L, 2)) {
        luaL_checktype(L, 2, LUA_TTABLE);
        lua_getfield(L, 2, "__gc");
        luaL_argcheck(L, lua_isnil(L, -1), 2, "__gc is not for scripts");
        lua_pop(L, 1);
    }
    if (luaL_getmetafield(L, 1, "__metatable") != LUA_TNIL)
        return luaL_error(L, "cannot change a protected metatable");
    lua_settop(L, 2);
    lua_setmetatable(L, 1);
    return 1;
}

static int require(lua_State *L)
{
    generation_require(L, luaL_checkstring(L, 1));
    return 1;
}

static int undefined_global(lua_State *L)
{
    return luaL_error(L, "undefined global '%s'", luaL_tolstring(L, 2, NULL));
}

static int no_new_global(lua_State *L)
{
    return luaL_error(L, "assignment to global '%s' (use local)", luaL_tolstring(L, 2, NULL));
}

static void open_library(lua_State *L, const char *name, lua_CFunction open)
{
    luaL_requiref(L, name, open, 0);
    lua_setglobal(L, name);
}

static void open_lua(lua_State *L)
{
    luaL_requiref(L, "_G", luaopen_base, 0); /* fills the globals with all of it */
    lua_newtable(L);
    for (const char *const *name = base_functions; *name != NULL; name++) {
        lua_getfield(L, -2, *name);
        lua_setfield(L, -2, *name);
    }
    lua_rawseti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
    lua_pop(L, 1);
    lua_pushnil(L);
    lua_setfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE); /* the full base library is out of reach now */

    open_library(L, LUA_STRLIBNAME, luaopen_string);
    open_library(L, LUA_TABLIBNAME, luaopen_table);
    open_library(L, LUA_MATHLIBNAME, luaopen_math);
    open_library(L, LUA_UTF8LIBNAME, luaopen_utf8);
    lua_pushnil(L);
    lua_setfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);

    bounded_open(L);
    lua_getglobal(L, "string");
    lua_pushnil(L);
    lua_setfield(L, -2, "dump");
    lua_pop(L, 1);
    lua_pushliteral(L, ""); /* ("").x and getmetatable("") share one metatable: close it */
    lua_getmetatable(L, -1);
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 2);

    lua_register(L, "setmetatable", checked_setmetatable);
    lua_register(L, "require", require);
}

void sandbox_open_pure(lua_State *L)
{
    open_lua(L);
    modules_open_pure(L);
}

void sandbox_open(lua_State *L)
{
    open_lua(L);
    modules_open(L);
    if (runtime_of(L)->services->open_policies != NULL)
        runtime_of(L)->services->open_policies(L);
}

void sandbox_close(lua_State *L)
{
    lua_pushglobaltable(L);
    lua_createtable(L, 0, 3);
    lua_pushcfunction(L, undefined_global);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, no_new_global);
    lua_setfield(L, -2, "__newindex");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_setmetatable(L, -2);
    lua_pop(L, 1);
}
