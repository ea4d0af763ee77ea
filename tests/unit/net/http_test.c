/* A listener on a loop that the test runs itself, and raw clients on the same thread. */
#include "../http_client.h"
#include "net/http.h"
#include "net/listener.h"
#include <jansson.h>
#include <string.h>

enum { MOST_BODY = 4096, BLOB = 1000000 };

static struct worker *worker;
static struct http_server *server;
static struct http_context *context;
static struct guard *guard;
static struct guard_budget budget;
static struct listener *listener;
static struct metrics *metrics;
static uint8_t *blob;
static unsigned released, handled, asked_later;
static struct http_request *later[64];

static void on_release(void *owner)
{
    assert_ptr_equal(owner, blob);
    released++;
}

static bool is(h2o_iovec_t text, const char *expected)
{
    return h2o_memis(text.base, text.len, expected, strlen(expected));
}

static void handle(struct http_request *request, void *arg)
{
    static const struct http_header headers[] = {{"x-mine", "1", 1}, {"allow", "GET, HEAD", 9}};
    h2o_iovec_t path = http_path(request);
    struct http_blob body = {blob, is(path, "/empty") ? 0 : BLOB, on_release, blob};
    struct http_validators tagged = {"tag", 0}, dated = {"tag", 784111777}, untagged = {NULL, 0};
    handled++;
    http_set_route(request, "/route");
    if (is(path, "/text"))
        http_answer(request, 200, headers, 1, "hello", 5);
    else if (is(path, "/json"))
        http_answer_json(request, 201, NULL, 0, "{}", 2);
    else if (is(path, "/none"))
        http_answer(request, 204, NULL, 0, NULL, 0);
    else if (is(path, "/problem"))
        http_problem(request, 405, "What \"now\"?", ",\"more\":[1]", headers, 2);
    else if (is(path, "/busy"))
        http_problem(request, 429, NULL, "", NULL, 0);
    else if (is(path, "/who"))
        http_problem(request, 401, NULL, "", NULL, 0);
    else if (is(path, "/blob") || is(path, "/empty"))
        http_answer_blob(request, headers, 1, &tagged, &body);
    else if (is(path, "/dated"))
        http_answer_blob(request, headers, 1, &dated, &body);
    else if (is(path, "/untagged"))
        http_answer_blob(request, headers, 1, &untagged, &body);
    else if (is(path, "/long-tag")) {
        tagged.etag =
            "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123"
            "4567890123456789012345678901234567890123456789012345678901234567890123456789";
        http_answer_blob(request, headers, 1, &tagged, &body);
    } else if (is(path, "/later"))
        later[asked_later++] = request;
    else if (is(path, "/echo")) {
        h2o_iovec_t text = http_body(request);
        http_answer(request, 200, NULL, 0, text.base, text.len);
    } else if (is(path, "/query")) {
        h2o_iovec_t text = http_query(request);
        http_answer(request, 200, NULL, 0, text.base, text.len);
    } else
        http_problem(request, 404, NULL, "", NULL, 0);
}

static int setup(void **state)
{
    char *error = NULL;
    struct http_options options = {.max_entity = MOST_BODY, .http1_timeout = 5000, .http2_idle = 5000};
    worker = loop_worker();
    released = handled = asked_later = 0;
    blob = malloc(BLOB);
    for (size_t i = 0; i < BLOB; i++)
        blob[i] = (uint8_t)(i * 7 + i / 251);
    metrics = metrics_new();
    server = http_server_new(&options);
    context = http_context_new(server, worker, metrics, handle, NULL);
    budget = (struct guard_budget){.limit = 1 << 20};
    guard = guard_new(worker->timers, http_context_h2o(context), &budget, 100);
    struct listener_config config = {.address = "127.0.0.1", .guard = guard};
    listener = listener_open(worker, http_context_h2o(context), &config, &error);
    return listener == NULL;
}

static int teardown(void **state)
{
    listener_close(listener);
    guard_drain(guard);
    http_context_shutdown(context);
    for (int i = 0; i < 300 && guard_connections(guard) != 0; i++)
        loop_for(worker, NULL, NULL, 10);
    assert_int_equal(guard_connections(guard), 0);
    assert_int_equal(http_in_flight(context), 0);
    listener_free(listener);
    guard_free(guard);
    http_context_free(context);
    http_server_free(server);
    metrics_free(metrics);
    free(blob);
    loop_finish(worker);
    return 0;
}

