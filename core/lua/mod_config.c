/* config["device.offline_after"]: texts, numbers, booleans; durations in seconds; sizes in bytes. Secrets are
 * not for scripts. */
#include "lua/modules.h"
#include <string.h>

static int get(lua_State *L)
{
    const char *name = luaL_checkstring(L, 2);
    const struct config_key *key = config_find(name);
    if (key == NULL || strstr(name, "password") != NULL || strstr(name, "_url") != NULL ||
        strstr(name, ".url") != NULL) {
        if (key == NULL || strcmp(name, "public_url") != 0)
            return luaL_error(L, "config has no '%s' for scripts", name);
    }
    const void *field = (const char *)runtime_of(L)->services->config + key->offset;
    switch (key->type) {
    case CONFIG_STRING:
        lua_pushstring(L, *(char *const *)field);
        break;
    case CONFIG_BOOL:
        lua_pushboolean(L, *(const bool *)field);
        break;
    case CONFIG_DURATION:
        lua_pushnumber(L, (lua_Number) * (const int64_t *)field / 1000);
        break;
    case CONFIG_INT:
    case CONFIG_SIZE:
        lua_pushinteger(L, *(const int64_t *)field);
        break;
    }
    return 1;
}

static int read_only(lua_State *L)
{
    return luaL_error(L, "config is read-only");
}

void mod_config_open(lua_State *L)
{
    static const luaL_Reg meta[] = {{"__index", get}, {"__newindex", read_only}, {NULL, NULL}};
    lua_newtable(L);
    luaL_newlib(L, meta);
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_setmetatable(L, -2);
    lua_setglobal(L, "config");
}
