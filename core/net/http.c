#include "net/http.h"
#include "base/buffer.h"
#include "base/mem.h"
#include "net/range.h"
#include <arpa/inet.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 256 * 1024 }; /* of a blob, handed to libh2o at a time */

struct http_server {
    h2o_globalconf_t conf;
};

struct http_context {
    h2o_context_t h2o; /* first: a request finds its context through its connection */
    struct worker *worker;
    struct metrics *metrics;
    http_handler handler;
    void *arg;
    size_t in_flight;
    uint64_t id_seed, id_count;
    struct series_cache {
        const char *route;
        char method[8];
        int status;
        struct metrics_series *count, *duration;
    } cache[256];
};

/* Held twice: by the link in the connection's memory, and by the handler until it has answered. */
struct http_request {
    h2o_req_t *req; /* NULL: gone */
    struct http_context *context;
    const char *route;
    struct timespec began;
    bool answered;
    char method[8];
    char id[129];
};

struct link { /* lives in the request's pool; disposed with it */
    struct http_request *request;
};

static bool valid_id(h2o_iovec_t id)
{
    if (id.len == 0 || id.len > 128)
        return false;
    for (size_t i = 0; i < id.len; i++) {
        char c = id.base[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("._-", c)))
            return false;
    }
    return true;
}

static void make_id(struct http_context *context, h2o_req_t *req, char *out, size_t size)
{
    h2o_iovec_t given = {NULL, 0};
    ssize_t at = h2o_find_header_by_str(&req->headers, H2O_STRLIT("x-request-id"), -1);
    if (at >= 0)
        given = req->headers.entries[at].value;
    if (valid_id(given))
        snprintf(out, size, "%.*s", (int)given.len, given.base);
    else
        snprintf(out, size, "%012llx%04llx", (unsigned long long)(context->id_seed & 0xffffffffffff),
                 (unsigned long long)context->id_count++);
}

static void free_if_unheld(struct http_request *request)
{
    if (request->req == NULL && request->answered)
        free(request);
}

static void on_pool_dispose(void *arg)
{
    struct link *link = arg;
    link->request->req = NULL;
    link->request->context->in_flight -= link->request->answered;
    free_if_unheld(link->request);
}

static int on_request(h2o_handler_t *handler, h2o_req_t *req)
{
    struct http_context *context = H2O_STRUCT_FROM_MEMBER(struct http_context, h2o, req->conn->ctx);
    struct http_request *request = x_new(struct http_request);
    struct link *link = h2o_mem_alloc_shared(&req->pool, sizeof(*link), on_pool_dispose);

    link->request = request;
    request->req = req;
    request->context = context;
    request->route = "";
    snprintf(request->method, sizeof(request->method), "%.*s", (int)req->method.len, req->method.base);
    clock_gettime(CLOCK_MONOTONIC, &request->began);
    make_id(context, req, request->id, sizeof(request->id));
    context->in_flight++;
    context->handler(request, context->arg);
    return 0;
}

/* Headers of every answer, ours or libh2o's own. */
static void add_common_headers(h2o_req_t *req, const char *id)
{
    h2o_headers_t *headers = &req->res.headers;
    h2o_add_header_by_str(&req->pool, headers, H2O_STRLIT("x-request-id"), 0, NULL, id, strlen(id));
    h2o_add_header_by_str(&req->pool, headers, H2O_STRLIT("x-content-type-options"), 0, NULL,
                          H2O_STRLIT("nosniff"));
    h2o_add_header_by_str(&req->pool, headers, H2O_STRLIT("x-frame-options"), 0, NULL, H2O_STRLIT("DENY"));
    h2o_add_header_by_str(&req->pool, headers, H2O_STRLIT("referrer-policy"), 0, NULL,
                          H2O_STRLIT("no-referrer"));
    h2o_add_header_by_str(&req->pool, headers, H2O_STRLIT("content-security-policy"), 0, NULL,
                          H2O_STRLIT("default-src 'none'; frame-ancestors 'none'"));
    if (req->scheme == &H2O_URL_SCHEME_HTTPS)
        h2o_add_header(&req->pool, headers, H2O_TOKEN_STRICT_TRANSPORT_SECURITY, NULL,
                       H2O_STRLIT("max-age=31536000"));
}

/* libh2o answers some bad requests itself, as plain text: those become problems like ours. */
struct rewrite {
    h2o_ostream_t super;
    h2o_iovec_t body;
};