static int dial(const char *request, size_t len)
{
    return client_dial(listener_port(listener), request, len);
}

struct reply {
    int status;
    size_t head_len, body_len;
    char head[4096];
    char body[BLOB + 4096];
};
static struct reply reply;

/* Reads until the server closes. */
static void take(int fd)
{
    static char text[BLOB + 8192];
    size_t len = client_take(worker, fd, text, sizeof(text));
    char *end = strstr(text, "\r\n\r\n");
    if (end == NULL)
        fail_msg("no head in: %.400s", text);
    reply.head_len = (size_t)(end + 4 - text);
    memcpy(reply.head, text, reply.head_len);
    reply.head[reply.head_len] = '\0';
    reply.body_len = len - reply.head_len;
    memcpy(reply.body, end + 4, reply.body_len + 1);
    reply.status = atoi(text + 9);
}

static void ask(const char *method, const char *path, const char *headers)
{
    char request[1024];
    int len = snprintf(request, sizeof(request), "%s %s HTTP/1.1\r\nHost: h\r\nConnection: close\r\n%s\r\n",
                       method, path, headers);
    take(dial(request, (size_t)len));
}

/* The value of a header, or NULL; good until the next call. There must be no second one. */
static const char *header(const char *name)
{
    static char value[256];
    char wanted[80];
    snprintf(wanted, sizeof(wanted), "\r\n%s: ", name);
    const char *at = strcasestr(reply.head, wanted);
    if (at == NULL)
        return NULL;
    at += strlen(wanted);
    assert_null(strcasestr(at, wanted));
    snprintf(value, sizeof(value), "%.*s", (int)strcspn(at, "\r"), at);
    return value;
}

static void has(const char *name, const char *value)
{
    const char *is_there = header(name);
    if (is_there == NULL || strcmp(is_there, value) != 0)
        fail_msg("%s: %s, not %s, in:\n%s", name, is_there, value, reply.head);
}

static void is_problem(int status, const char *detail)
{
    assert_int_equal(reply.status, status);
    has("content-type", "application/problem+json");
    json_t *problem = json_loadb(reply.body, reply.body_len, JSON_REJECT_DUPLICATES, NULL);
    if (problem == NULL)
        fail_msg("no problem: %s", reply.body);
    assert_int_equal(json_integer_value(json_object_get(problem, "status")), status);
    assert_string_equal(json_string_value(json_object_get(problem, "request_id")), header("x-request-id"));
    assert_string_equal(json_string_value(json_object_get(problem, "type")), "about:blank");
    assert_string_equal(json_string_value(json_object_get(problem, "title")), http_reason(status));
    assert_string_equal(json_string_value(json_object_get(problem, "detail")), detail);
    json_decref(problem);
}

static void test_answers(void **state)
{
    ask("GET", "/text", "");
    assert_int_equal(reply.status, 200);
    assert_string_equal(reply.body, "hello");
    has("content-length", "5");
    has("x-mine", "1");
    has("x-content-type-options", "nosniff");
    has("x-frame-options", "DENY");
    assert_non_null(header("content-security-policy"));
    assert_null(header("strict-transport-security"));
    ask("POST", "/json", "Content-Length: 0\r\n");
    assert_int_equal(reply.status, 201);
    has("content-type", "application/json");
    has("cache-control", "no-store");
    assert_string_equal(reply.body, "{}");
    ask("DELETE", "/none", "");
    assert_int_equal(reply.status, 204);
    assert_int_equal(reply.body_len, 0);
    assert_null(header("content-length"));
    assert_null(header("transfer-encoding"));
    ask("GET", "/query?a=%20&b", "");
    assert_string_equal(reply.body, "a=%20&b");
    ask("GET", "/query", "");
    assert_int_equal(reply.body_len, 0);
    ask("GET", "/a/../%74ext", ""); /* decoded and without dots */
    assert_string_equal(reply.body, "hello");
    size_t len;
    char *text = metrics_print(metrics, &len);
    assert_non_null(
        strstr(text, "otad_http_requests_total{route=\"/route\",method=\"GET\",code=\"200\"} 4\n"));
    assert_non_null(
        strstr(text, "otad_http_requests_total{route=\"/route\",method=\"POST\",code=\"201\"} 1\n"));
    free(text);
}

