/* The console's answers, and CORS, on a loop that the test runs itself. */
#include "../http_client.h"
#include "../scratch.h"
#include "net/console.h"
#include "net/cors.h"
#include "net/listener.h"
#include <sodium.h>

static struct scratch *scratch;
static struct console *console;
static struct worker *worker;
static struct http_server *server;
static struct http_context *context;
static struct guard *guard;
static struct guard_budget budget;
static struct listener *listener;
static struct metrics *metrics;

static const char origins[] = "https://b.example";

static void handle(struct http_request *request, void *arg)
{
    if (!cors_preflight(request, origins) && !console_answer(console, request))
        http_problem(request, 404, "not the console's", "", NULL, 0);
}

static void put(const char *name, const char *text)
{
    scratch_write(scratch, name, text, strlen(text), 0600);
}

static int setup(void **state)
{
    char *error = NULL;
    void *made;
    struct http_options options = {.max_entity = 4096,
                                   .http1_timeout = 5000,
                                   .http2_idle = 5000,
                                   .origins = origins};
    if (scratch_setup(&made) != 0)
        return -1;
    scratch = made;
    mkdir(scratch_path(scratch, "media"), 0700);
    put("index.html", "<app ngCspNonce=\"CSP_NONCE\"></app><script nonce=\"CSP_NONCE\">1</script>");
    put("main-ABCD1234.js", "0123456789");
    put("main-ABCD1234.js.br", "br");
    put("main-ABCD1234.js.gz", "gzip");
    put("media/logo.svg", "<svg/>");
    put("favicon.ico", "icon");
    console = console_load(scratch->path);
    worker = loop_worker();
    metrics = metrics_new();
    server = http_server_new(&options);
    context = http_context_new(server, worker, metrics, handle, NULL);
    budget = (struct guard_budget){.limit = 1 << 20};
    guard = guard_new(worker->timers, http_context_h2o(context), &budget, 100);
    struct listener_config config = {.address = "127.0.0.1", .guard = guard};
    listener = listener_open(worker, http_context_h2o(context), &config, &error);
    return listener == NULL || console == NULL;
}

static int teardown(void **state)
{
    void *made = scratch;
    listener_close(listener);
    guard_drain(guard);
    http_context_shutdown(context);
    for (int i = 0; i < 300 && guard_connections(guard) != 0; i++)
        loop_for(worker, NULL, NULL, 10);
    assert_int_equal(http_in_flight(context), 0);
    listener_free(listener);
    guard_free(guard);
    http_context_free(context);
    http_server_free(server);
    metrics_free(metrics);
    console_free(console);
    loop_finish(worker);
    return scratch_teardown(&made);
}

static char reply[65536];

static int ask(const char *method, const char *path, const char *headers)
{
    char request[1024];
    int len = snprintf(request, sizeof(request), "%s %s HTTP/1.1\r\nConnection: close\r\n%s%s\r\n", method,
                       path, strstr(headers, "Host:") == NULL ? "Host: h.example:8080\r\n" : "", headers);
    int fd = client_dial(listener_port(listener), request, (size_t)len);
    return client_take(worker, fd, reply, sizeof(reply)) > 12 ? atoi(reply + 9) : 0;
}

static void says(const char *text)
{
    if (strcasestr(reply, text) == NULL)
        fail_msg("no %s in:\n%s", text, reply);
}

static void says_not(const char *text)
{
    if (strcasestr(reply, text) != NULL)
        fail_msg("%s in:\n%s", text, reply);
}

static const char *body(void)
{
    return strstr(reply, "\r\n\r\n") + 4;
}

static void test_pages(void **state)
{
    static const char *const pages[] = {"/",
                                        "/ui",
                                        "/ui/",
                                        "/ui/index.html",
                                        "/ui/devices",
                                        "/ui/a.b/c",
                                        "/ui/devices/42?x=1",
                                        "/ui/x/../y/%41"};
    for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
        assert_int_equal(ask("GET", pages[i], "Accept-Encoding: br\r\n"), 200);
        says("content-type: text/html; charset=utf-8\r\n");
        says("<app ngCspNonce=\"");
        says("cache-control: no-store\r\n");
        says_not("CSP_NONCE");
    }
}

