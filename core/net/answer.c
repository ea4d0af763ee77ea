/* Answers to requests: texts, JSON, problems, blobs. */
#include "base/mem.h"
#include "net/condition.h"
#include "net/cors.h"
#include "net/guard.h"
#include "net/http_private.h"
#include "net/range.h"
#include <h2o/http1.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 256 * 1024 };                    /* of a blob, handed to libh2o at a time */
static const int64_t YEAR_10000 = 253402300800; /* s since 1970: dates have four digits for it */

void http_common_headers(h2o_req_t *req, const char *id)
{
    const struct http_context *context = H2O_STRUCT_FROM_MEMBER(struct http_context, h2o, req->conn->ctx);
    h2o_headers_t *headers = &req->res.headers;
    h2o_add_header_by_str(&req->pool, headers, H2O_STRLIT("x-request-id"), 0, NULL, id, strlen(id));
    h2o_add_header_by_str(&req->pool, headers, H2O_STRLIT("x-content-type-options"), 0, NULL,
                          H2O_STRLIT("nosniff"));
    h2o_add_header_by_str(&req->pool, headers, H2O_STRLIT("x-frame-options"), 0, NULL, H2O_STRLIT("DENY"));
    h2o_add_header_by_str(&req->pool, headers, H2O_STRLIT("referrer-policy"), 0, NULL,
                          H2O_STRLIT("no-referrer"));
    if (h2o_find_header_by_str(headers, H2O_STRLIT("content-security-policy"), -1) < 0)
        h2o_add_header_by_str(&req->pool, headers, H2O_STRLIT("content-security-policy"), 0, NULL,
                              H2O_STRLIT("default-src 'none'; frame-ancestors 'none'"));
    cors_headers(req, context->origins);
    if (req->scheme == &H2O_URL_SCHEME_HTTPS)
        h2o_add_header(&req->pool, headers, H2O_TOKEN_STRICT_TRANSPORT_SECURITY, NULL,
                       H2O_STRLIT("max-age=31536000"));
}

/* Series are looked up once for each route, method and status, and kept in a small cache by their hash. */
static void count_answer(struct http_request *request, int status)
{
    struct http_context *context = request->context;
    size_t hash = ((uintptr_t)request->route >> 4) * 31 + (size_t)status * 7 +
                  (unsigned char)request->method[0] + (unsigned char)request->method[1] * 3;
    struct series_cache *slot = &context->cache[hash % (sizeof(context->cache) / sizeof(context->cache[0]))];
    struct timespec now;

    if (slot->count == NULL || slot->route != request->route || slot->status != status ||
        strcmp(slot->method, request->method) != 0) {
        static const char *const known[] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"};
        const char *method = "other"; /* a client may send any word: it must not become a label */
        char labels[256];
        for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
            if (strcmp(request->method, known[i]) == 0)
                method = known[i];
        }
        snprintf(labels, sizeof(labels), "route=\"%s\",method=\"%s\",code=\"%d\"", request->route, method,
                 status);
        slot->count = metrics_series(context->metrics, METRICS_COUNTER, "otad_http_requests_total", labels,
                                     "HTTP requests answered");
        snprintf(labels, sizeof(labels), "route=\"%s\"", request->route);
        slot->duration =
            metrics_series(context->metrics, METRICS_HISTOGRAM, "otad_http_request_duration_seconds", labels,
                           "Time from the whole request to its answer");
        slot->route = request->route;
        slot->status = status;
        strcpy(slot->method, request->method);
    }
    clock_gettime(CLOCK_MONOTONIC, &now);
    slot->count->value++;
    metrics_observe(slot->duration, (double)(now.tv_sec - request->began.tv_sec) +
                                        (double)(now.tv_nsec - request->began.tv_nsec) / 1e9);
}

/* Ends the handler's hold. Returns the connection's request, or NULL when nobody is there to be answered. */
static h2o_req_t *end_request(struct http_request *request, int status)
{
    h2o_req_t *req = request->req;
    count_answer(request, status);
    request->answered = true;
    if (req == NULL) {
        request->context->in_flight--;
        free(request);
    }
    return req;
}

static void start_answer(h2o_req_t *req, const char *id, int status, const struct http_header *headers,
                         size_t count)
{
    req->res.status = status;
    req->res.reason = http_reason(status);
    for (size_t i = 0; i < count; i++) {
        h2o_iovec_t name = h2o_strdup(&req->pool, headers[i].name, SIZE_MAX);
        h2o_iovec_t value = h2o_strdup(&req->pool, headers[i].value, headers[i].value_len);
        h2o_add_header_by_str(&req->pool, &req->res.headers, name.base, name.len, 1, NULL, value.base,
                              value.len);
    }
    http_common_headers(req, id);
}

static bool has_header(const struct http_header *headers, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(headers[i].name, name) == 0)
            return true;
    }
    return false;
}