static void test_head(void **state)
{
    ask("HEAD", "/text", "");
    assert_int_equal(reply.status, 200);
    has("content-length", "5");
    assert_int_equal(reply.body_len, 0);
    ask("HEAD", "/problem", "");
    assert_int_equal(reply.status, 405);
    assert_int_equal(reply.body_len, 0);
    ask("HEAD", "/blob", "Range: bytes=0-9\r\n"); /* only GET has ranges */
    assert_int_equal(reply.status, 200);
    has("content-length", "1000000");
    has("etag", "\"tag\"");
    assert_int_equal(reply.body_len, 0);
    assert_int_equal(released, 1);
}

static void test_problems(void **state)
{
    ask("GET", "/problem", "");
    is_problem(405, "What \"now\"?");
    has("allow", "GET, HEAD");
    assert_non_null(strstr(reply.body, ",\"more\":[1]}"));
    ask("GET", "/busy", "");
    is_problem(429, "Too Many Requests");
    assert_non_null(header("retry-after"));
    ask("GET", "/who", "");
    is_problem(401, "Unauthorized");
    has("www-authenticate", "Bearer");
    ask("GET", "/nothing", "");
    is_problem(404, "Not Found");
}

static void test_request_ids(void **state)
{
    char first[64], given[256];
    ask("GET", "/text", "X-Request-Id: Mine_1.2-3\r\n");
    has("x-request-id", "Mine_1.2-3");
    ask("GET", "/text", "");
    snprintf(first, sizeof(first), "%s", header("x-request-id"));
    assert_true(strlen(first) >= 16);
    ask("GET", "/text", "");
    assert_string_not_equal(header("x-request-id"), first);
    static const char *const wrong[] = {"", "a b", "a\"b", "a<b", "\xc3\xa4", "a,b", "a/b"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        snprintf(given, sizeof(given), "X-Request-Id: %s\r\n", wrong[i]);
        ask("GET", "/text", given);
        assert_int_equal(reply.status, 200);
        assert_string_not_equal(header("x-request-id"), wrong[i]);
        assert_true(strlen(header("x-request-id")) >= 16);
    }
    snprintf(given, sizeof(given), "X-Request-Id: %0128d\r\n", 7);
    ask("GET", "/text", given);
    assert_int_equal(strlen(header("x-request-id")), 128);
    snprintf(given, sizeof(given), "X-Request-Id: %0129d\r\n", 7);
    ask("GET", "/text", given);
    assert_true(strlen(header("x-request-id")) < 128);
}

static void gets(const char *headers, int status, size_t first, size_t len)
{
    unsigned before = released;
    ask("GET", "/blob", headers);
    if (reply.status != status || (status < 300 && reply.body_len != len))
        fail_msg("%s: %d, %zu bytes", headers, reply.status, reply.body_len);
    if (status < 300)
        assert_memory_equal(reply.body, blob + first, len);
    assert_int_equal(released, before + 1);
}

static void test_blobs(void **state)
{
    gets("", 200, 0, BLOB);
    has("content-length", "1000000");
    has("etag", "\"tag\"");
    has("accept-ranges", "bytes");
    gets("Range: bytes=0-99\r\n", 206, 0, 100);
    has("content-range", "bytes 0-99/1000000");
    has("content-length", "100");
    gets("Range: bytes=999990-\r\n", 206, 999990, 10);
    gets("Range: bytes=-5\r\n", 206, 999995, 5);
    has("content-range", "bytes 999995-999999/1000000");
    gets("Range: bytes=999990-1000000\r\n", 206, 999990, 10); /* as esp_https_ota asks */
    gets("Range: bytes=300000-899999\r\n", 206, 300000, 600000);
    gets("Range: bytes=0-0,5-6\r\n", 200, 0, BLOB);
    gets("Range: lines=0-1\r\n", 200, 0, BLOB);
    gets("Range: bytes=1000000-\r\n", 416, 0, 0);
    has("content-range", "bytes */1000000");
    is_problem(416, "The range begins past the end.");
    ask("GET", "/untagged", "Range: bytes=0-99\r\n");
    assert_int_equal(reply.status, 200);
    ask("GET", "/empty", "");
    assert_int_equal(reply.status, 200);
    assert_int_equal(reply.body_len, 0);
    has("content-length", "0");
    ask("GET", "/empty", "Range: bytes=0-\r\n");
    assert_int_equal(reply.status, 416);
}

