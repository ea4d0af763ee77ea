/* Requests to scripts: from the socket to what a handler returned, on a loop that the test runs itself. */
#include "../http_client.h"
#include "lab.h"
#include "lua/coroutine.h"
#include "lua/dispatch.h"
#include "net/listener.h"
#include <jansson.h>

static struct worker *worker;
static struct http_server *server;
static struct http_context *context;
static struct guard *guard;
static struct guard_budget budget;
static struct listener *listener;

static const char routes[] =
    "local function show(req) return 200, req.query or req.body or {} end\n"
    "return {\n"
    "{ method = 'GET', path = '/q', who = 'anyone', query = { a = { 'string', optional = true }, n = { "
    "'integer', optional = true } }, handler = show },\n"
    "{ method = 'GET', path = '/plain', who = 'anyone', handler = show },\n"
    "{ method = 'POST', path = '/body', who = 'anyone', body = { a = { 'string' }, l = { 'list', of = { "
    "'integer' }, optional = true } }, handler = show },\n"
    "{ method = 'POST', path = '/form', who = 'anyone', body = 'multipart', handler = function(req)\n"
    "    if not req.parts then return 200, { raw = #req.body } end\n"
    "    local out = {} for k, v in pairs(req.parts) do out[k] = type(v) == 'string' and v or #v.data end "
    "return 200, out end },\n"
    "{ method = 'POST', path = '/raw', who = 'anyone', body = 'raw', handler = function(req) return 200, "
    "req.json() end },\n"
    "{ method = 'GET', path = '/things/:id/:name', who = 'anyone', handler = function(req) return 200, "
    "req.params end },\n"
    "{ method = 'GET', path = '/secret', who = 'user', handler = show },\n"
    "{ method = 'GET', path = '/do/:what', who = 'anyone', handler = function(req) return "
    "require('lib.what')[req.params.what](req) end },\n"
    "}\n";

static const char what[] =
    "return {\n"
    "  text = function(req) return 200, 'plain', { ['content-type'] = 'text/plain', ['x-req'] = req.method "
    ".. req.path } end,\n"
    "  none = function() return 204 end,\n"
    "  large = function() local t = {} for i = 1, 15 do t[i] = ('x'):rep(200000) end return 200, { ok = "
    "#json.encode(t) } end,\n"
    "  error = function() error('mine') end,\n"
    "  table = function() error({}) end,\n"
    "  status = function() return 'x' end,\n"
    "  odd = function() return 99 end,\n"
    "  value = function() return 200, { f = function() end } end,\n"
    "  nan = function() return 200, { 0 / 0 } end,\n"
    "  header = function() return 200, {}, { ['x-a'] = 'b\\r\\nx-c: d' } end,\n"
    "  stubborn = function() while true do pcall(function() while true do end end) end end,\n"
    "  closing = function() local x <close> = setmetatable({}, { __close = function() while true do end end "
    "}) while true do end end,\n"
    "  endless = function() while true do end end,\n"
    "  memory = function() local t = {} while true do t[#t + 1] = ('x'):rep(100000) .. #t end end,\n"
    "  fail = function() fail(409, 'It \"is\"', { more = { 1, { a = json.null } }, headers = { ['x-mine'] = "
    "'y', ['retry-after'] = 7 } }) end,\n"
    "  failnumber = function() fail(422, nil, { [1] = 'x', [2] = 'y', a = 1 }) end,\n"
    "  failfunction = function() fail(400, 'x', { f = function() end }) end,\n"
    "  failendless = function() fail(400, 'x', { headers = { a = setmetatable({}, { __tostring = function() "
    "while true do end end }) } }) end,\n"
    "  failencode = function() fail(400, 'x', { a = 1, headers = { h = setmetatable({}, { __tostring = "
    "function() return json.encode({ 'other' }) end }) } }) end,\n"
    "  many = function() local h = {} for i = 1, 17 do h['x-' .. i] = 1 end return 200, {}, h end,\n"
    "}\n";

