#include "lab.h"
#include "lua/routes.h"

static void declare(struct lab *lab, const char *routes)
{
    lab_copy(lab, "lib/schema.lua");
    lab_copy(lab, "lib/nearest.lua");
    lab_write(lab, "routes/a.lua", routes);
}

static const struct route *find(struct lab *lab, const char *method, const char *path, h2o_iovec_t *values,
                                char *allow)
{
    /* Copies without a byte behind them: reading on would be seen. */
    size_t len = strlen(path);
    char *copy = malloc(len + (len == 0));
    memcpy(copy, path, len);
    const struct route *route =
        routes_find(lab->runtime.current->routes, h2o_iovec_init(method, strlen(method)),
                    h2o_iovec_init(copy, len), values, allow, 96);
    for (unsigned i = 0; route != NULL && i < route->param_count; i++)
        values[i].base = (char *)path + (values[i].base - copy);
    free(copy);
    return route;
}

static void finds(struct lab *lab, const char *method, const char *path, const char *expected, const char *a,
                  const char *b)
{
    h2o_iovec_t values[ROUTE_PARAMS];
    char allow[96], found[160];
    const struct route *route = find(lab, method, path, values, allow);
    if (route == NULL)
        fail_msg("%s %s: allow '%s'", method, path, allow);
    snprintf(found, sizeof(found), "%s %s", route->method, route->path);
    assert_string_equal(found, expected);
    if (a != NULL)
        assert_true(values[0].len == strlen(a) && memcmp(values[0].base, a, values[0].len) == 0);
    if (b != NULL)
        assert_true(values[1].len == strlen(b) && memcmp(values[1].base, b, values[1].len) == 0);
}

static void misses(struct lab *lab, const char *method, const char *path, const char *expected_allow)
{
    h2o_iovec_t values[ROUTE_PARAMS];
    char allow[96];
    if (find(lab, method, path, values, allow) != NULL)
        fail_msg("%s %s", method, path);
    if (strcmp(allow, expected_allow) != 0)
        fail_msg("%s %s: allow '%s'", method, path, allow);
}

/* Was a miss, for which nobody is asked for a token. */
static void refuses_id(struct lab *lab, const char *method, const char *path, const char *instead)
{
    h2o_iovec_t values[ROUTE_PARAMS];
    char allow[96], found[160];
    const struct route *route = find(lab, method, path, values, allow);
    assert_non_null(route);
    snprintf(found, sizeof(found), "%s %s", route->method, route->path);
    assert_string_equal(found, instead);
    assert_null(route->refusal);
    assert_int_equal(route->param_count, 0);
}

#define R(method, path)                                                                                      \
    "{ method = '" method "', path = '" path "', who = 'anyone', handler = function() end },\n"

static void test_matching(void **state)
{
    struct lab *lab = *state;
    declare(lab,
            "return {\n" R("GET", "/") R("GET", "/devices") R("POST", "/devices/register")
                R("GET", "/devices/:id") R("DELETE", "/devices/:id/delete") R("PATCH", "/devices/:id")
                    R("GET", "/policies/:name") R("PUT", "/policies/:name") R("GET", "/x/:a/:b/:c/:d") "}");
    lab_load_fine(lab);
    finds(lab, "GET", "/", "GET /", NULL, NULL);
    finds(lab, "GET", "/devices", "GET /devices", NULL, NULL);
    finds(lab, "POST", "/devices/register", "POST /devices/register", NULL, NULL);
    finds(lab, "GET", "/devices/42", "GET /devices/:id", "42", NULL);
    finds(lab, "PATCH", "/devices/2147483647", "PATCH /devices/:id", "2147483647", NULL);
    finds(lab, "HEAD", "/devices/1", "GET /devices/:id", "1", NULL);
    finds(lab, "GET", "/policies/caf\xc3\xa9", "GET /policies/:name", "caf\xc3\xa9", NULL);
    finds(lab, "GET", "/x/1/b/c/d", "GET /x/:a/:b/:c/:d", "1", "b");

    static const char *const ids[] = {
        "0",  "-1", "00", "01",     "2147483648", "4294967297", "9223372036854775808", "1e3",  "1.0", "0x1",
        "+1", "1 ", " 1", "1;drop", "%00",        "..",         "12345678901",         "1\xff"};
    for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
        char path[64];
        snprintf(path, sizeof(path), "/devices/%s/delete", ids[i]);
        refuses_id(lab, "DELETE", path, "DELETE /devices/:id/delete");
    }
    refuses_id(lab, "HEAD", "/devices/0", "GET /devices/:id");
    misses(lab, "POST", "/devices/0", "PATCH, GET, HEAD");
    misses(lab, "GET", "", "");
    misses(lab, "GET", "*", "");
    misses(lab, "GET", "devices", "");
    misses(lab, "GET", "/devices/", "");
    misses(lab, "GET", "//devices", "");
    misses(lab, "GET", "/devices//delete", "");
    misses(lab, "GET", "/Devices", "");
    misses(lab, "GET", "/devices/1/delete/more", "");
    misses(lab, "GET", "/x/1/2/3", "");
    misses(lab, "GET", "/x/1/2/3/4/5", "");
}