static void test_conditions(void **state)
{
    gets("If-None-Match: \"tag\"\r\n", 304, 0, 0);
    has("etag", "\"tag\"");
    assert_int_equal(reply.body_len, 0);
    gets("If-None-Match: *\r\n", 304, 0, 0);
    gets("If-None-Match: W/\"tag\"\r\n", 304, 0, 0);
    gets("If-None-Match: \"a\", \"tag\"\r\nRange: bytes=0-0\r\n", 304, 0, 0);
    gets("If-None-Match: \"other\"\r\n", 200, 0, BLOB);
    gets("If-Range: \"tag\"\r\nRange: bytes=0-9\r\n", 206, 0, 10);
    gets("If-Range: \"other\"\r\nRange: bytes=0-9\r\n", 200, 0, BLOB);
    gets("If-Range: Sat, 29 Oct 1994 19:43:31 GMT\r\nRange: bytes=0-9\r\n", 200, 0, BLOB);
}

/* If-Match and dates were not looked at. */
static void test_preconditions(void **state)
{
    gets("If-Match: \"tag\"\r\nRange: bytes=0-9\r\n", 206, 0, 10);
    gets("If-Match: \"other\"\r\nRange: bytes=0-9\r\n", 412, 0, 0);
    is_problem(412, "This is not what the request asks for.");
    has("etag", "\"tag\"");
    assert_null(header("last-modified"));
    unsigned before = released;
    ask("HEAD", "/blob", "If-Match: \"other\"\r\n");
    assert_int_equal(reply.status, 412);
    assert_int_equal(reply.body_len, 0);
    ask("GET", "/dated", "If-Unmodified-Since: Sun, 06 Nov 1994 08:49:36 GMT\r\n");
    assert_int_equal(reply.status, 412);
    ask("GET", "/dated", "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n");
    assert_int_equal(reply.status, 304);
    has("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT");
    assert_int_equal(released, before + 3);
}

/* Any text that held the tag was taken for it. */
static void test_tags_are_compared_whole(void **state)
{
    gets("If-None-Match: \"tagged\"\r\n", 200, 0, BLOB);
    gets("If-None-Match: \"not-tag\"\r\n", 200, 0, BLOB);
    gets("If-None-Match: tag\r\n", 200, 0, BLOB);
    gets("If-Range: \"not-tag\"\r\nRange: bytes=0-9\r\n", 200, 0, BLOB);
    gets("If-Range: W/\"tag\"\r\nRange: bytes=0-9\r\n", 200, 0,
         BLOB); /* RFC 9110, 13.1.5: only strong ones */
    gets("If-Range: *\r\nRange: bytes=0-9\r\n", 200, 0, BLOB);
}

/* What did not fit was sent all the same, from behind the buffer. */
static void test_long_tag(void **state)
{
    ask("GET", "/long-tag", "");
    assert_int_equal(reply.status, 200);
    assert_int_equal(strlen(header("etag")), 130);
}

static void test_bodies(void **state)
{
    char request[MOST_BODY + 1 + 256];
    int len = snprintf(request, sizeof(request),
                       "POST /echo HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: %d\r\n\r\n",
                       MOST_BODY);
    memset(request + len, 'b', MOST_BODY);
    take(dial(request, (size_t)len + MOST_BODY));
    assert_int_equal(reply.status, 200);
    assert_int_equal(reply.body_len, MOST_BODY);

    unsigned before = handled;
    len = snprintf(request, sizeof(request),
                   "POST /echo HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: %d\r\n\r\n",
                   MOST_BODY + 1);
    memset(request + len, 'b', MOST_BODY + 1);
    take(dial(request, (size_t)len + MOST_BODY + 1));
    is_problem(413, "The body is larger than this server takes.");
    assert_non_null(header("x-frame-options"));
    ask("POST", "/echo", "X-Request-Id: mine\r\nContent-Length: 99999999\r\n");
    is_problem(413, "The body is larger than this server takes.");
    has("x-request-id", "mine");
    static const char chunked[] =
        "POST /echo HTTP/1.1\r\nHost: h\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n";
    take(dial(chunked, sizeof(chunked) - 1));
    is_problem(400, "Bad Request");
    assert_int_equal(handled, before);
    static const char good[] = "POST /echo HTTP/1.1\r\nHost: h\r\nConnection: close\r\nTransfer-Encoding: "
                               "chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    take(dial(good, sizeof(good) - 1));
    assert_string_equal(reply.body, "abcde");
}

