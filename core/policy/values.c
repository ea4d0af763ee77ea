#include "policy/values.h"
#include <lauxlib.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { DEEPEST = 32, FIRST_FIELDS = 8, LONGEST_INTEGER = 18 };

struct reader {
    lua_State *L;
    const char *name, *at, *end;
};

static _Noreturn void refuse(struct reader *reader)
{
    luaL_error(reader->L, "%s is not a JSON object", reader->name);
    abort(); /* luaL_error does not return */
}

static char next_sign(struct reader *reader)
{
    while (reader->at < reader->end &&
           (*reader->at == ' ' || *reader->at == '\n' || *reader->at == '\t' || *reader->at == '\r'))
        reader->at++;
    return reader->at < reader->end ? *reader->at : '\0';
}

static bool take(struct reader *reader, char sign)
{
    if (next_sign(reader) != sign || reader->at == reader->end)
        return false;
    reader->at++;
    return true;
}

static void take_word(struct reader *reader, const char *word, size_t len)
{
    if ((size_t)(reader->end - reader->at) < len || memcmp(reader->at, word, len) != 0)
        refuse(reader);
    reader->at += len;
}

static unsigned take_hex(struct reader *reader)
{
    unsigned value = 0;
    if (reader->end - reader->at < 4)
        refuse(reader);
    for (int i = 0; i < 4; i++) {
        char c = *reader->at++;
        value = value * 16 + (unsigned)(c >= '0' && c <= '9'   ? c - '0'
                                        : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                        : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                                               : (refuse(reader), 0));
    }
    return value;
}

static void add_character(luaL_Buffer *text, unsigned code)
{
    if (code < 0x80) {
        luaL_addchar(text, (char)code);
        return;
    }
    if (code < 0x800) {
        luaL_addchar(text, (char)(0xc0 | code >> 6));
    } else {
        if (code < 0x10000) {
            luaL_addchar(text, (char)(0xe0 | code >> 12));
        } else {
            luaL_addchar(text, (char)(0xf0 | code >> 18));
            luaL_addchar(text, (char)(0x80 | (code >> 12 & 0x3f)));
        }
        luaL_addchar(text, (char)(0x80 | (code >> 6 & 0x3f)));
    }
    luaL_addchar(text, (char)(0x80 | (code & 0x3f)));
}

static void add_escaped(struct reader *reader, luaL_Buffer *text)
{
    static const char signs[] = "\"\\/bfnrt", means[] = "\"\\/\b\f\n\r\t";
    char sign = reader->at < reader->end ? *reader->at++ : '\0';
    const char *found = sign == '\0' ? NULL : strchr(signs, sign);
    if (found != NULL) {
        luaL_addchar(text, means[found - signs]);
        return;
    }
    if (sign != 'u')
        refuse(reader);
    unsigned code = take_hex(reader);
    if (code >= 0xd800 && code < 0xdc00 && reader->end - reader->at >= 6 && reader->at[0] == '\\' &&
        reader->at[1] == 'u') {
        reader->at += 2;
        unsigned low = take_hex(reader);
        code = low >= 0xdc00 && low < 0xe000 ? 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00) : 0xfffd;
    } else if (code >= 0xd800 && code < 0xe000) {
        code = 0xfffd;
    }
    add_character(text, code);
}

/* Behind the opening quote. */
static void push_text(struct reader *reader)
{
    const char *start = reader->at;
    while (reader->at < reader->end && *reader->at != '"' && *reader->at != '\\')
        reader->at++;
    if (reader->at == reader->end)
        refuse(reader);
    if (*reader->at == '"') {
        lua_pushlstring(reader->L, start, (size_t)(reader->at++ - start));
        return;
    }
    luaL_Buffer text;
    luaL_buffinit(reader->L, &text);
    luaL_addlstring(&text, start, (size_t)(reader->at - start));
    while (reader->at < reader->end && *reader->at != '"') {
        char c = *reader->at++;
        if (c == '\\')
            add_escaped(reader, &text);
        else
            luaL_addchar(&text, c);
    }
    if (reader->at == reader->end)
        refuse(reader);
    reader->at++;
    luaL_pushresult(&text);
}

static void push_number(struct reader *reader)
{
    const char *at = reader->at + (*reader->at == '-'), *digits = at;
    lua_Integer value = 0;
    while (at < reader->end && *at >= '0' && *at <= '9' && at - digits < LONGEST_INTEGER)
        value = value * 10 + (*at++ - '0');
    if (at == digits)
        refuse(reader);
    if (at < reader->end && (*at == '.' || *at == 'e' || *at == 'E' || (*at >= '0' && *at <= '9'))) {
        char *end;
        double number = strtod(reader->at, &end);
        if (end > reader->end)
            refuse(reader);
        reader->at = end;
        lua_pushnumber(reader->L, number);
        return;
    }
    lua_pushinteger(reader->L, *reader->at == '-' ? -value : value);
    reader->at = at;
}

static bool push_value(struct reader *reader, int depth);

static void push_object(struct reader *reader, int depth)
{
    lua_State *L = reader->L;
    lua_createtable(L, 0, FIRST_FIELDS);
    if (take(reader, '}'))
        return;
    do {
        if (!take(reader, '"'))
            refuse(reader);
        push_text(reader);
        if (!take(reader, ':'))
            refuse(reader);
        if (push_value(reader, depth))
            lua_rawset(L, -3);
        else
            lua_pop(L, 1);
    } while (take(reader, ','));
    if (!take(reader, '}'))
        refuse(reader);
}

static void push_list(struct reader *reader, int depth)
{
    lua_State *L = reader->L;
    lua_newtable(L);
    if (take(reader, ']'))
        return;
    lua_Integer i = 0;
    do {
        i++;
        if (push_value(reader, depth))
            lua_rawseti(L, -2, i);
    } while (take(reader, ','));
    if (!take(reader, ']'))
        refuse(reader);
}

/* False, and nothing pushed: null. */
static bool push_value(struct reader *reader, int depth)
{
    lua_State *L = reader->L;
    if (depth > DEEPEST)
        refuse(reader);
    luaL_checkstack(L, 4, "JSON too deep");
    switch (next_sign(reader)) {
    case '{':
        reader->at++;
        push_object(reader, depth + 1);
        return true;
    case '[':
        reader->at++;
        push_list(reader, depth + 1);
        return true;
    case '"':
        reader->at++;
        push_text(reader);
        return true;
    case 't':
        take_word(reader, "true", 4);
        lua_pushboolean(L, 1);
        return true;
    case 'f':
        take_word(reader, "false", 5);
        lua_pushboolean(L, 0);
        return true;
    case 'n':
        take_word(reader, "null", 4);
        return false;
    default:
        push_number(reader); /* refuses what is none */
        return true;
    }
}

void values_push(lua_State *L, const char *name, const char *text, size_t len)
{
    struct reader reader = {.L = L, .name = name, .at = text, .end = text + len};
    if (!take(&reader, '{'))
        refuse(&reader);
    push_object(&reader, 0);
    if (next_sign(&reader) != '\0' || reader.at != reader.end)
        refuse(&reader);
}