static void test_allow(void **state)
{
    struct lab *lab = *state;
    declare(lab, "return {\n" R("GET", "/a/:id") R("PATCH", "/a/:id") R("PUT", "/a/:id") R("POST", "/a/:id")
                     R("DELETE", "/a/:id") R("POST", "/b") "}");
    lab_load_fine(lab);
    misses(lab, "OPTIONS", "/a/1", "DELETE, POST, PUT, PATCH, GET, HEAD");
    misses(lab, "GET", "/b", "POST");
    misses(lab, "HEAD", "/b", "POST");
    misses(lab, "post", "/b", "POST");
    misses(lab, "", "/b", "POST");
    misses(lab, "GET", "/", "");
}

/* %ff or %00 in a path reached PostgreSQL, which refused it: 500. */
static void test_params_are_utf8(void **state)
{
    struct lab *lab = *state;
    h2o_iovec_t values[ROUTE_PARAMS];
    char allow[96];
    declare(lab, "return {\n" R("GET", "/policies/:name") "}");
    lab_load_fine(lab);
    misses(lab, "GET", "/policies/\xff", "");
    misses(lab, "GET", "/policies/a\xc3", "");
    assert_null(routes_find(lab->runtime.current->routes, h2o_iovec_init(H2O_STRLIT("GET")),
                            h2o_iovec_init(H2O_STRLIT("/policies/a\0b")), values, allow, sizeof(allow)));
}

static void refused(struct lab *lab, const char *fields, const char *says)
{
    char text[400];
    snprintf(text, sizeof(text),
             "local function h() end\nreturn {\n  { %s,\n    handler = function() end },\n}", fields);
    declare(lab, text);
    lab_refused(lab, "scripts/routes/a.lua", 4, says);
}

static void test_declaration_errors_name_file_and_line(void **state)
{
    struct lab *lab = *state;
    refused(lab, "path = '/a', who = 'user'", "route without method");
    refused(lab, "method = 'GET', who = 'user'", "route without path");
    refused(lab, "method = 'GET', path = '/a'", "route without who");
    refused(lab, "method = 'HEAD', path = '/a', who = 'user'", "unknown method 'HEAD'");
    refused(lab, "method = 'GET', path = '/a', who = 'admin'", "unknown who 'admin'");
    refused(lab, "method = 'GET', path = 'a', who = 'user'", "does not begin with /");
    refused(lab, "method = 'GET', path = '/a//b', who = 'user'", "empty segment");
    refused(lab, "method = 'GET', path = '/:a/:b/:c/:d/:e', who = 'user'", "too many params");
    refused(lab, "method = 'GET', path = '/a', who = 'user', bodi = {}", "unknown field 'bodi'");
    refused(lab, "method = 'GET', path = '/a', who = 'user', 1", "unknown field");
    refused(lab, "method = 'GET', path = '/a', who = 'user', body = 1", "neither a schema nor");
    refused(lab, "method = 'GET', path = '/a', who = 'user', body = { wrong = 1 }",
            "wrong: must be declared");
    refused(lab, "method = 'GET', path = '/a', who = 'user', query = 'x'", "query that is not a schema");
    refused(lab, "method = 'GET', path = '/a', who = 'user', query = { wrong = 1 }",
            "wrong: must be declared");
    refused(lab, "method = 'GET', path = '/a', who = 'user', max_body = 'http.port'", "max_body");
    refused(lab, "method = 'GET', path = '/a', who = 'user', max_body = 'nothing'", "max_body");
    refused(lab,
            "method = 'GET', path = '/:id', who = 'user', handler = h }, { method = 'PUT', path = '/:x', who "
            "= 'user'",
            "mixes :id");
    declare(lab, "return {\n{ method = 'GET', path = '/a', who = 'user' } }");
    lab_refused(lab, "scripts/routes/a.lua", 1, "route 1 has no handler");
    declare(lab, "return {\n" R("GET", "/a/:id") "\n" R("GET", "/a/:id") "}");
    lab_refused(lab, "scripts/routes/a.lua", 4, "GET /a/:id is declared already at scripts/routes/a.lua:2");
    declare(lab, "return 1");
    lab_refused(lab, "scripts/routes/a.lua", 1, "must return a list of routes");
}

