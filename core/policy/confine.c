#include "policy/confine.h"
#include <lauxlib.h>
#include <lualib.h>
#include <stdbool.h>
#include <string.h>

enum { LONGEST_REP = 1024 * 1024, LONGEST_MOVE = 100 * 1000 };

static const char *const base_functions[] = {"assert", "error",    "ipairs", "pcall",
                                             "select", "tonumber", "type",   NULL};

/* string.rep of a large count never returns to the VM, where it could be stopped. */
static int bounded_rep(lua_State *L)
{
    size_t len, separator_len;
    luaL_checklstring(L, 1, &len);
    lua_Integer count = luaL_checkinteger(L, 2);
    luaL_optlstring(L, 3, "", &separator_len);
    if (count > 0 && (len + separator_len + 1) > LONGEST_REP / (lua_Unsigned)count)
        return luaL_error(L, "string.rep: result too large");
    lua_settop(L, 3);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, 3, 1);
    return 1;
}

/* Its range need not exist in the table. */
static int bounded_move(lua_State *L)
{
    lua_Integer from = luaL_checkinteger(L, 2), to = luaL_checkinteger(L, 3);
    if (to >= from && (lua_Unsigned)to - (lua_Unsigned)from >= LONGEST_MOVE)
        return luaL_error(L, "table.move: more than %d elements", LONGEST_MOVE);
    lua_settop(L, 5);
    if (lua_isnil(L, 5))
        lua_settop(L, 4);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, 1);
    return 1;
}

/* Whether Lua would show the value's address, which differs from process to process. */
static bool has_address(lua_State *L, int index)
{
    int type = lua_type(L, index);
    return type != LUA_TSTRING && type != LUA_TNUMBER && type != LUA_TBOOLEAN && type != LUA_TNIL;
}

static int plain_tostring(lua_State *L)
{
    luaL_checkany(L, 1);
    if (has_address(L, 1))
        lua_pushstring(L, luaL_typename(L, 1));
    else
        luaL_tolstring(L, 1, NULL);
    return 1;
}

static int plain_format(lua_State *L)
{
    const char *format = luaL_checkstring(L, 1);
    while ((format = strchr(format, '%')) != NULL) {
        format += 1 + strspn(format + 1, "-+ #0123456789.");
        if (*format == 'p')
            return luaL_error(L, "invalid conversion '%%p' to 'format'");
        format += *format != '\0';
    }
    for (int i = 2; i <= lua_gettop(L); i++) {
        if (has_address(L, i)) {
            lua_pushstring(L, luaL_typename(L, i));
            lua_replace(L, i);
        }
    }
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, 1);
    return 1;
}

/* Keys of pairs: numbers, texts, booleans. */
static bool key_less(lua_State *L, int a, int b)
{
    int type_a = lua_type(L, a), type_b = lua_type(L, b);
    if (type_a != type_b) /* LUA_TBOOLEAN < LUA_TNUMBER < LUA_TSTRING */
        return (type_a == LUA_TBOOLEAN ? 9 : type_a) < (type_b == LUA_TBOOLEAN ? 9 : type_b);
    if (type_a == LUA_TBOOLEAN)
        return !lua_toboolean(L, a) && lua_toboolean(L, b);
    return lua_compare(L, a, b, LUA_OPLT);
}

/* Whether the value at the top is less than the one below it: by the function at `less`, or as Lua has it. */
static bool top_is_less(lua_State *L, int less, bool keys)
{
    if (keys)
        return key_less(L, -1, -2);
    if (lua_isnoneornil(L, less))
        return lua_compare(L, -1, -2, LUA_OPLT);
    lua_pushvalue(L, less);
    lua_pushvalue(L, -2);
    lua_pushvalue(L, -4);
    lua_call(L, 2, 1);
    bool result = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return result;
}

/* from[low..middle) and from[middle..high), both in order, become into[low..high). */
static void merge(lua_State *L, int from, int into, lua_Integer low, lua_Integer middle, lua_Integer high,
                  int less, bool keys)
{
    lua_Integer left = low, right = middle;
    for (lua_Integer i = low; i < high; i++) {
        if (left < middle && right < high) {
            lua_rawgeti(L, from, left);
            lua_rawgeti(L, from, right);
            bool take_right = top_is_less(L, less, keys);
            lua_pop(L, take_right ? 0 : 1);
            if (take_right)
                right++;
            else
                left++;
            lua_rawseti(L, into, i);
            lua_settop(L, into > from ? into : from);
        } else {
            lua_rawgeti(L, from, left < middle ? left++ : right++);
            lua_rawseti(L, into, i);
        }
    }
}

/* Sorts 1..count of the table at `list`, stably: what equals keeps its order on every machine and in every
 * run, which Lua's own does not promise. The list and the scratch made here end at the top of the stack. */
static void sort_list(lua_State *L, int list, lua_Integer count, int less, bool keys)
{
    lua_settop(L, list);
    lua_createtable(L, (int)count, 0);
    int from = list, into = list + 1;
    for (lua_Integer width = 1; width < count; width *= 2) {
        for (lua_Integer low = 1; low <= count; low += 2 * width) {
            lua_Integer middle = low + width > count ? count + 1 : low + width;
            lua_Integer high = low + 2 * width > count ? count + 1 : low + 2 * width;
            merge(L, from, into, low, middle, high, less, keys);
        }
        int other = from;
        from = into;
        into = other;
    }
    if (from != list) {
        for (lua_Integer i = 1; i <= count; i++) {
            lua_rawgeti(L, from, i);
            lua_rawseti(L, list, i);
        }
    }
    lua_settop(L, list);
}

