/* The server: requests from libh2o to the handler, and what there is to know of one.
 *
 * libh2o disposes of a request with its stream or connection, whatever the handler is at: a link in the
 * request's memory tells (on_pool_dispose). Worker thread. */
#include "base/mem.h"
#include "net/guard.h"
#include "net/http_private.h"
#include <arpa/inet.h>
#include <endian.h>
#include <poll.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct http_server {
    h2o_globalconf_t conf;
    const struct proxies *proxies;
    const char *origins;
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
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
              c == '_' || c == '-'))
            return false;
    }
    return true;
}

void http_make_id(struct http_context *context, h2o_req_t *req, char *out, size_t size)
{
    uint64_t number = htobe64(context->id_seed + context->id_count++);
    h2o_iovec_t given = {NULL, 0};
    ssize_t at = h2o_find_header_by_str(&req->headers, H2O_STRLIT("x-request-id"), -1);
    if (at >= 0)
        given = req->headers.entries[at].value;
    if (valid_id(given))
        snprintf(out, size, "%.*s", (int)given.len, given.base);
    else
        sodium_bin2hex(out, size, (const unsigned char *)&number, sizeof(number));
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

static const char too_large[] = "The body is larger than this server takes.";

static int on_request(h2o_handler_t *handler, h2o_req_t *req)
{
    struct http_context *context = H2O_STRUCT_FROM_MEMBER(struct http_context, h2o, req->conn->ctx);
    struct http_request *request = x_new(struct http_request);
    struct link *link = h2o_mem_alloc_shared(&req->pool, sizeof(*link), on_pool_dispose);

    link->request = request;
    request->req = req;
    request->context = context;
    request->route = "";
    size_t len = req->method.len < sizeof(request->method) ? req->method.len : sizeof(request->method) - 1;
    memcpy(request->method, req->method.base, len); /* longer ones are no method of ours, cut or not */
    clock_gettime(CLOCK_MONOTONIC, &request->began);
    http_make_id(context, req, request->id, sizeof(request->id));
    context->in_flight++;
    if (guard_malformed(req))
        http_problem(request, 400, "The head of the request is not sound HTTP/1.1.", "", NULL, 0);
    else if (guard_oversized(req))
        http_problem(request, 413, too_large, "", NULL, 0);
    else
        context->handler(request, context->arg);
    return 0;
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

static void on_setup_ostream(h2o_filter_t *filter, h2o_req_t *req, h2o_ostream_t **slot)
{
    if (h2o_find_header_by_str(&req->res.headers, H2O_STRLIT("x-request-id"), -1) < 0 &&
        req->res.status >= 400) {
        struct http_context *context = H2O_STRUCT_FROM_MEMBER(struct http_context, h2o, req->conn->ctx);
        struct rewrite *rewrite = (struct rewrite *)h2o_add_ostream(req, sizeof(*rewrite), slot);
        char *id = h2o_mem_alloc_pool(&req->pool, 129);
        http_make_id(context, req, id, 129);
        rewrite->super.do_send = on_rewrite_send;
        slot = &rewrite->super.next;
        const char *detail = req->res.status == 413 ? too_large : NULL;
        struct buffer body = http_problem_body(req->res.status, detail, "", id);
        rewrite->body = h2o_strdup(&req->pool, body.data, body.len);
        buffer_free(&body);
        memset(&req->res.headers, 0, sizeof(req->res.headers));
        h2o_add_header(&req->pool, &req->res.headers, H2O_TOKEN_CONTENT_TYPE, NULL,
                       H2O_STRLIT("application/problem+json"));
        http_common_headers(req, id);
        req->res.content_length = rewrite->body.len;
    }
    h2o_setup_next_ostream(req, slot);
}

struct http_server *http_server_new(const struct http_options *options)
{
    struct http_server *server = x_new(struct http_server);
    h2o_socket_buffer_mmap_settings.threshold = SIZE_MAX; /* no bodies in files under /tmp */
    server->proxies = options->proxies;
    server->origins = options->origins == NULL ? "" : options->origins;
    h2o_config_init(&server->conf);
    server->conf.server_name = h2o_iovec_init(H2O_STRLIT("otad"));
    server->conf.max_request_entity_size = options->max_entity + GUARD_SPARE;
    server->conf.http1.req_timeout = options->http1_timeout;
    server->conf.http2.idle_timeout = options->http2_idle;
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

void http_server_free(struct http_server *server)
{
    h2o_config_dispose(&server->conf);
    free(server);
}

struct http_context *http_context_new(struct http_server *server, struct worker *worker,
                                      struct metrics *metrics, http_handler handler, void *arg)
{
    struct http_context *context = x_new(struct http_context);
    h2o_context_init(&context->h2o, worker->loop, &server->conf);
    context->worker = worker;
    context->proxies = server->proxies;
    context->origins = server->origins;
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
    /* The second GOAWAY, a second after a shutdown: libh2o aborts if it is still to be sent. */
    h2o_timeout_unlink(&context->h2o.http2._graceful_shutdown_timeout);
    h2o_context_dispose(&context->h2o);
    free(context);
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

h2o_iovec_t http_authority(const struct http_request *request)
{
    return request->req == NULL ? nothing : request->req->input.authority;
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

const char *http_address(struct http_request *request)
{
    const h2o_req_t *req = request->req;
    const struct proxies *proxies = request->context->proxies;
    struct sockaddr_storage peer;
    struct in6_addr address;
    if (*request->address != '\0' || req == NULL ||
        req->conn->callbacks->get_peername(req->conn, (struct sockaddr *)&peer) == 0 ||
        !proxies_address((struct sockaddr *)&peer, &address))
        return request->address;
    for (size_t i = req->headers.size; proxies != NULL && i-- > 0;) {
        const h2o_header_t *header = &req->headers.entries[i];
        if (h2o_memis(header->name->base, header->name->len, H2O_STRLIT("x-forwarded-for")) &&
            !proxies_walk(proxies, header->value, &address))
            break;
    }
    proxies_print(&address, request->address);
    return request->address;
}

bool http_secure(const struct http_request *request)
{
    return request->req != NULL && request->req->scheme == &H2O_URL_SCHEME_HTTPS;
}

bool http_gone(const struct http_request *request)
{
    if (request->req == NULL || request->req->version >= 0x200)
        return request->req == NULL;
    h2o_socket_t *sock = request->req->conn->callbacks->get_socket(request->req->conn);
    struct pollfd said = {.fd = h2o_socket_get_fd(sock), .events = POLLRDHUP};
    return poll(&said, 1, 0) > 0;
}

const char *http_id(const struct http_request *request)
{
    return request->id;
}

void http_set_route(struct http_request *request, const char *route)
{
    request->route = route;
}
