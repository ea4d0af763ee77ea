#include "lua/request.h"
#include "base/mem.h"
#include "lua/blob.h"
#include "lua/fail.h"
#include "lua/feed_socket.h"
#include "lua/json.h"
#include "lua/modules.h"
#include "lua/query.h"
#include "net/content_type.h"
#include "net/multipart.h"
#include "net/origin.h"
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_HEADERS = 16 };

static const char request_key; /* registry: metatable of `req` */

struct interned {
    struct interned *next;
    char text[];
};

const char *request_intern(struct runtime *runtime, const char *text)
{
    for (struct interned *entry = runtime->interned; entry != NULL; entry = entry->next) {
        if (strcmp(entry->text, text) == 0)
            return entry->text;
    }
    struct interned *entry = x_alloc(sizeof(*entry) + strlen(text) + 1);
    strcpy(entry->text, text);
    entry->next = runtime->interned;
    runtime->interned = entry;
    return entry->text;
}

void request_free_interned(struct runtime *runtime)
{
    for (struct interned *entry = runtime->interned, *next; entry != NULL; entry = next) {
        next = entry->next;
        free(entry);
    }
    runtime->interned = NULL;
}

/* req.header(name) */
static int get_header(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    struct http_request *request = coroutine_of(L)->request;
    h2o_iovec_t value = request == NULL ? (h2o_iovec_t){NULL, 0} : http_header(request, name);
    if (value.base == NULL)
        return 0;
    lua_pushlstring(L, value.base, value.len);
    return 1;
}

bool request_has_type(struct http_request *request, const char *type)
{
    h2o_iovec_t header = http_header(request, "content-type");
    return content_type_is(header.base, header.len, type);
}

static void push_json_body(lua_State *L, struct http_request *request)
{
    char message[160], detail[200];
    h2o_iovec_t body = http_body(request), type = http_header(request, "content-type");
    if (body.len == 0 && type.len == 0) { /* none was sent: all of it is absent */
        lua_newtable(L);
        return;
    }
    if (!content_type_is_json(type.base, type.len))
        fail_raise(L, 415, "The body must be application/json in UTF-8.");
    if (!json_read(L, body.base == NULL ? "" : body.base, body.len, message, sizeof(message))) {
        snprintf(detail, sizeof(detail), "The body is not JSON: %s.", message);
        fail_raise(L, 400, detail);
    }
}

/* req.json(): the body as a JSON value, for a route that declares it raw. */
static int get_json(lua_State *L)
{
    struct http_request *request = coroutine_of(L)->request;
    if (request == NULL)
        return 0;
    push_json_body(L, request);
    return 1;
}

/* What few handlers want is made when asked for. */
static int request_index(lua_State *L)
{
    const char *name = lua_tostring(L, 2);
    struct http_request *request = coroutine_of(L)->request;
    if (name == NULL || request == NULL)
        return 0;
    if (strcmp(name, "header") == 0) {
        lua_pushcfunction(L, get_header);
    } else if (strcmp(name, "json") == 0) {
        lua_pushcfunction(L, get_json);
    } else if (strcmp(name, "address") == 0) {
        lua_pushstring(L, http_address(request));
    } else if (strcmp(name, "path") == 0) {
        h2o_iovec_t path = http_path(request);
        lua_pushlstring(L, path.base == NULL ? "" : path.base, path.len);
    } else if (strcmp(name, "method") == 0) {
        h2o_iovec_t method = http_method(request);
        lua_pushlstring(L, method.base, method.len);
    } else if (strcmp(name, "id") == 0) {
        lua_pushstring(L, http_id(request));
    } else if (strcmp(name, "secure") == 0) {
        lua_pushboolean(L, http_secure(request));
    } else if (strcmp(name, "foreign") == 0) {
        const char *origins = runtime_of(L)->services->config->http_origins;
        lua_pushboolean(L, !origin_allowed(http_header(request, "origin"), http_authority(request), origins));
    } else {
        return 0;
    }
    return 1;
}

void mod_request_open(lua_State *L)
{
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, request_index);
    lua_setfield(L, -2, "__index");
    lua_rawsetp(L, LUA_REGISTRYINDEX, &request_key);
}

