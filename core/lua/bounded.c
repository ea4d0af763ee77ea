/* Each stands before the function of Lua that it bounds, which is its upvalue, and calls it in its own frame,
 * so that errors name the script's line. Loaded once a state; no state of its own. */
#include "lua/bounded.h"
#include "lua/pattern.h"
#include <lauxlib.h>
#include <stdbool.h>

enum { LONGEST_REP = 1 << 20, MOST_ELEMENTS = 1 << 23 };
static const double most_steps = 1 << 28, most_compared = 1LL << 33; /* of a matcher; bytes of memcmp */

static int go_on(lua_State *L)
{
    return lua_tocfunction(L, lua_upvalueindex(1))(L);
}

static int rep(lua_State *L)
{
    size_t len, separator_len;
    luaL_checklstring(L, 1, &len);
    lua_Integer count = luaL_checkinteger(L, 2);
    luaL_optlstring(L, 3, "", &separator_len);
    if (count > 0 && (len + separator_len + 1) > LONGEST_REP / (lua_Unsigned)count)
        return luaL_error(L, "string.rep: result too large");
    return go_on(L);
}

static void check_pattern(lua_State *L, bool anchors)
{
    size_t len, pattern_len;
    luaL_checklstring(L, 1, &len);
    const char *pattern = luaL_checklstring(L, 2, &pattern_len);
    if (pattern_len > PATTERN_LONGEST)
        luaL_error(L, "pattern longer than %d bytes", PATTERN_LONGEST);
    if (!pattern_bounded(pattern, pattern_len, len, anchors, most_steps))
        luaL_error(L, "pattern '%s' could run too long on a text of %I bytes", pattern, (LUAI_UACINT)len);
}

static int match(lua_State *L)
{
    check_pattern(L, true);
    return go_on(L);
}

static int gmatch(lua_State *L)
{
    check_pattern(L, false);
    return go_on(L);
}

static int find(lua_State *L)
{
    size_t len, plain_len;
    if (!lua_toboolean(L, 4))
        return match(L);
    luaL_checklstring(L, 1, &len);
    luaL_checklstring(L, 2, &plain_len);
    if ((double)len * (double)plain_len > most_compared)
        return luaL_error(L, "texts too long for string.find");
    return go_on(L);
}

/* Its elements are those it has, and not what __len says. */
static int sized(lua_State *L)
{
    if (luaL_getmetafield(L, 1, "__len") != LUA_TNIL)
        return luaL_error(L, "a table with __len is not for this");
    return go_on(L);
}

static void check_range(lua_State *L, lua_Integer first, lua_Integer last)
{
    if (last > first && (lua_Unsigned)last - (lua_Unsigned)first >= MOST_ELEMENTS)
        luaL_error(L, "more than %d elements", MOST_ELEMENTS);
}

static int move(lua_State *L)
{
    check_range(L, luaL_checkinteger(L, 2), luaL_checkinteger(L, 3));
    return go_on(L);
}

static int concat(lua_State *L)
{
    if (!lua_isnoneornil(L, 4))
        check_range(L, luaL_optinteger(L, 3, 1), luaL_checkinteger(L, 4));
    return sized(L);
}

static void replace(lua_State *L, const char *library, const luaL_Reg *functions)
{
    lua_getglobal(L, library);
    for (; functions->name != NULL; functions++) {
        lua_getfield(L, -1, functions->name);
        lua_pushcclosure(L, functions->func, 1);
        lua_setfield(L, -2, functions->name);
    }
    lua_pop(L, 1);
}

void bounded_open(lua_State *L)
{
    static const luaL_Reg strings[] = {{"rep", rep},       {"find", find},  {"match", match},
                                       {"gmatch", gmatch}, {"gsub", match}, {NULL, NULL}};
    static const luaL_Reg tables[] = {{"insert", sized},  {"remove", sized}, {"sort", sized},
                                      {"concat", concat}, {"move", move},    {NULL, NULL}};
    replace(L, "string", strings);
    replace(L, "table", tables);
}
