#include "lua/json.h"
#include <ctype.h>
#include <jansson.h>
#include <lauxlib.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEEPEST = 64, LARGEST = 64 * 1024 * 1024 }; /* levels; bytes written: cycles that branch end, too */

static const char list_key,
    parsed_key; /* registry keys: the metatable of lists; the guard of a parsed document */
static const char columns_key[] = "columns";

/* A document outlives an error raised while its tables are made, until the guard is collected or reused. */
struct guard {
    json_t *document;
};

static int free_guard(lua_State *L)
{
    struct guard *guard = lua_touserdata(L, 1);
    json_decref(guard->document);
    guard->document = NULL;
    return 0;
}

void json_open(lua_State *L)
{
    lua_newtable(L);
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_rawsetp(L, LUA_REGISTRYINDEX, &list_key);

    struct guard *guard = lua_newuserdatauv(L, sizeof(*guard), 0);
    guard->document = NULL;
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, free_guard);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &parsed_key);
}

void json_mark_list(lua_State *L)
{
    lua_rawgetp(L, LUA_REGISTRYINDEX, &list_key);
    lua_setmetatable(L, -2);
}

bool json_is_list(lua_State *L, int index)
{
    if (!lua_istable(L, index) || !lua_getmetatable(L, index))
        return false;
    lua_rawgetp(L, LUA_REGISTRYINDEX, &list_key);
    bool same = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return same;
}

static void push_value(lua_State *L, const json_t *value)
{
    luaL_checkstack(L, 4, "JSON too deep");
    switch (json_typeof(value)) {
    case JSON_OBJECT: {
        const char *key;
        json_t *member;
        lua_createtable(L, 0, (int)json_object_size(value));
        json_object_foreach((json_t *)value, key, member)
        {
            push_value(L, member);
            lua_setfield(L, -2, key);
        }
        break;
    }
    case JSON_ARRAY:
        lua_createtable(L, (int)json_array_size(value), 0);
        for (size_t i = 0; i < json_array_size(value); i++) {
            push_value(L, json_array_get(value, i));
            lua_rawseti(L, -2, (lua_Integer)i + 1);
        }
        json_mark_list(L);
        break;
    case JSON_STRING:
        lua_pushlstring(L, json_string_value(value), json_string_length(value));
        break;
    case JSON_INTEGER:
        lua_pushinteger(L, json_integer_value(value));
        break;
    case JSON_REAL:
        lua_pushnumber(L, json_real_value(value));
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        lua_pushboolean(L, json_is_true(value));
        break;
    case JSON_NULL:
        lua_pushlightuserdata(L, NULL);
        break;
    }
}

static size_t depth_of(const char *text, size_t len)
{
    size_t depth = 0, most = 0;
    bool quoted = false;
    for (size_t i = 0; i < len; i++) {
        if (quoted) {
            if (text[i] == '\\')
                i++;
            else if (text[i] == '"')
                quoted = false;
        } else if (text[i] == '"') {
            quoted = true;
        } else if (text[i] == '[' || text[i] == '{') {
            if (++depth > most)
                most = depth;
        } else if (text[i] == ']' || text[i] == '}') {
            depth -= depth > 0;
        }
    }
    return most;
}

/* A copy in which integers of 19 and more digits end with "e0": jansson reads them as reals then, where as
 * integers it refuses those that do not fit. The caller frees it. */
static char *with_large_as_reals(const char *text, size_t *len)
{
    struct buffer out = {0};
    for (size_t i = 0; i < *len;) {
        size_t start = i;
        if (text[i] == '"') {
            for (i++; i < *len && text[i] != '"'; i++)
                i += text[i] == '\\' && i + 1 < *len;
            i += i < *len;
        } else if (text[i] == '-' || (text[i] >= '0' && text[i] <= '9')) {
            bool whole = true;
            for (i++; i < *len && (isalnum((unsigned char)text[i]) || memchr(".+-", text[i], 3) != NULL); i++)
                whole = whole && text[i] >= '0' && text[i] <= '9';
            buffer_put(&out, text + start, i - start);
            if (whole && i - start >= 19)
                buffer_put(&out, "e0", 2);
            continue;
        } else {
            i++;
        }
        buffer_put(&out, text + start, i - start);
    }
    *len = out.len;
    return out.data;
}