/* `type` is what the body is unless the headers say otherwise; NULL: they must. */
static void answer(struct http_request *request, int status, const char *type,
                   const struct http_header *headers, size_t count, const char *body, size_t len)
{
    h2o_req_t *req = end_request(request, status);
    if (req == NULL)
        return;
    if (type != NULL && !has_header(headers, count, "content-type"))
        h2o_add_header(&req->pool, &req->res.headers, H2O_TOKEN_CONTENT_TYPE, NULL, type, strlen(type));
    if (type != NULL && !has_header(headers, count, "cache-control"))
        h2o_add_header(&req->pool, &req->res.headers, H2O_TOKEN_CACHE_CONTROL, NULL, H2O_STRLIT("no-store"));
    start_answer(req, request->id, status, headers, count);
    if (status == 204 || status == 304) {
        h2o_send_inline(req, NULL, 0);
        return;
    }
    req->res.content_length = len;
    h2o_send_inline(req, body, strcmp(request->method, "HEAD") == 0 ? 0 : len);
}

void http_answer(struct http_request *request, int status, const struct http_header *headers, size_t count,
                 const char *body, size_t len)
{
    answer(request, status, NULL, headers, count, body, len);
}

void http_answer_json(struct http_request *request, int status, const struct http_header *headers,
                      size_t count, const char *body, size_t len)
{
    answer(request, status, "application/json", headers, count, body, len);
}

struct buffer http_problem_body(int status, const char *detail, const char *extra, const char *id)
{
    struct buffer body = {0};
    if (detail == NULL)
        detail = http_reason(status);
    buffer_printf(&body,
                  "{\"type\":\"about:blank\",\"title\":\"%s\",\"status\":%d,\"detail\":", http_reason(status),
                  status);
    buffer_put_json(&body, detail, strlen(detail));
    buffer_puts(&body, ",\"request_id\":");
    buffer_put_json(&body, id, strlen(id));
    buffer_printf(&body, "%s}", extra);
    return body;
}

void http_problem(struct http_request *request, int status, const char *detail, const char *extra,
                  const struct http_header *headers, size_t count)
{
    struct http_header all[20];
    size_t n = 0;
    for (; n < count && n < 16; n++)
        all[n] = headers[n];
    if (status == 401 && !has_header(headers, count, "www-authenticate"))
        all[n++] = (struct http_header){"www-authenticate", "Bearer", 6};
    if ((status == 429 || status == 503) && !has_header(headers, count, "retry-after"))
        all[n++] = (struct http_header){"retry-after", "2", 1};
    struct buffer body = http_problem_body(status, detail, extra, request->id);
    answer(request, status, "application/problem+json", all, n, body.data, body.len);
    buffer_free(&body);
}

/* Sends a blob piece by piece, so that TLS buffers one piece and not the whole image. */
struct blob_generator {
    h2o_generator_t super;
    struct http_blob blob;
    const uint8_t *at;
    size_t left;
};

static void on_blob_dispose(void *arg)
{
    struct blob_generator *generator = arg;
    generator->blob.release(generator->blob.owner);
}

static void on_blob_proceed(h2o_generator_t *super, h2o_req_t *req)
{
    struct blob_generator *generator = H2O_STRUCT_FROM_MEMBER(struct blob_generator, super, super);
    h2o_iovec_t piece = {(char *)generator->at, generator->left < CHUNK ? generator->left : CHUNK};
    generator->at += piece.len;
    generator->left -= piece.len;
    h2o_send(req, &piece, 1, generator->left == 0 ? H2O_SEND_STATE_FINAL : H2O_SEND_STATE_IN_PROGRESS);
}

