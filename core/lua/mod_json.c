/* json.encode, json.decode, json.array, json.is_array, json.record, json.null */
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

/* Leaves one argument: a table that nothing of ours protects, but for a list. */
static void check_markable(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    if (luaL_getmetafield(L, 1, "__metatable") != LUA_TNIL && !json_is_list(L, 1))
        luaL_error(L, "a table with a protected metatable stays what it is");
    lua_settop(L, 1);
}

static int array(lua_State *L)
{
    check_markable(L);
    json_mark_list(L);
    return 1;
}

static int is_array(lua_State *L)
{
    lua_pushboolean(L, json_is_list(L, 1));
    return 1;
}

static int mark_record(lua_State *L)
{
    check_markable(L);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_setmetatable(L, 1);
    return 1;
}

static const char *argument(const void *L, int i)
{
    return lua_tostring((lua_State *)L, i + 1);
}

static int record(lua_State *L)
{
    int columns = lua_gettop(L);
    for (int i = 1; i <= columns; i++)
        luaL_checkstring(L, i);
    luaL_checkstack(L, 8, "too many fields");
    json_push_row_metatable(L, columns, argument, L);
    lua_pushcclosure(L, mark_record, 1);
    return 1;
}

void mod_json_open(lua_State *L)
{
    static const luaL_Reg functions[] = {{"encode", encode},     {"decode", decode}, {"array", array},
                                         {"is_array", is_array}, {"record", record}, {NULL, NULL}};
    luaL_newlib(L, functions);
    lua_pushlightuserdata(L, NULL);
    lua_setfield(L, -2, "null");
    lua_setglobal(L, "json");
}
