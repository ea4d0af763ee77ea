/* config["device.offline_after"]: texts, numbers, booleans; durations in seconds; sizes in bytes. Secrets are
 * not for scripts. */
#include "lua/json.h"
#include "lua/modules.h"

static void push_value(lua_State *L, const struct config_key *key)
{
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
}

static int get(lua_State *L)
{
    const char *name = luaL_checkstring(L, 2);
    const struct config_key *key = config_find(name);
    if (key == NULL || key->secret)
        return luaL_error(L, "config has no '%s' for scripts", name);
    push_value(L, key);
    return 1;
}

int mod_config_list(lua_State *L)
{
    size_t count;
    const struct config_key *keys = config_keys(&count);
    lua_createtable(L, (int)count, 0);
    for (size_t i = 0; i < count; i++) {
        if (keys[i].secret)
            continue;
        lua_createtable(L, 0, 4);
        lua_pushstring(L, keys[i].name);
        lua_setfield(L, -2, "key");
        push_value(L, &keys[i]);
        lua_setfield(L, -2, "value");
        lua_pushstring(L, keys[i].help);
        lua_setfield(L, -2, "help");
        if (keys[i].type == CONFIG_DURATION || keys[i].type == CONFIG_SIZE) {
            lua_pushstring(L, keys[i].type == CONFIG_DURATION ? "s" : "bytes");
            lua_setfield(L, -2, "unit");
        }
        lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
    }
    json_mark_list(L);
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