static void test_policy(void **state)
{
    char nonce[64], before[64] = "", expected[512];
    for (int i = 0; i < 3; i++) {
        assert_int_equal(ask("GET", "/", ""), 200);
        assert_int_equal(sscanf(strstr(reply, "ngCspNonce="), "ngCspNonce=\"%63[A-Za-z0-9+/=]\"", nonce), 1);
        assert_int_equal(strlen(nonce), 24);
        assert_string_not_equal(nonce, before);
        strcpy(before, nonce);
        snprintf(expected, sizeof(expected), "></app><script nonce=\"%s\">1</script>", nonce);
        says(expected);
        snprintf(expected, sizeof(expected),
                 "\r\ncontent-security-policy: default-src 'none'; script-src 'self' 'nonce-%s'; style-src "
                 "'self' 'nonce-%s'; img-src 'self' data: blob:; font-src 'self'; connect-src 'self' "
                 "ws://h.example:8080 wss://h.example:8080; worker-src 'self'; manifest-src 'self'; base-uri "
                 "'self'; form-action 'none'; frame-ancestors 'none'\r\n",
                 nonce, nonce);
        says(expected);
        says_not("frame-ancestors 'none'\r\ncontent-security-policy");
        says("permissions-policy: serial=(self), ");
        says("cross-origin-opener-policy: same-origin\r\n");
    }
    /* Whatever stands in Host stays out of the policy unless it is a host. */
    ask("GET", "/", "Host: x; script-src *\r\n");
    says("connect-src 'self'; worker-src");
    ask("GET", "/", "Host: [::1]:8080\r\n");
    says("connect-src 'self'; worker-src");
}

static void test_files(void **state)
{
    char tag[64], headers[128];
    assert_int_equal(ask("GET", "/ui/main-ABCD1234.js", ""), 200);
    assert_string_equal(body(), "0123456789");
    says("content-type: text/javascript; charset=utf-8\r\n");
    says("cache-control: public, max-age=31536000, immutable\r\n");
    says("vary: accept-encoding\r\n");
    says("content-security-policy: default-src 'none'; script-src 'self'; connect-src");
    says("cross-origin-resource-policy: same-origin\r\n");
    says_not("content-encoding");
    assert_int_equal(ask("GET", "/ui/main-ABCD1234.js", "Accept-Encoding: gzip\r\n"), 200);
    assert_string_equal(body(), "gzip");
    says("content-encoding: gzip\r\n");
    assert_int_equal(ask("GET", "/ui/main-ABCD1234.js", "Accept-Encoding: gzip, br\r\n"), 200);
    assert_string_equal(body(), "br");
    says("content-encoding: br\r\n");
    says("content-length: 2\r\n");
    assert_int_equal(sscanf(strcasestr(reply, "\r\netag: "), "\r\netag: %63s", tag), 1);
    snprintf(headers, sizeof(headers), "Accept-Encoding: br\r\nIf-None-Match: %s\r\n", tag);
    assert_int_equal(ask("GET", "/ui/main-ABCD1234.js", headers), 304);
    says("vary: accept-encoding\r\n");
    snprintf(headers, sizeof(headers), "Accept-Encoding: gzip\r\nIf-None-Match: %s\r\n", tag);
    assert_int_equal(ask("GET", "/ui/main-ABCD1234.js", headers), 200);
    assert_int_equal(ask("GET", "/ui/main-ABCD1234.js", "Range: bytes=2-3\r\n"), 206);
    assert_string_equal(body(), "23");

    assert_int_equal(ask("GET", "/ui/media/logo.svg", "Accept-Encoding: br\r\n"), 200);
    says("content-type: image/svg+xml\r\n");
    says("cache-control: no-cache\r\n");
    says("content-security-policy: default-src 'none'; frame-ancestors 'none'\r\n");
    says_not("accept-encoding");
    assert_int_equal(ask("GET", "/favicon.ico", ""), 200);
    assert_string_equal(body(), "icon");
    assert_int_equal(ask("HEAD", "/ui/main-ABCD1234.js", ""), 200);
    says("content-length: 10\r\n");
    assert_string_equal(body(), "");
}