void http_answer_blob(struct http_request *request, const struct http_header *headers, size_t count,
                      const struct http_validators *validators, const struct http_blob *blob)
{
    struct http_header all[24];
    char content_range[80], quoted[136], date[H2O_TIMESTR_RFC1123_LEN + 1];
    size_t n = 0, theirs, first = 0, last = blob->len - 1;
    int status = 200;
    bool head = strcmp(request->method, "HEAD") == 0;
    h2o_iovec_t range = http_header(request, "range");

    for (; n < count && n < 16; n++)
        all[n] = headers[n];
    theirs = n;
    if (validators->etag != NULL) {
        int len = snprintf(quoted, sizeof(quoted), "\"%.128s\"", validators->etag);
        struct condition_state state = {{quoted, (size_t)len}, 0};
        struct condition condition = {http_header(request, "if-match"), http_header(request, "if-none-match"),
                                      http_header(request, "if-modified-since"),
                                      http_header(request, "if-unmodified-since")};
        all[n++] = (struct http_header){"etag", quoted, (size_t)len};
        all[n++] = (struct http_header){"accept-ranges", "bytes", 5};
        if (validators->modified > 0 && validators->modified < YEAR_10000) {
            state.modified = validators->modified;
            h2o_time2str_rfc1123(date, gmtime_r(&(time_t){state.modified}, &(struct tm){0}));
            all[n++] = (struct http_header){"last-modified", date, H2O_TIMESTR_RFC1123_LEN};
        }
        int unmet = condition_check(&condition, &state);
        if (unmet != 0) {
            status = unmet;
        } else if (!head && range.len != 0 && condition_range(http_header(request, "if-range"), &state)) {
            enum range_result result = range_parse(range.base, range.len, blob->len, &first, &last);
            status = result == RANGE_ONE ? 206 : result == RANGE_BEYOND ? 416 : 200;
        }
    }
    if (status == 206 || status == 416) {
        int len = status == 206 ? snprintf(content_range, sizeof(content_range), "bytes %zu-%zu/%zu", first,
                                           last, blob->len)
                                : snprintf(content_range, sizeof(content_range), "bytes */%zu", blob->len);
        all[n++] = (struct http_header){"content-range", content_range, (size_t)len};
    }
    h2o_req_t *req = request->req;
    if (status == 412 || status == 416) {
        http_problem(request, status,
                     status == 416 ? "The range begins past the end."
                                   : "This is not what the request asks for.",
                     "", all + theirs, n - theirs); /* theirs are about the blob, its type first */
        blob->release(blob->owner);
        return;
    }
    if (status == 304 || req == NULL) {
        http_answer(request, status, all, n, NULL, 0);
        blob->release(blob->owner);
        return;
    }
    (void)end_request(request, status);
    start_answer(req, request->id, status, all, n);
    req->res.content_length = last + 1 - first;
    struct blob_generator *generator = h2o_mem_alloc_shared(&req->pool, sizeof(*generator), on_blob_dispose);
    *generator =
        (struct blob_generator){{on_blob_proceed, NULL}, *blob, blob->data + first, last + 1 - first};
    h2o_start_response(req, &generator->super);
    if (head)
        h2o_send(req, NULL, 0, H2O_SEND_STATE_FINAL);
    else
        on_blob_proceed(&generator->super, req);
}

bool http_upgradable(const struct http_request *request, const char *protocol)
{
    const h2o_req_t *req = request->req;
    return req != NULL && req->version < 0x200 && req->upgrade.base != NULL &&
           h2o_lcstris(req->upgrade.base, req->upgrade.len, protocol, strlen(protocol));
}

struct upgrade {
    http_upgrade_cb cb;
    void *arg;
};

static void on_upgraded(void *data, h2o_socket_t *sock, size_t request_size)
{
    struct upgrade upgrade = *(struct upgrade *)data;
    free(data);
    if (sock != NULL)
        h2o_buffer_consume(&sock->input, request_size);
    upgrade.cb(upgrade.arg, sock);
}

static void on_too_late(void *data)
{
    on_upgraded(data, NULL, 0);
}

void http_upgrade(struct http_request *request, const char *protocol, const struct http_header *headers,
                  size_t count, http_upgrade_cb cb, void *arg)
{
    struct worker *worker = request->context->worker;
    struct upgrade *upgrade = x_new(struct upgrade);
    *upgrade = (struct upgrade){cb, arg};
    h2o_req_t *req = end_request(request, 101);
    if (req == NULL) {
        worker_defer(worker, on_too_late, upgrade);
        return;
    }
    h2o_add_header(&req->pool, &req->res.headers, H2O_TOKEN_UPGRADE, NULL, protocol, strlen(protocol));
    start_answer(req, request->id, 101, headers, count);
    guard_upgraded(req);
    h2o_http1_upgrade(req, NULL, 0, on_upgraded, upgrade);
}

const char *http_reason(int status)
{
    switch (status) {
    case 101:
        return "Switching Protocols";
    case 200:
        return "OK";
    case 201:
        return "Created";
    case 202:
        return "Accepted";
    case 204:
        return "No Content";
    case 206:
        return "Partial Content";
    case 304:
        return "Not Modified";
    case 400:
        return "Bad Request";
    case 401:
        return "Unauthorized";
    case 403:
        return "Forbidden";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 409:
        return "Conflict";
    case 412:
        return "Precondition Failed";
    case 413:
        return "Content Too Large";
    case 415:
        return "Unsupported Media Type";
    case 416:
        return "Range Not Satisfiable";
    case 417:
        return "Expectation Failed";
    case 426:
        return "Upgrade Required";
    case 422:
        return "Unprocessable Content";
    case 428:
        return "Precondition Required";
    case 429:
        return "Too Many Requests";
    case 500:
        return "Internal Server Error";
    case 503:
        return "Service Unavailable";
    case 507:
        return "Insufficient Storage";
    default:
        return "Unknown";
    }
}
