/* JSON that clients and the database give to scripts. What is taken is UTF-8 without NUL, is written again as
 * JSON that is taken, and from then on stays the same to the byte. */
#include "base/flatjson.h"
#include "lua/json.h"
#include <lauxlib.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int round_trip(lua_State *L)
{
    const struct buffer *given = lua_touserdata(L, 1);
    struct buffer *first = lua_touserdata(L, 2), *second = lua_touserdata(L, 3);
    char message[160] = "";
    if (!json_read(L, given->data, given->len, message, sizeof(message))) {
        if (*message == '\0' || lua_gettop(L) != 3)
            abort();
        return 0;
    }
    if (!flatjson_utf8(given->data, given->len) || lua_gettop(L) != 4)
        abort();
    json_write(L, 4, first);
    if (!json_read(L, first->data, first->len, message, sizeof(message)))
        abort();
    json_write(L, 5, second);
    /* The order of members is the table's, and may change with its size; the length may not. */
    if (first->len != second->len)
        abort();
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static lua_State *L;
    static struct buffer first, second;
    if (L == NULL) {
        L = luaL_newstate();
        json_open(L);
    }
    char *text = malloc(size + (size == 0)); /* no byte behind it */
    memcpy(text, data, size);
    struct buffer given = {text, size, size};
    first.len = second.len = 0;
    lua_settop(L, 0);
    lua_pushcfunction(L, round_trip);
    lua_pushlightuserdata(L, &given);
    lua_pushlightuserdata(L, &first);
    lua_pushlightuserdata(L, &second);
    if (lua_pcall(L, 3, 0, 0) != LUA_OK)
        abort(); /* what was read can be written */
    free(text);
    return 0;
}