static void on_rewrite_send(h2o_ostream_t *self, h2o_req_t *req, h2o_iovec_t *bufs, size_t count,
                            h2o_send_state_t state)
{
    struct rewrite *rewrite = (struct rewrite *)self;
    h2o_ostream_send_next(self, req, &rewrite->body, 1, H2O_SEND_STATE_FINAL);
}

static struct buffer problem_body(int status, const char *detail, const char *extra, const char *id);

static void on_setup_ostream(h2o_filter_t *filter, h2o_req_t *req, h2o_ostream_t **slot)
{
    if (h2o_find_header_by_str(&req->res.headers, H2O_STRLIT("x-request-id"), -1) < 0 &&
        req->res.status >= 400) {
        struct http_context *context = H2O_STRUCT_FROM_MEMBER(struct http_context, h2o, req->conn->ctx);
        struct rewrite *rewrite = (struct rewrite *)h2o_add_ostream(req, sizeof(*rewrite), slot);
        char *id = h2o_mem_alloc_pool(&req->pool, 129);
        make_id(context, req, id, 129);
        rewrite->super.do_send = on_rewrite_send;
        slot = &rewrite->super.next;
        const char *detail = req->res.status == 413 ? "The body is larger than this server takes." : NULL;
        struct buffer body = problem_body(req->res.status, detail, "", id);
        rewrite->body = h2o_strdup(&req->pool, body.data, body.len);
        buffer_free(&body);
        memset(&req->res.headers, 0, sizeof(req->res.headers));
        h2o_add_header(&req->pool, &req->res.headers, H2O_TOKEN_CONTENT_TYPE, NULL,
                       H2O_STRLIT("application/problem+json"));
        add_common_headers(req, id);
        req->res.content_length = rewrite->body.len;
    }
    h2o_setup_next_ostream(req, slot);
}

struct http_server *http_server_new(const struct http_options *options)
{
    struct http_server *server = x_new(struct http_server);
    h2o_config_init(&server->conf);
    server->conf.server_name = h2o_iovec_init(H2O_STRLIT("otad"));
    server->conf.max_request_entity_size = options->max_entity;
    server->conf.http1.req_timeout = options->request_timeout;
    server->conf.http2.idle_timeout = options->idle_timeout;
    h2o_hostconf_t *host =
        h2o_config_register_host(&server->conf, h2o_iovec_init(H2O_STRLIT("default")), 65535);
    h2o_pathconf_t *path = h2o_config_register_path(host, "/", 0);
    h2o_handler_t *handler = h2o_create_handler(path, sizeof(*handler));
    handler->on_req = on_request;
    h2o_filter_t *filter = h2o_create_filter(path, sizeof(*filter));
    filter->on_setup_ostream = on_setup_ostream;
    filter = h2o_create_filter(&host->fallback_path, sizeof(*filter));
    filter->on_setup_ostream = on_setup_ostream;
    return server;
}

h2o_globalconf_t *http_server_h2o(struct http_server *server)
{
    return &server->conf;
}

struct http_context *http_context_new(struct http_server *server, struct worker *worker,
                                      struct metrics *metrics, http_handler handler, void *arg)
{
    struct http_context *context = x_new(struct http_context);
    h2o_context_init(&context->h2o, worker->loop, &server->conf);
    context->worker = worker;
    context->metrics = metrics;
    context->handler = handler;
    context->arg = arg;
    randombytes_buf(&context->id_seed, sizeof(context->id_seed));
    return context;
}

h2o_context_t *http_context_h2o(struct http_context *context)
{
    return &context->h2o;
}

size_t http_in_flight(const struct http_context *context)
{
    return context->in_flight;
}

void http_context_shutdown(struct http_context *context)
{
    h2o_context_request_shutdown(&context->h2o);
}

void http_context_free(struct http_context *context)
{
    h2o_context_dispose(&context->h2o);
    free(context);
}

struct worker *http_worker(const struct http_request *request)
{
    return request->context->worker;
}

bool http_gone(const struct http_request *request)
{
    return request->req == NULL;
}

static const h2o_iovec_t nothing = {NULL, 0};

h2o_iovec_t http_method(const struct http_request *request)
{
    return h2o_iovec_init(request->method, strlen(request->method));
}

h2o_iovec_t http_path(const struct http_request *request)
{
    return request->req == NULL ? nothing : request->req->path_normalized;
}

h2o_iovec_t http_query(const struct http_request *request)
{
    const h2o_req_t *req = request->req;
    if (req == NULL || req->query_at == SIZE_MAX)
        return nothing;
    return h2o_iovec_init(req->path.base + req->query_at + 1, req->path.len - req->query_at - 1);
}