/* Sets req.parts: text for a part without a file name, else {data = blob, filename = text}. */
static void set_parts(lua_State *L, int req, struct http_request *request)
{
    struct multipart_part parts[MULTIPART_PARTS_MAX];
    const char *error = NULL;
    h2o_iovec_t type = http_header(request, "content-type"), body = http_body(request);
    struct bytes *bytes = blob_push_copy(L, body.base, body.len);
    int count = multipart_parse(type.base, type.len, (const char *)bytes->data, bytes->len, parts,
                                MULTIPART_PARTS_MAX, &error);
    if (count < 0)
        fail_raise(L, 400, error);
    lua_createtable(L, 0, count);
    for (int i = 0; i < count; i++) {
        lua_pushlstring(L, parts[i].name.base, parts[i].name.len);
        if (!query_is_text(L, -1))
            fail_raise_field(L, -1, "must have a name of UTF-8 text without NUL");
        if (parts[i].filename.base == NULL) {
            lua_pushlstring(L, parts[i].data, parts[i].len);
            if (!query_is_text(L, -1))
                fail_raise_field(L, -2, "must be UTF-8 text without NUL");
        } else {
            lua_createtable(L, 0, 2);
            blob_push(L, bytes, (const uint8_t *)parts[i].data, parts[i].len);
            lua_setfield(L, -2, "data");
            lua_pushlstring(L, parts[i].filename.base, parts[i].filename.len);
            lua_setfield(L, -2, "filename");
        }
        lua_rawset(L, -3);
    }
    lua_setfield(L, req, "parts");
    lua_pop(L, 1);
}

/* value, errors = check(value) for the value on top; leaves the checked value there, or raises 422. */
static void check_value(lua_State *L, int check)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, check);
    lua_insert(L, -2);
    lua_call(L, 1, 2);
    if (lua_isnil(L, -2))
        fail_raise_fields(L, -1);
    lua_pop(L, 1);
}

static void set_body(lua_State *L, int req, const struct request_arrival *arrival)
{
    const struct route *route = arrival->route;
    struct http_request *request = arrival->request;
    h2o_iovec_t body = http_body(request);

    switch (route->body) {
    case ROUTE_NO_BODY:
        break;
    case ROUTE_JSON:
        push_json_body(L, request);
        check_value(L, route->check_body);
        lua_setfield(L, req, "body");
        break;
    case ROUTE_MULTIPART:
        if (request_has_type(request, "multipart/form-data")) {
            set_parts(L, req, request);
            break;
        }
        if (!request_has_type(request, "application/octet-stream"))
            fail_raise(L, 415, "The body must be multipart/form-data or application/octet-stream.");
        blob_push_copy(L, body.base, body.len);
        lua_setfield(L, req, "body");
        break;
    case ROUTE_RAW:
        blob_push_copy(L, body.base, body.len);
        lua_setfield(L, req, "body");
        break;
    }
}

static void set_user(lua_State *L, int req, const struct jwt_claims *claims)
{
    lua_createtable(L, 0, 5);
    lua_pushinteger(L, claims->sub);
    lua_setfield(L, -2, "id");
    lua_pushstring(L, jwt_role_text(claims->role));
    lua_setfield(L, -2, "role");
    lua_pushboolean(L, claims->role == JWT_OPERATOR);
    lua_setfield(L, -2, "operator");
    lua_pushstring(L, claims->sid);
    lua_setfield(L, -2, "sid");
    lua_pushinteger(L, claims->exp);
    lua_setfield(L, -2, "expires");
    lua_setfield(L, req, "user");
}

static void set_params(lua_State *L, int req, const struct request_arrival *arrival)
{
    const struct route *route = arrival->route;
    lua_createtable(L, 0, (int)route->param_count);
    for (unsigned i = 0; i < route->param_count; i++) {
        lua_pushlstring(L, arrival->params[i].base, arrival->params[i].len);
        if (strcmp(route->params[i], "id") == 0) {
            lua_Integer id = lua_tointeger(L, -1); /* routes_find checked it */
            lua_pop(L, 1);
            lua_pushinteger(L, id);
        }
        lua_setfield(L, -2, route->params[i]);
    }
    lua_setfield(L, req, "params");
}

/* Headers of a handler's table, as text that stays alive on the Lua stack. Of a blob two are `validators`;
 * else NULL. */
static size_t read_headers(lua_State *L, int index, struct http_header headers[MOST_HEADERS],
                           struct http_validators *validators)
{
    size_t count = 0;
    if (lua_isnoneornil(L, index))
        return 0;
    luaL_checktype(L, index, LUA_TTABLE);
    luaL_checkstack(L, MOST_HEADERS * 2 + 4, NULL);
    for (lua_pushnil(L); lua_next(L, index) != 0; lua_pop(L, 1)) {
        if (count == MOST_HEADERS || lua_type(L, -2) != LUA_TSTRING)
            luaL_error(L, "headers are a table of at most %d names", MOST_HEADERS);
        size_t len;
        const char *name = lua_tostring(L, -2), *value = luaL_tolstring(L, -1, &len);
        if (strpbrk(value, "\r\n") != NULL || strlen(value) != len)
            luaL_error(L, "header %s has a line break", name);
        lua_pushvalue(L, -1);
        lua_insert(L, index + 1); /* keep the text; the loop's key and value stay on top */
        lua_pop(L, 1);
        if (validators != NULL && strcmp(name, "etag") == 0)
            validators->etag = value;
        else if (validators != NULL && strcmp(name, "last-modified") == 0)
            validators->modified = strtoll(value, NULL, 10);
        else
            headers[count++] = (struct http_header){name, value, len};
    }
    return count;
}

