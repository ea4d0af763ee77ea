/* What of a request's target reaches code of ours: "METHOD PATH?QUERY". Params of a route that is found lie
 * within the path and are what it declares, or its refusal is found; a query is refused with a problem, or is
 * a table of texts. */
#include "base/flatjson.h"
#include "lua/fail.h"
#include "lua/json.h"
#include "lua/query.h"
#include "lua/routes.h"
#include <lauxlib.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char declarations[] =
    "local function route(method, path)\n"
    "  return { method = method, path = path, who = 'anyone', body = 'raw', handler = function() end }\n"
    "end\n"
    "return { route('GET', '/'), route('GET', '/d'), route('POST', '/d/r'), route('GET', '/d/:id'),\n"
    "  route('PATCH', '/d/:id'), route('DELETE', '/d/:id/x'), route('GET', '/p/:name'),\n"
    "  route('GET', '/q/:a/:b/:c/:d') }";

static void check_params(const struct route *route, const h2o_iovec_t *values, h2o_iovec_t path)
{
    for (unsigned i = 0; i < route->param_count; i++) {
        h2o_iovec_t value = values[i];
        if (value.len == 0 || value.base < path.base || value.base + value.len > path.base + path.len ||
            memchr(value.base, '/', value.len) != NULL)
            abort();
        if (strcmp(route->params[i], "id") == 0) {
            char text[16] = "", again[16];
            memcpy(text, value.base, value.len < sizeof(text) ? value.len : sizeof(text) - 1);
            long long id = strtoll(text, NULL, 10);
            snprintf(again, sizeof(again), "%lld", id);
            bool sound = id >= 1 && id <= INT32_MAX && strlen(text) == value.len && strcmp(text, again) == 0;
            if (!sound)
                abort();
        } else if (!flatjson_utf8(value.base, value.len)) {
            abort();
        }
    }
}

static int read_query(lua_State *L)
{
    query_push(L, *(const h2o_iovec_t *)lua_touserdata(L, 1));
    for (lua_pushnil(L); lua_next(L, 2) != 0; lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING || lua_type(L, -1) != LUA_TSTRING || !query_is_text(L, -2) ||
            !query_is_text(L, -1))
            abort();
    }
    return 0;
}

static char *copy(const char *from, size_t len) /* no byte behind it */
{
    char *to = malloc(len + (len == 0));
    memcpy(to, from, len);
    return to;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static lua_State *L;
    static struct route_table *table;
    if (L == NULL) {
        L = luaL_newstate();
        json_open(L);
        mod_fail_open(L);
        table = routes_new();
        if (luaL_dostring(L, declarations) != LUA_OK)
            abort();
        routes_add(table, L, "fuzz");
    }
    const char *text = (const char *)data, *end = text + size;
    const char *space = size == 0 ? NULL : memchr(text, ' ', size);
    if (space == NULL)
        return 0;
    const char *mark = memchr(space + 1, '?', (size_t)(end - space - 1));
    const char *path_end = mark == NULL ? end : mark, *query_at = mark == NULL ? end : mark + 1;
    h2o_iovec_t method = {copy(text, (size_t)(space - text)), (size_t)(space - text)};
    h2o_iovec_t path = {copy(space + 1, (size_t)(path_end - space - 1)), (size_t)(path_end - space - 1)};
    h2o_iovec_t query = {copy(query_at, (size_t)(end - query_at)), (size_t)(end - query_at)};
    h2o_iovec_t values[ROUTE_PARAMS];
    char allow[96];

    const struct route *route = routes_find(table, method, path, values, allow, sizeof(allow));
    if (route != NULL)
        check_params(route, values, path);
    else if (strlen(allow) >= sizeof(allow) - 1)
        abort();
    lua_settop(L, 0);
    lua_pushcfunction(L, read_query);
    lua_pushlightuserdata(L, &query);
    if (lua_pcall(L, 1, 0, 0) != LUA_OK && !fail_is_problem(L, -1))
        abort();
    free(method.base);
    free(path.base);
    free(query.base);
    return 0;
}