/* jansson's own words where they are about the text ("string or '}' expected"), and not about jansson. */
static const char *what_is_wrong(json_error_t *error)
{
    char *near = strstr(error->text, " near "); /* quotes the text: not for answers and logs */
    if (near != NULL)
        *near = '\0';
    switch (json_error_code(error)) {
    case json_error_null_character:
    case json_error_null_byte_in_key:
        return "\\u0000 is not taken";
    case json_error_invalid_utf8:
        return "not UTF-8";
    case json_error_premature_end_of_input:
        return "ends too early";
    case json_error_end_of_input_expected:
        return "more than one value";
    case json_error_duplicate_key:
        return "duplicate name in an object";
    case json_error_numeric_overflow:
        return "a number is too large";
    case json_error_invalid_syntax:
        return error->text;
    default:
        return "cannot be read";
    }
}

/* jansson does not always say so: then it says nothing. */
static bool ran_out_of_memory(const json_error_t *error)
{
    enum json_error_code code = json_error_code(error);
    return code == json_error_unknown || code == json_error_out_of_memory;
}

bool json_read(lua_State *L, const char *text, size_t len, char *message, size_t size)
{
    json_error_t error;
    lua_rawgetp(L, LUA_REGISTRYINDEX, &parsed_key);
    struct guard *guard = lua_touserdata(L, -1);
    lua_pop(L, 1);
    json_decref(guard->document);
    guard->document = NULL;
    if (memchr(text, '\0', len) != NULL) { /* jansson passes over one behind a number */
        snprintf(message, size, "has a NUL byte");
        return false;
    }
    if (depth_of(text, len) > DEEPEST) {
        snprintf(message, size, "nested deeper than %d", DEEPEST);
        return false;
    }
    guard->document = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    if (guard->document == NULL && json_error_code(&error) == json_error_numeric_overflow) {
        char *copy = with_large_as_reals(text, &len);
        guard->document = json_loadb(copy, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
        free(copy);
    }
    if (guard->document == NULL && ran_out_of_memory(&error))
        return luaL_error(L, "not enough memory to read JSON");
    if (guard->document == NULL) {
        snprintf(message, size, "%s (line %d, column %d)", what_is_wrong(&error), error.line, error.column);
        return false;
    }
    push_value(L, guard->document);
    json_decref(guard->document);
    guard->document = NULL;
    return true;
}

static void write_value(lua_State *L, int index, struct buffer *out, int depth);

/* Most numbers are ids and counts: several times faster than snprintf. */
static void write_integer(lua_Integer value, struct buffer *out)
{
    char text[24], *at = text + sizeof(text);
    lua_Unsigned left = value < 0 ? 0 - (lua_Unsigned)value : (lua_Unsigned)value;
    do
        *--at = (char)('0' + left % 10);
    while ((left /= 10) != 0);
    if (value < 0)
        *--at = '-';
    buffer_put(out, at, (size_t)(text + sizeof(text) - at));
}

static void write_number(lua_State *L, int index, struct buffer *out)
{
    char text[32];
    int n;
    if (lua_isinteger(L, index)) {
        write_integer(lua_tointeger(L, index), out);
        return;
    }
    double value = lua_tonumber(L, index) + 0.0; /* a negative zero would come back as another number */
    if (!isfinite(value))
        luaL_error(L, "JSON has no %f", value);
    n = snprintf(text, sizeof(text), "%.15g", value);
    if (strtod(text, NULL) != value)
        n = snprintf(text, sizeof(text), "%.17g", value);
    buffer_put(out, text, (size_t)n);
}

static void write_list(lua_State *L, int index, struct buffer *out, int depth)
{
    lua_Integer count = (lua_Integer)lua_rawlen(L, index);
    buffer_putc(out, '[');
    for (lua_Integer i = 1; i <= count; i++) {
        if (i > 1)
            buffer_putc(out, ',');
        lua_rawgeti(L, index, i);
        write_value(L, lua_gettop(L), out, depth);
        lua_pop(L, 1);
    }
    buffer_putc(out, ']');
    for (lua_pushnil(L); lua_next(L, index) != 0; lua_pop(L, 1)) {
        if (!lua_isinteger(L, -2) || lua_tointeger(L, -2) < 1 || lua_tointeger(L, -2) > count)
            luaL_error(L, "JSON lists have no other keys than 1 to their length");
    }
}

static void write_member(lua_State *L, struct buffer *out, int depth, bool first)
{
    size_t len;
    if (lua_type(L, -2) != LUA_TSTRING)
        luaL_error(L, "JSON objects have text keys, not %s", luaL_typename(L, -2));
    const char *key = lua_tolstring(L, -2, &len);
    if (!first)
        buffer_putc(out, ',');
    buffer_put_json(out, key, len);
    buffer_putc(out, ':');
    write_value(L, lua_gettop(L), out, depth);
}

static void write_object(lua_State *L, int index, struct buffer *out, int depth)
{
    bool first = true;
    buffer_putc(out, '{');
    for (lua_pushnil(L); lua_next(L, index) != 0; lua_pop(L, 1)) {
        write_member(L, out, depth, first);
        first = false;
    }
    buffer_putc(out, '}');
}

/* Stack: ..., columns on top. The list at 1..n holds the names; the same names are keys for membership. */
static void write_row(lua_State *L, int index, struct buffer *out, int depth)
{
    int columns = lua_gettop(L);
    lua_Integer count = (lua_Integer)lua_rawlen(L, columns);
    lua_Integer present = 0, all = 0;
    buffer_putc(out, '{');
    for (lua_Integer i = 1; i <= count; i++) {
        lua_rawgeti(L, columns, i);
        lua_pushvalue(L, -1);
        if (lua_rawget(L, index) == LUA_TNIL) {
            lua_pop(L, 1);
            lua_pushlightuserdata(L, NULL);
        } else {
            present++;
        }
        write_member(L, out, depth, i == 1);
        lua_pop(L, 2);
    }
    for (lua_pushnil(L); lua_next(L, index) != 0; lua_pop(L, 1))
        all++;
    if (all > present) { /* the script added members */
        for (lua_pushnil(L); lua_next(L, index) != 0; lua_pop(L, 1)) {
            lua_pushvalue(L, -2);
            if (lua_rawget(L, columns) == LUA_TNIL) {
                lua_pop(L, 1);
                write_member(L, out, depth, false);
            } else {
                lua_pop(L, 1);
            }
        }
    }
    buffer_putc(out, '}');
    lua_pop(L, 1);
}

static void write_table(lua_State *L, int index, struct buffer *out, int depth)
{
    if (depth > DEEPEST)
        luaL_error(L, "nested too deeply for JSON");
    if (out->len > LARGEST)
        luaL_error(L, "too large for JSON");
    luaL_checkstack(L, 8, "nested too deeply for JSON");
    if (lua_getmetatable(L, index)) {
        lua_rawgetp(L, LUA_REGISTRYINDEX, &list_key);
        bool list = lua_rawequal(L, -1, -2);
        lua_pop(L, 1);
        if (list) {
            lua_pop(L, 1);
            write_list(L, index, out, depth);
            return;
        }
        if (lua_rawgetp(L, -1, columns_key) == LUA_TTABLE) {
            lua_remove(L, -2);
            write_row(L, index, out, depth);
            return;
        }
        lua_pop(L, 2);
    }
    if (lua_rawlen(L, index) > 0)
        write_list(L, index, out, depth);
    else
        write_object(L, index, out, depth);
}

static void write_value(lua_State *L, int index, struct buffer *out, int depth)
{
    size_t len;
    const char *text;
    switch (lua_type(L, index)) {
    case LUA_TTABLE:
        write_table(L, index, out, depth + 1);
        break;
    case LUA_TSTRING:
        text = lua_tolstring(L, index, &len);
        if (out->len + len > LARGEST) /* one long text can stand in a list many times */
            luaL_error(L, "too large for JSON");
        buffer_put_json(out, text, len);
        break;
    case LUA_TNUMBER:
        write_number(L, index, out);
        break;
    case LUA_TBOOLEAN:
        buffer_puts(out, lua_toboolean(L, index) ? "true" : "false");
        break;
    case LUA_TNIL:
        buffer_puts(out, "null");
        break;
    default:
        if (lua_type(L, index) == LUA_TLIGHTUSERDATA && lua_touserdata(L, index) == NULL)
            buffer_puts(out, "null");
        else
            luaL_error(L, "JSON has no %s", luaL_typename(L, index));
    }
}

void json_write(lua_State *L, int index, struct buffer *out)
{
    write_value(L, lua_absindex(L, index), out, 0);
}

void json_push_row_metatable(lua_State *L, int columns, const char *(*name)(const void *arg, int i),
                             const void *arg)
{
    lua_createtable(L, 0, 2);
    lua_createtable(L, columns, columns);
    for (int i = 0; i < columns; i++) {
        lua_pushstring(L, name(arg, i));
        lua_pushvalue(L, -1);
        lua_rawseti(L, -3, i + 1);
        lua_pushboolean(L, 1);
        lua_rawset(L, -3);
    }
    lua_rawsetp(L, -2, columns_key);
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
}