h2o_iovec_t http_body(const struct http_request *request)
{
    return request->req == NULL ? nothing : request->req->entity;
}

h2o_iovec_t http_header(const struct http_request *request, const char *name)
{
    if (request->req == NULL)
        return nothing;
    ssize_t at = h2o_find_header_by_str(&request->req->headers, name, strlen(name), -1);
    return at < 0 ? nothing : request->req->headers.entries[at].value;
}

void http_address(const struct http_request *request, char *out, size_t size)
{
    struct sockaddr_storage address;
    *out = '\0';
    if (request->req == NULL)
        return;
    h2o_conn_t *conn = request->req->conn;
    socklen_t len = conn->callbacks->get_peername(conn, (struct sockaddr *)&address);
    if (len != 0)
        getnameinfo((struct sockaddr *)&address, len, out, (socklen_t)size, NULL, 0, NI_NUMERICHOST);
}

bool http_secure(const struct http_request *request)
{
    return request->req != NULL && request->req->scheme == &H2O_URL_SCHEME_HTTPS;
}

const char *http_id(const struct http_request *request)
{
    return request->id;
}

void http_set_route(struct http_request *request, const char *route)
{
    request->route = route;
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
    add_common_headers(req, id);
}

void http_answer(struct http_request *request, int status, const struct http_header *headers, size_t count,
                 const char *body, size_t len)
{
    h2o_req_t *req = end_request(request, status);
    if (req == NULL)
        return;
    start_answer(req, request->id, status, headers, count);
    if (status == 204 || status == 304) {
        h2o_send_inline(req, NULL, 0);
        return;
    }
    req->res.content_length = len;
    h2o_send_inline(req, body, h2o_memis(req->method.base, req->method.len, H2O_STRLIT("HEAD")) ? 0 : len);
}

static bool has_header(const struct http_header *headers, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(headers[i].name, name) == 0)
            return true;
    }
    return false;
}

static void answer_typed(struct http_request *request, int status, const char *type,
                         const struct http_header *headers, size_t count, const char *body, size_t len)
{
    struct http_header all[24];
    size_t n = 0;
    if (!has_header(headers, count, "content-type"))
        all[n++] = (struct http_header){"content-type", type, strlen(type)};
    if (!has_header(headers, count, "cache-control"))
        all[n++] = (struct http_header){"cache-control", "no-store", 8};
    for (size_t i = 0; i < count && n < sizeof(all) / sizeof(all[0]); i++)
        all[n++] = headers[i];
    http_answer(request, status, all, n, body, len);
}

void http_answer_json(struct http_request *request, int status, const struct http_header *headers,
                      size_t count, const char *body, size_t len)
{
    answer_typed(request, status, "application/json", headers, count, body, len);
}

static struct buffer problem_body(int status, const char *detail, const char *extra, const char *id)
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
    struct buffer body = problem_body(status, detail, extra, request->id);
    answer_typed(request, status, "application/problem+json", all, n, body.data, body.len);
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

static bool etag_matches(h2o_iovec_t header, const char *etag)
{
    if (header.len == 1 && *header.base == '*')
        return true;
    return header.len != 0 && h2o_strstr(header.base, header.len, etag, strlen(etag)) != SIZE_MAX;
}

void http_answer_blob(struct http_request *request, const struct http_header *headers, size_t count,
                      const char *etag, const struct http_blob *blob)
{
    struct http_header all[24];
    char content_range[80], quoted[136];
    size_t n = 0, first = 0, last = blob->len - 1;
    int status = 200;
    bool head = strcmp(request->method, "HEAD") == 0;
    h2o_iovec_t range = http_header(request, "range"), if_range = http_header(request, "if-range");

    for (; n < count && n < 16; n++)
        all[n] = headers[n];
    if (etag != NULL) {
        int len = snprintf(quoted, sizeof(quoted), "\"%s\"", etag);
        all[n++] = (struct http_header){"etag", quoted, (size_t)len};
        all[n++] = (struct http_header){"accept-ranges", "bytes", 5};
        if (etag_matches(http_header(request, "if-none-match"), etag))
            status = 304;
        else if (!head && range.len != 0 && (if_range.len == 0 || etag_matches(if_range, etag))) {
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
    if (status == 416) {
        http_problem(request, 416, "The range begins past the end.", "", all, n);
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

const char *http_reason(int status)
{
    switch (status) {
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
    case 422:
        return "Unprocessable Content";
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