static int setup(void **state)
{
    char *error = NULL;
    if (lab_setup(state) != 0)
        return -1;
    struct lab *lab = *state;
    worker = loop_worker();
    lab->runtime.worker = worker;
    lab->config->lua_memory = 8 << 20;
    lab_copy(lab, "lib/schema.lua");
    lab_copy(lab, "lib/nearest.lua");
    lab_write(lab, "routes/a.lua", routes);
    lab_write(lab, "lib/what.lua", what);
    struct http_options options = {.max_entity = 2 << 20, .http1_timeout = 5000, .http2_idle = 5000};
    server = http_server_new(&options);
    context = http_context_new(server, worker, lab->runtime.metrics, dispatch, &lab->runtime);
    budget = (struct guard_budget){.limit = 8 << 20};
    guard = guard_new(worker->timers, http_context_h2o(context), &budget, 100);
    struct listener_config config = {.address = "127.0.0.1", .guard = guard};
    listener = listener_open(worker, http_context_h2o(context), &config, &error);
    lab_load_fine(lab);
    return listener == NULL;
}

static int teardown(void **state)
{
    listener_close(listener);
    guard_drain(guard);
    http_context_shutdown(context);
    for (int i = 0; i < 300 && guard_connections(guard) != 0; i++)
        loop_for(worker, NULL, NULL, 10);
    assert_int_equal(http_in_flight(context), 0);
    assert_int_equal(((struct lab *)*state)->runtime.current->refs, 1); /* no coroutine is left */
    listener_free(listener);
    guard_free(guard);
    http_context_free(context);
    http_server_free(server);
    lab_drop(*state);
    loop_for(worker, NULL, NULL, 5);
    int failed = lab_teardown(state);
    loop_finish(worker);
    return failed;
}

static char reply[65536];

static int exchange(const char *request, size_t len)
{
    int fd = client_dial(listener_port(listener), request, len);
    return client_take(worker, fd, reply, sizeof(reply)) > 12 ? atoi(reply + 9) : 0;
}

static const char *body(void)
{
    const char *end = strstr(reply, "\r\n\r\n");
    return end == NULL ? "" : end + 4;
}

/* Each answer with a body must be sound JSON, in UTF-8, unless it says otherwise. */
static void answers(const char *method, const char *path, const char *type, const char *text, size_t len,
                    int status, const char *says)
{
    char request[8192];
    int head =
        snprintf(request, sizeof(request),
                 "%s %s HTTP/1.1\r\nHost: h\r\nConnection: close\r\n%s%s%sContent-Length: %zu\r\n\r\n",
                 method, path, *type == '\0' ? "" : "Content-Type: ", type, *type == '\0' ? "" : "\r\n", len);
    memcpy(request + head, text, len);
    int got = exchange(request, (size_t)head + len);
    if (got != status || strstr(reply, says) == NULL)
        fail_msg("%s %s: %d, not %d and %s:\n%s", method, path, got, status, says, reply);
    if (strcasestr(reply, "json\r\n") != NULL) {
        json_t *parsed = json_loads(body(), JSON_REJECT_DUPLICATES, NULL);
        if (parsed == NULL)
            fail_msg("not JSON: %s", body());
        json_decref(parsed);
    }
}

static void get(const char *path, int status, const char *says)
{
    answers("GET", path, "", "", 0, status, says);
}

static void post(const char *text, int status, const char *says)
{
    answers("POST", "/body", "application/json", text, strlen(text), status, says);
}

static void test_queries(void **state)
{
    get("/q", 200, "{}");
    get("/q?a=x%20y+z%26&n=7", 200, "\"x y z&\"");
    get("/q?n=7&&", 200, "\"n\":7");
    get("/q?a", 200, "\"a\":\"\"");
    get("/q?a=%C3%A4", 200, "\"a\":\"\xc3\xa4\"");
    get("/q?n=1e3", 422, "\"field\":\"n\"");
    get("/q?n=-1", 200, "-1");
    get("/q?n=99999999999999999999", 422, "\"field\":\"n\"");
    get("/q?b=1", 422, "unknown field");
    get("/q?a=1&a=2", 422, "twice");
    get("/q?a=%4", 400, "percent");
    get("/q?a=%", 400, "percent");
    get("/q?a=%zz", 400, "percent");
    get("/plain?x=1", 422, "\"field\":\"x\"");
    get("/plain?", 200, "{}");
    char many[1024] = "/q?";
    for (int i = 0; i < 40; i++)
        sprintf(many + strlen(many), "f%d=&", i);
    get(many, 400, "too many");
}