/* libh2o answered them in a plain text of its own. */
/* RFC 9112, 3.2.2: a server takes the absolute form, too. */
static void test_absolute_targets(void **state)
{
    static const char *const targets[] = {"http://elsewhere:8080/text",
                                          "HTTPS://h/text?a=http://x/",
                                          "http://h",
                                          "http:///text",
                                          "ftp://h/text",
                                          "http://h?/text"}; /* two good */
    char request[200];
    for (int i = 0; i < 6; i++) {
        snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
                 targets[i]);
        take(dial(request, strlen(request)));
        assert_int_equal(reply.status == 200, i < 2);
    }
}

static void test_heads_that_cannot_be_read(void **state)
{
    static const char *const heads[] = {
        "GET /text HTTP/1.1\r\nX-Request-Id: mine\r\n\r\n",
        "GET /text HTTP/1.1\r\nHost: h\r\nX-Request-Id: mine\r\nHost: i\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: h\r\nx-request-id: mine\r\nContent-Length: 1\r\nContent-Length: "
        "1\r\n\r\nx",
        "GET /text HTTP/1.1\r\nHost: h\r\nX-Request-Id: mine\r\nbad name: x\r\n\r\n",
        "GET /text HTTP/2.0\r\n\r\n",
        "GET /te xt HTTP/1.1\r\nHost: h\r\n\r\n",
        "PRI * HTTP/1.1\r\n\r\n",
        "nonsense\r\n\r\n",
        "\x16\x03\x01\x02\x01\x01\xfc\x03\x03",
    };
    unsigned before = handled;
    for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
        take(dial(heads[i], strlen(heads[i])));
        is_problem(400, "The head of the request is not sound HTTP/1.1.");
        has("connection", "close");
        has("x-frame-options", "DENY");
        assert_int_equal(strcmp(header("x-request-id"), "mine") == 0, strstr(heads[i], "mine") != NULL);
    }
    char many[4096] = "GET /text HTTP/1.1\r\nHost: h\r\n";
    for (int i = 0; i < 100; i++)
        sprintf(many + strlen(many), "x-%d: %d\r\n", i, i);
    strcat(many, "\r\n");
    take(dial(many, strlen(many)));
    is_problem(400, "The head of the request is not sound HTTP/1.1.");
    /* Whole, then what cannot be read: both are answered. */
    static const char two[] = "GET /text HTTP/1.1\r\nHost: h\r\n\r\nGET /text HTTP/1.1\r\n\r\n";
    take(dial(two, sizeof(two) - 1));
    assert_int_equal(reply.status, 200);
    assert_non_null(strstr(reply.body, "HTTP/1.1 400 "));
    assert_int_equal(handled, before + 1);
    char text[64];
    assert_int_equal(client_take(worker, dial("\r\n\r\n", 4), text, sizeof(text)), 0); /* says nothing */
}

static void test_answers_that_come_later(void **state)
{
    static const char request[] =
        "GET /later HTTP/1.1\r\nHost: h\r\nConnection: close\r\nX-Request-Id: kept\r\n\r\n";
    int fd = dial(request, sizeof(request) - 1);
    assert_true(loop_until(worker, NULL, NULL, &asked_later, 1, 2000));
    assert_int_equal(http_in_flight(context), 1);
    assert_non_null(http_path(later[0]).base);
    loop_for(worker, NULL, NULL, 30);
    http_answer(later[0], 200, NULL, 0, "late", 4);
    take(fd);
    assert_string_equal(reply.body, "late");
    assert_int_equal(http_in_flight(context), 0);
}

/* HTTP/2, since libh2o does not read on while it waits to answer over HTTP/1: preface, SETTINGS, and one
 * HEADERS frame: GET, http, /later, h, x-request-id: kept. */