/* These were taken: a body that failed with each request, routes that never came to be, a limit without
 * effect. */
static void test_what_was_passed_over(void **state)
{
    struct lab *lab = *state;
    refused(lab, "method = 'POST', path = '/a', who = 'user', body = 'json'", "unknown body 'json'");
    refused(lab, "method = 'POST', path = '/a', who = 'user', body = ''", "unknown body ''");
    refused(lab, "method = 'GET', path = '/a', who = 'user', max_body = 100", "max_body");
    refused(lab, "method = 'GET', path = '/a/', who = 'user'", "ends with /");
    refused(lab, "method = 'GET', path = '/a/:', who = 'user'", "without a name");
    declare(lab, "return { method = 'GET', path = '/a', who = 'user', handler = function() end }");
    lab_refused(lab, "scripts/routes/a.lua", 1, "must return a list of routes");
    declare(lab, "return {\n" R("GET", "/a") " 'not a route',\n" R("GET", "/b") "}");
    lab_refused(lab, "scripts/routes/a.lua", 1, "must return a list of routes");
}

static void test_fields(void **state)
{
    struct lab *lab = *state;
    h2o_iovec_t values[ROUTE_PARAMS];
    char allow[96];
    declare(lab, "return {\n{ method = 'POST', path = '/a/:id/b/:name', who = 'operator', body = { x = { "
                 "'string' } }, "
                 "query = {},\n"
                 "  max_body = 'firmware.max_size', handler = function() end },\n"
                 "{ method = 'POST', path = '/raw', who = 'user', body = 'raw', handler = function() end },\n"
                 "{ method = 'POST', path = '/form', who = 'anyone', body = 'multipart', handler = "
                 "function() end } }");
    lab_load_fine(lab);
    const struct route *route = find(lab, "POST", "/a/7/b/x", values, allow);
    assert_int_equal(route->who, ROUTE_OPERATOR);
    assert_int_equal(route->body, ROUTE_JSON);
    assert_true(route->check_body >= 0 && route->check_query >= 0);
    assert_int_equal(route->max_body, 16 << 20);
    assert_int_equal(route->param_count, 2);
    assert_string_equal(route->params[0], "id");
    assert_string_equal(route->params[1], "name");
    assert_string_equal(route->source, "scripts/routes/a.lua:3");
    assert_int_equal(find(lab, "POST", "/raw", values, allow)->body, ROUTE_RAW);
    assert_int_equal(find(lab, "POST", "/form", values, allow)->body, ROUTE_MULTIPART);
    lab_expect(lab, "return #server.routes()", "3");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LAB_CASE(test_matching),
        LAB_CASE(test_allow),
        LAB_CASE(test_params_are_utf8),
        LAB_CASE(test_declaration_errors_name_file_and_line),
        LAB_CASE(test_what_was_passed_over),
        LAB_CASE(test_fields),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
