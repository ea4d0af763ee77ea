/* log.debug, log.info, log.warn, log.error: (message, {name = value}?) */
#include "base/log.h"
#include "lua/modules.h"

enum { MOST_FIELDS = 16 };

static int write_log(lua_State *L, enum log_level level)
{
    struct log_field fields[MOST_FIELDS + 1];
    size_t count = 0;
    const char *message = luaL_checkstring(L, 1);
    lua_settop(L, 2);
    luaL_checkstack(L, MOST_FIELDS * 4 + 4, NULL);
    if (!lua_isnil(L, 2)) {
        luaL_checktype(L, 2, LUA_TTABLE);
        for (lua_pushnil(L); count < MOST_FIELDS && lua_next(L, 2) != 0;) {
            /* Key, value and text stay on the stack until the line is written; a copy of the key goes on. */
            int key = lua_gettop(L) - 1;
            const char *name = lua_type(L, key) == LUA_TSTRING ? lua_tostring(L, key) : "value";
            if (lua_isinteger(L, -1))
                fields[count++] = LOG_INT(name, lua_tointeger(L, -1));
            else if (lua_type(L, -1) == LUA_TNUMBER)
                fields[count++] = LOG_NUM(name, lua_tonumber(L, -1));
            else
                fields[count++] = LOG_STR(name, luaL_tolstring(L, -1, NULL));
            lua_pushvalue(L, key);
        }
    }
    fields[count].name = NULL;
    log_write(level, message, fields);
    return 0;
}

static int debug(lua_State *L)
{
    return write_log(L, LOG_DEBUG);
}

static int info(lua_State *L)
{
    return write_log(L, LOG_INFO);
}

static int warn(lua_State *L)
{
    return write_log(L, LOG_WARN);
}

static int error(lua_State *L)
{
    return write_log(L, LOG_ERROR);
}

void mod_log_open(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"debug", debug}, {"info", info}, {"warn", warn}, {"error", error}, {NULL, NULL}};
    luaL_newlib(L, functions);
    lua_setglobal(L, "log");
}
