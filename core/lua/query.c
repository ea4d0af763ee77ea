#include "lua/query.h"
#include "base/flatjson.h"
#include "lua/fail.h"
#include <lauxlib.h>
#include <sodium.h>
#include <string.h>

enum { MOST_FIELDS = 32 };

/* application/x-www-form-urlencoded, one piece; pushes the text. */
static void push_decoded(lua_State *L, const char *text, size_t len)
{
    luaL_Buffer buffer;
    char *out = luaL_buffinitsize(L, &buffer, len == 0 ? 1 : len);
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        unsigned char byte = 0;
        if (text[i] == '+') {
            out[n++] = ' ';
        } else if (text[i] == '%') {
            if (i + 2 >= len || sodium_hex2bin(&byte, 1, text + i + 1, 2, NULL, NULL, NULL) != 0)
                fail_raise(L, 400, "The query has a broken percent-encoding.");
            out[n++] = (char)byte;
            i += 2;
        } else {
            out[n++] = text[i];
        }
    }
    luaL_pushresultsize(&buffer, n);
}

bool query_is_text(lua_State *L, int index)
{
    size_t len;
    const char *text = lua_tolstring(L, index, &len);
    return flatjson_utf8(text, len);
}

void query_push(lua_State *L, h2o_iovec_t query)
{
    const char *at = query.base, *end = query.base == NULL ? NULL : query.base + query.len;
    int count = 0;
    lua_newtable(L);
    while (at < end) {
        const char *amp = memchr(at, '&', (size_t)(end - at)), *stop = amp == NULL ? end : amp;
        const char *equals = memchr(at, '=', (size_t)(stop - at)), *name_end = equals == NULL ? stop : equals;
        if (stop > at) {
            if (++count > MOST_FIELDS)
                fail_raise(L, 400, "The query has too many fields.");
            push_decoded(L, at, (size_t)(name_end - at));
            lua_pushvalue(L, -1);
            if (lua_rawget(L, -3) != LUA_TNIL)
                fail_raise_field(L, -2, "is given twice");
            lua_pop(L, 1);
            push_decoded(L, equals == NULL ? "" : equals + 1,
                         equals == NULL ? 0 : (size_t)(stop - equals - 1));
            if (!query_is_text(L, -2) || !query_is_text(L, -1))
                fail_raise_field(L, -2, "must be UTF-8 text without NUL");
            lua_rawset(L, -3);
        }
        at = stop + 1;
    }
}