static int stable_sort(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    if (!lua_isnoneornil(L, 2))
        luaL_checktype(L, 2, LUA_TFUNCTION);
    lua_settop(L, 2);
    lua_pushvalue(L, 1); /* sort_list wants the list above the function */
    sort_list(L, 3, (lua_Integer)lua_rawlen(L, 1), 2, false);
    return 0;
}

/* Upvalues: keys in order, how many were passed. */
static int next_in_order(lua_State *L)
{
    lua_Integer i = lua_tointeger(L, lua_upvalueindex(2));
    lua_settop(L, 1);
    while (lua_rawgeti(L, lua_upvalueindex(1), ++i) != LUA_TNIL) {
        lua_pushvalue(L, -1);
        if (lua_rawget(L, 1) != LUA_TNIL) {
            lua_pushinteger(L, i);
            lua_replace(L, lua_upvalueindex(2));
            return 2;
        }
        lua_pop(L, 2); /* removed on the way */
    }
    return 1;
}

static int pairs_in_order(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    lua_newtable(L);
    lua_Integer count = 0;
    for (lua_pushnil(L); lua_next(L, 1) != 0; lua_pop(L, 1)) {
        if (has_address(L, -2))
            return luaL_error(L, "pairs: a %s as key has no place in the order", luaL_typename(L, -2));
        lua_pushvalue(L, -2);
        lua_rawseti(L, 2, ++count);
    }
    sort_list(L, 2, count, 0, true);
    lua_pushinteger(L, 0);
    lua_pushcclosure(L, next_in_order, 2);
    lua_pushvalue(L, 1);
    return 2;
}

static int undefined_global(lua_State *L)
{
    return luaL_error(L, "undefined global '%s'", luaL_tolstring(L, 2, NULL));
}

static int no_assignment(lua_State *L)
{
    return luaL_error(L, "assignment to '%s' (policies have no globals: use local)",
                      luaL_tolstring(L, 2, NULL));
}

/* Replaces the table on top by an empty one that shows it and takes nothing. */
static void lock(lua_State *L)
{
    lua_newtable(L);
    lua_createtable(L, 0, 3);
    lua_pushvalue(L, -3);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, no_assignment);
    lua_setfield(L, -2, "__newindex");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_setmetatable(L, -2);
    lua_remove(L, -2);
}

static void remove_fields(lua_State *L, const char *const *names)
{
    for (; *names != NULL; names++) {
        lua_pushnil(L);
        lua_setfield(L, -2, *names);
    }
}

/* The function `name` of the library on top becomes the upvalue of `wrapper`. */
static void wrap(lua_State *L, const char *name, lua_CFunction wrapper)
{
    lua_getfield(L, -1, name);
    lua_pushcclosure(L, wrapper, 1);
    lua_setfield(L, -2, name);
}

static void open_string(lua_State *L)
{
    static const char *const gone[] = {"dump", "pack", "packsize", "unpack", NULL};
    luaL_requiref(L, LUA_STRLIBNAME, luaopen_string, 0);
    remove_fields(L, gone);
    wrap(L, "rep", bounded_rep);
    wrap(L, "format", plain_format);
    lua_pushliteral(L, "");
    lua_getmetatable(L, -1);
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 2);
}

static void open_table(lua_State *L)
{
    luaL_requiref(L, LUA_TABLIBNAME, luaopen_table, 0);
    wrap(L, "move", bounded_move);
    lua_pushcfunction(L, stable_sort);
    lua_setfield(L, -2, "sort");
}

static void open_math(lua_State *L)
{
    static const char *const gone[] = {"random", "randomseed", NULL};
    luaL_requiref(L, LUA_MATHLIBNAME, luaopen_math, 0);
    remove_fields(L, gone);
}

static void open_utf8(lua_State *L)
{
    luaL_requiref(L, LUA_UTF8LIBNAME, luaopen_utf8, 0);
}

void confine_open(lua_State *L, lua_CFunction require)
{
    static const struct {
        const char *name;
        void (*open)(lua_State *L);
    } libraries[] = {{"string", open_string},
                     {"table", open_table},
                     {"math", open_math},
                     {"utf8", open_utf8}};
    luaL_requiref(L, "_G", luaopen_base, 0);
    lua_newtable(L);
    for (const char *const *name = base_functions; *name != NULL; name++) {
        lua_getfield(L, -2, *name);
        lua_setfield(L, -2, *name);
    }
    lua_remove(L, -2);
    for (size_t i = 0; i < sizeof(libraries) / sizeof(libraries[0]); i++) {
        libraries[i].open(L);
        lock(L);
        lua_setfield(L, -2, libraries[i].name);
    }
    lua_pushcfunction(L, pairs_in_order);
    lua_setfield(L, -2, "pairs");
    lua_pushcfunction(L, plain_tostring);
    lua_setfield(L, -2, "tostring");
    lua_pushcfunction(L, require);
    lua_setfield(L, -2, "require");

    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, undefined_global);
    lua_setfield(L, -2, "__index");
    lua_setmetatable(L, -2);
    lock(L);
    lua_rawseti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS); /* the full library is out of reach now */
    lua_pushnil(L);
    lua_setfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
}