/* Bytes that are no UTF-8 went as they came into the answer that refused them, and to PostgreSQL. */
static void test_queries_are_utf8(void **state)
{
    get("/q?%ff=1", 422, "\"field\":\"\\ufffd\"");
    get("/q?a=%ff", 422, "UTF-8 text without NUL");
    get("/q?a=%ed%a0%80", 422, "UTF-8 text without NUL");
    get("/q?a=%00", 422, "\"field\":\"a\"");
    get("/q?a=%00", 422, "UTF-8 text without NUL");
    get("/q?a=\xff", 422, "UTF-8 text without NUL");
    get("/q?a=%C3", 422, "UTF-8 text without NUL");
    /* A name that is cut within a character. */
    char path[1024] = "/q?";
    for (int i = 0; i < 60; i++)
        strcat(path, "%E2%82%AC");
    get(path, 422, "unknown field");
}

static void test_bodies(void **state)
{
    post("{\"a\":\"x\"}", 200, "{\"a\":\"x\"}");
    post("{\"a\":\"x\",\"l\":[]}", 200, "\"l\":[]");
    post("{\"a\":\"x\",\"l\":{}}", 422, "\"field\":\"l\"");
    post("{\"a\":1}", 422, "must be a string");
    post("{}", 422, "is missing");
    post("{\"a\":\"x\",\"role\":\"operator\"}", 422, "unknown field");
    post("[]", 422, "must be an object");
    post("null", 422, "must be an object");
    post("1", 422, "must be an object");
    post("", 400, "not JSON");
    post("{\"a\":\"x\"", 400, "ends too early");
    post("{\"a\":\"x\",\"a\":\"y\"}", 400, "duplicate");
    post("{\"a\":\"\\u0000\"}", 400, "u0000 is not taken (line 1, column");
    post("{\"a\\u0000\":1}", 400, "u0000 is not taken");
    post("{\"a\":1} {}", 400, "more than one value");
    post("{\"a\":1e999}", 400, "too large");
    post("{\"a\":\"\xff\"}", 400, "not UTF-8");
    answers("POST", "/body", "text/plain", "{}", 2, 415, "application/json");
    answers("POST", "/body", "", "{}", 2, 415, "application/json");
    answers("POST", "/body", "application/json; charset=utf-8", "{\"a\":\"x\"}", 9, 200, "x");
    answers("POST", "/body", "APPLICATION/JSON", "{\"a\":\"x\"}", 9, 200, "x");
    static const char *const good[] = {"application/json;charset=UTF-8",
                                       "application/json ; Charset=\"utf-8\" ;",
                                       "application/json; version=1; charset=Utf-8", "application/json;"};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        answers("POST", "/body", good[i], "{\"a\":\"x\"}", 9, 200, "x");
    static const char *const other[] = {"application/json; charset=utf-16",
                                        "application/json;CHARSET=\"utf-16\"",
                                        "application/json; charset=utf-8; charset=latin1",
                                        "application/json; charset=",
                                        "application/json; charset",
                                        "application/json; a=\"b;charset=utf-8",
                                        "application/json utf-8"};
    for (size_t i = 0; i < sizeof(other) / sizeof(other[0]); i++) {
        answers("POST", "/body", other[i], "{\"a\":\"x\"}", 9, 415, "UTF-8");
        answers("POST", "/raw", other[i], "{\"a\":\"x\"}", 9, 415, "UTF-8");
    }
    answers("POST", "/raw", good[0], "{\"a\":\"x\"}", 9, 200, "x");
    answers("POST", "/raw", good[0], "{\"a\":", 5, 400, "not JSON");
    answers("POST", "/body", "application/jsonx", "{\"a\":\"x\"}", 9, 415, "");
}

static void test_forms(void **state)
{
    static const char type[] = "multipart/form-data; boundary=B";
    static const char good[] =
        "--B\r\nContent-Disposition: form-data; name=\"v\"\r\n\r\n\xc3\xa4\r\n"
        "--B\r\nContent-Disposition: form-data; name=\"f\"; filename=\"x\"\r\n\r\n\xff\0\xff\r\n--B--\r\n";
    answers("POST", "/form", type, good, sizeof(good) - 1, 200, "\"f\":3");
    assert_non_null(strstr(reply, "\"v\":\"\xc3\xa4\""));
    static const char bad[] = "--B\r\nContent-Disposition: form-data; name=\"v\"\r\n\r\n\xff\r\n--B--\r\n";
    answers("POST", "/form", type, bad, sizeof(bad) - 1, 422, "UTF-8 text without NUL");
    answers("POST", "/form", type, "nothing", 7, 400, "application/problem+json");
    answers("POST", "/form", "application/octet-stream", "abc", 3, 200, "\"raw\":3");
    answers("POST", "/form", "application/octet-stream", "", 0, 200, "\"raw\":0");
    answers("POST", "/form", "text/plain", "abc", 3, 415, "multipart/form-data");
}