static void test_what_is_not_there(void **state)
{
    static const char *const missing[] = {"/ui/none.js",
                                          "/ui/a/b.png",
                                          "/ui/main-ABCD1234.js/",
                                          "/ui/media/..%2f..%2fx.txt",
                                          "/ui/a%00b",
                                          "/ui/a%0ab",
                                          "/ui/main-ABCD1234.js.br",
                                          "/ui/%2e%2e/etc/passwd",
                                          "/ui/..%2fetc",
                                          "/index.html",
                                          "/uix",
                                          "/ui/.hidden",
                                          "/main-ABCD1234.js",
                                          "/robots.txt"};
    for (size_t i = 0; i < sizeof(missing) / sizeof(missing[0]); i++) {
        int status = ask("GET", missing[i], "");
        if (strcmp(missing[i], "/ui/main-ABCD1234.js/") == 0) /* a page of that name */
            assert_int_equal(status, 200);
        else if (status != 404)
            fail_msg("%s: %d", missing[i], status);
    }
    assert_int_equal(ask("POST", "/ui/devices", ""), 405);
    says("allow: GET, HEAD\r\n");
    assert_int_equal(ask("DELETE", "/", ""), 405);
    assert_int_equal(ask("OPTIONS", "/ui/main-ABCD1234.js", ""), 405);
    assert_int_equal(ask("POST", "/ui/none.js", ""), 404);
    assert_int_equal(ask("POST", "/elsewhere", ""), 404);
    says("not the console's");
}

static void test_pages_of_other_origins(void **state)
{
    assert_int_equal(ask("GET", "/elsewhere", "Origin: https://b.example\r\n"), 404);
    says("access-control-allow-origin: https://b.example\r\n");
    says("access-control-allow-credentials: true\r\n");
    says("access-control-expose-headers: etag, x-request-id, retry-after\r\n");
    says("vary: origin\r\n");
    assert_int_equal(ask("GET", "/elsewhere", "Origin: https://c.example\r\n"), 404);
    says_not("access-control");
    says("vary: origin\r\n");
    static const char question[] = "Access-Control-Request-Method: PATCH\r\n";
    char headers[256];
    snprintf(headers, sizeof(headers), "Origin: https://b.example\r\n%s", question);
    assert_int_equal(ask("OPTIONS", "/devices/1", headers), 204);
    says("access-control-allow-origin: https://b.example\r\n");
    says("access-control-allow-methods: GET, HEAD, POST, PUT, PATCH, DELETE\r\n");
    says("access-control-allow-headers: authorization, content-type, if-match, if-none-match, "
         "x-request-id\r\n");
    snprintf(headers, sizeof(headers), "Origin: https://c.example\r\n%s", question);
    assert_int_equal(ask("OPTIONS", "/devices/1", headers), 404);
    says_not("access-control");
    assert_int_equal(ask("OPTIONS", "/devices/1", question), 404);
    assert_int_equal(ask("OPTIONS", "/devices/1", "Origin: https://b.example\r\n"), 404);
}

static void test_directories_without_a_console(void **state)
{
    void *made;
    assert_int_equal(scratch_setup(&made), 0);
    struct scratch *other = made;
    assert_null(console_load(scratch_path(other, "none")));
    assert_null(console_load(other->path));
    scratch_write(other, "main.js", "1", 1, 0600);
    assert_null(console_load(other->path));
    assert_int_equal(scratch_teardown(&made), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pages),
        cmocka_unit_test(test_policy),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_what_is_not_there),
        cmocka_unit_test(test_pages_of_other_origins),
        cmocka_unit_test(test_directories_without_a_console),
    };
    return sodium_init() < 0 || cmocka_run_group_tests(tests, setup, teardown);
}