static void release_blob(void *owner)
{
    bytes_release(owner);
}

static int answer(lua_State *L, int status_code, lua_KContext context)
{
    struct coroutine *coroutine = coroutine_of(L);
    struct http_request *request = coroutine->request;
    struct http_header headers[MOST_HEADERS];
    struct http_validators validators = {NULL, 0};
    size_t len;

    if (!lua_isinteger(L, 1))
        return luaL_error(L, "a handler must return a status first, not %s", luaL_typename(L, 1));
    int status = (int)lua_tointeger(L, 1);
    if (status == 101) {
        feed_socket_open(L, 2);
        return 0;
    }
    if (status < 200 || status > 599)
        return luaL_error(L, "a handler returned the status %d", status);
    const struct blob_view *blob = blob_test(L, 2);
    size_t count = read_headers(L, 3, headers, blob == NULL ? NULL : &validators);

    if (lua_istable(L, 2)) {
        struct buffer *out = &runtime_of(L)->out;
        out->len = 0;
        json_write(L, 2, out);
        coroutine->request = NULL;
        http_answer_json(request, status, headers, count, out->data, out->len);
    } else if (blob != NULL) {
        struct http_blob body = {blob->data, blob->len, release_blob, bytes_hold(blob->bytes)};
        coroutine->request = NULL;
        http_answer_blob(request, headers, count, &validators, &body);
    } else if (lua_isnil(L, 2)) {
        coroutine->request = NULL;
        http_answer(request, status, headers, count, NULL, 0);
    } else {
        const char *text = luaL_checklstring(L, 2, &len);
        coroutine->request = NULL;
        http_answer(request, status, headers, count, text, len);
    }
    return 0;
}

int request_run(lua_State *L)
{
    const struct request_arrival *arrival = lua_touserdata(L, 1);
    const struct route *route = arrival->route;

    lua_settop(L, 0);
    lua_rawgeti(L, LUA_REGISTRYINDEX, route->handler);
    lua_createtable(L, 0, 6);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &request_key);
    lua_setmetatable(L, 2);
    if (arrival->claims.sub != 0)
        set_user(L, 2, &arrival->claims);
    set_params(L, 2, arrival);
    if (route->check_query != LUA_NOREF || http_query(arrival->request).len != 0) {
        query_push(L, http_query(arrival->request));
        if (route->check_query != LUA_NOREF)
            check_value(L, route->check_query);
        else if (lua_pushnil(L), lua_next(L, -2) != 0)
            fail_raise_field(L, -2, "unknown field: this path takes no query");
        lua_setfield(L, 2, "query");
    }
    set_body(L, 2, arrival);
    lua_callk(L, 1, 3, 0, answer);
    return answer(L, LUA_OK, 0);
}

/* On the generation's own state: the raised value is at 1, the coroutine at 2. */
static int answer_problem(lua_State *L)
{
    struct coroutine *coroutine = lua_touserdata(L, 2);
    struct http_request *request = coroutine->request;
    struct http_header headers[MOST_HEADERS];
    struct buffer *extra = &runtime_of(L)->out;
    size_t count = 0;

    lua_getfield(L, 1, "detail");
    const char *detail = lua_tostring(L, 3);
    lua_getfield(L, 1, "status");
    int status = (int)lua_tointeger(L, 4);
    if (lua_getfield(L, 1, "extra") == LUA_TTABLE) {
        lua_getfield(L, 5, "headers");
        count = read_headers(L, 6, headers, NULL);
    }
    extra->len = 0;
    if (lua_istable(L, 5)) {
        for (lua_pushnil(L); lua_next(L, 5) != 0; lua_pop(L, 1)) {
            const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "headers";
            if (strcmp(name, "headers") == 0)
                continue;
            buffer_putc(extra, ',');
            buffer_put_json(extra, name, strlen(name));
            buffer_putc(extra, ':');
            json_write(L, -1, extra);
        }
    }
    coroutine->request = NULL;
    http_problem(request, status, detail, buffer_text(extra), headers, count);
    return 0;
}

bool request_answer_problem(struct coroutine *coroutine)
{
    lua_State *failed = coroutine->L, *L = coroutine->generation->L;
    struct watch *watch = &coroutine->generation->runtime->watch;
    if (!fail_is_problem(failed, -1))
        return false;
    lua_pushcfunction(L, answer_problem);
    lua_pushvalue(failed, -1);
    lua_xmove(failed, L, 1);
    lua_pushlightuserdata(L, coroutine);
    watch_enter(watch, L); /* values of headers may have a __tostring */
    if (lua_pcall(L, 2, 0, 0) != LUA_OK)
        lua_pop(L, 1);
    watch_leave(watch);
    if (lua_gethook(L) != NULL)
        lua_sethook(L, NULL, 0, 0);
    return coroutine->request == NULL;
}