static const char http2_later[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"
                                  "\0\0\x20\1\5\0\0\0\1\x82\x86\4\6/later\1\1h\0\14x-request-id\4kept";

static void test_clients_that_are_gone(void **state)
{
    for (unsigned i = 0; i < 60; i++) {
        int fd = dial(http2_later, sizeof(http2_later) - 1);
        assert_true(loop_until(worker, NULL, NULL, &asked_later, i + 1, 2000));
        if (i % 2 == 0) { /* a reset */
            struct linger now = {1, 0};
            setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
        }
        close(fd);
    }
    for (int i = 0; i < 200 && http_path(later[59]).base != NULL; i++)
        loop_for(worker, NULL, NULL, 5);
    assert_int_equal(http_in_flight(context), 60);
    for (unsigned i = 0; i < 60; i++) {
        struct http_request *one = later[i];
        struct http_blob body = {blob, BLOB, on_release, blob};
        assert_null(http_path(one).base);
        assert_null(http_body(one).base);
        assert_null(http_query(one).base);
        assert_null(http_header(one, "x-request-id").base);
        assert_string_equal(http_address(one), "");
        assert_string_equal(http_id(one), "kept"); /* for the log */
        assert_true(is(http_method(one), "GET"));
        if (i % 3 == 0)
            http_answer(one, 200, NULL, 0, "x", 1);
        else if (i % 3 == 1)
            http_problem(one, 500, NULL, "", NULL, 0);
        else
            http_answer_blob(one, NULL, 0, &(struct http_validators){"tag", 0}, &body);
    }
    assert_int_equal(http_in_flight(context), 0);
    assert_int_equal(released, 20);
}

/* Over HTTP/1 nobody is found gone before the answer is written. */
static void test_http1_clients_that_are_gone(void **state)
{
    static const char request[] = "POST /later HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc";
    for (unsigned i = 0; i < 30; i++) {
        close(dial(request, sizeof(request) - 1));
        assert_true(loop_until(worker, NULL, NULL, &asked_later, i + 1, 2000));
    }
    for (unsigned i = 0; i < 30; i++) {
        struct http_blob body = {blob, BLOB, on_release, blob};
        if (i % 2 == 0)
            http_answer(later[i], 200, NULL, 0, "x", 1);
        else
            http_answer_blob(later[i], NULL, 0, &(struct http_validators){"tag", 0}, &body);
    }
    for (int i = 0; i < 200 && (http_in_flight(context) != 0 || released < 15); i++)
        loop_for(worker, NULL, NULL, 5);
    assert_int_equal(released, 15);
}

static void test_gone_while_a_blob_is_sent(void **state)
{
    static const char request[] = "GET /blob HTTP/1.1\r\nHost: h\r\n\r\n";
    char some[1000];
    for (unsigned i = 0; i < 20; i++) {
        int fd = dial(request, sizeof(request) - 1);
        for (int j = 0; j < 100 && recv(fd, some, sizeof(some), MSG_DONTWAIT) <= 0; j++)
            loop_turn(worker, NULL, NULL, 5);
        close(fd);
        for (int j = 0; j < 200 && released <= i; j++)
            loop_for(worker, NULL, NULL, 5);
        assert_int_equal(released, i + 1);
    }
}

static void test_pipelined_and_kept_alive(void **state)
{
    static const char requests[] =
        "GET /text HTTP/1.1\r\nHost: h\r\n\r\nGET /blob HTTP/1.1\r\nHost: h\r\nRange: bytes=0-4\r\n\r\n"
        "GET /none HTTP/1.1\r\nHost: h\r\n\r\nGET /json HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    take(dial(requests, sizeof(requests) - 1));
    assert_int_equal(handled, 4);
    assert_memory_equal(reply.body, "hello", 5);
    assert_string_equal(reply.body + reply.body_len - 2, "{}");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_answers),
        CASE(test_head),
        CASE(test_problems),
        CASE(test_request_ids),
        CASE(test_blobs),
        CASE(test_conditions),
        CASE(test_preconditions),
        CASE(test_tags_are_compared_whole),
        CASE(test_long_tag),
        CASE(test_bodies),
        CASE(test_absolute_targets),
        CASE(test_heads_that_cannot_be_read),
        CASE(test_answers_that_come_later),
        CASE(test_clients_that_are_gone),
        CASE(test_http1_clients_that_are_gone),
        CASE(test_gone_while_a_blob_is_sent),
        CASE(test_pipelined_and_kept_alive),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