static void test_paths_and_methods(void **state)
{
    get("/things/7/a%20b", 200, "\"name\":\"a b\"");
    get("/things/7/%C3%A4", 200, "\"id\":7");
    get("/things/7/%ff", 404, "Not Found");
    get("/things/0/x", 404, "Not Found");
    get("/nothing", 404, "Not Found");
    answers("DELETE", "/plain", "", "", 0, 405, "allow: GET, HEAD");
    answers("PROPFIND", "/body", "", "", 0, 405, "allow: POST");
    get("/secret", 401, "www-authenticate: Bearer");
}

static void test_what_handlers_return(void **state)
{
    get("/do/text", 200, "\r\n\r\nplain");
    assert_non_null(strstr(reply, "x-req: GET/do/text"));
    get("/do/none", 204, "");
    static const char *const broken[] = {"error", "table",  "status", "odd",    "value",
                                         "nan",   "header", "many",   "missing"};
    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
        char path[32];
        snprintf(path, sizeof(path), "/do/%s", broken[i]);
        get(path, 500, "A script failed");
        assert_null(strstr(body(), "lua")); /* nothing of where or why */
        assert_null(strstr(reply, "x-c: d"));
    }
    ((struct lab *)*state)->runtime.watch.limit = 200;
    get("/do/endless", 500, "A script failed");
    ((struct lab *)*state)->runtime.watch.limit = 10000;
    get("/do/memory", 500, "A script failed");
    get("/do/text", 200, "plain");
}

/* Once stopped, a coroutine of the pool could never be stopped again: the next endless script hung its
 * worker. */
static void test_endless_handlers_one_after_another(void **state)
{
    ((struct lab *)*state)->runtime.watch.limit = 100;
    for (int i = 0; i < 3; i++) {
        get("/do/endless", 500, "A script failed");
        get("/do/stubborn", 500, "A script failed");
        get("/do/closing", 500, "A script failed");
        get("/do/text", 200, "plain");
    }
}

/* What one large text needed is not kept for good. */
static void test_large_texts(void **state)
{
    const struct buffer *out = &((struct lab *)*state)->runtime.out;
    get("/do/large", 200, "{\"ok\":3000046}");
    assert_in_range(out->room, 0, 1 << 20);
    get("/do/text", 200, "plain");
}

static void test_problems(void **state)
{
    get("/do/fail", 409, "\"detail\":\"It \\\"is\\\"\"");
    assert_non_null(strstr(reply, "\"more\":[1,{\"a\":null}]"));
    assert_non_null(strstr(reply, "x-mine: y"));
    assert_non_null(strstr(reply, "retry-after: 7"));
    get("/do/failfunction", 500, "A script failed");
}

/* Numbered members confused the walk through them; a __tostring ran where no deadline reached it, and its
 * json.encode() wrote over what stood in the same buffer. */
static void test_odd_problems(void **state)
{
    get("/do/failnumber", 422, "\"a\":1");
    uint64_t began = clock_ms();
    ((struct lab *)*state)->runtime.watch.limit = 200;
    get("/do/failendless", 500, "A script failed");
    assert_in_range(clock_ms() - began, 190, 9000);
    ((struct lab *)*state)->runtime.watch.limit = 10000;
    get("/do/failencode", 400, "\"a\":1");
    assert_non_null(strstr(reply, "h: [\"other\"]"));
    get("/do/text", 200, "plain");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_queries),
        CASE(test_queries_are_utf8),
        CASE(test_bodies),
        CASE(test_forms),
        CASE(test_paths_and_methods),
        CASE(test_what_handlers_return),
        CASE(test_endless_handlers_one_after_another),
        CASE(test_large_texts),
        CASE(test_problems),
        CASE(test_odd_problems),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
