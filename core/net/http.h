/* HTTP as the layers above see it: a request to be answered exactly once, whatever happens to its client.
 *
 * A request is owned by the handler until it is answered. The client may vanish first: then the parts that
 * point into the connection (path, header, body) are empty, and the answer goes nowhere.
 * Worker thread only. */
#pragma once
#include "base/metrics.h"
#include "net/proxies.h"
#include "net/worker.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct http_server;  /* configuration shared by all workers */
struct http_context; /* one per worker */
struct http_request;

typedef void (*http_handler)(struct http_request *request, void *arg);

struct http_options {
    size_t max_entity;      /* bytes of a body; more is 413, and never held */
    uint64_t http1_timeout; /* ms for an HTTP/1 request to arrive, body and all, and to idle before it */
    uint64_t http2_idle;    /* ms an HTTP/2 connection may idle */
    const char *origins;    /* net/cors.h; outlives the server */
    const struct proxies *proxies; /* whose X-Forwarded-For counts; NULL: nobody's. Outlives the server */
};

struct http_server *http_server_new(const struct http_options *options);
void http_server_free(struct http_server *server); /* after its contexts */
struct http_context *http_context_new(struct http_server *server, struct worker *worker,
                                      struct metrics *metrics, http_handler handler, void *arg);
h2o_context_t *http_context_h2o(struct http_context *context); /* for the listener */
size_t http_in_flight(const struct http_context *context);
void http_context_shutdown(struct http_context *context); /* HTTP/2 GOAWAY; no keep-alive any more */
void http_context_free(struct http_context *context);

/* The request. Texts are good until it is answered or gone; NULL-based when there is none. */
h2o_iovec_t http_method(const struct http_request *request);
h2o_iovec_t http_path(const struct http_request *request);      /* decoded and without dots */
h2o_iovec_t http_query(const struct http_request *request);     /* as sent, without the ? */
h2o_iovec_t http_authority(const struct http_request *request); /* the host asked for, and its port */
h2o_iovec_t http_body(const struct http_request *request);
h2o_iovec_t http_header(const struct http_request *request, const char *lower_case_name);
/* Of the client, as text: the peer's, or what proxies that are trusted say. Good as long as the request;
 * empty when it was gone before anybody asked. */
const char *http_address(struct http_request *request);
bool http_secure(const struct http_request *request);
/* Whether its client is: an answer would go nowhere. Of HTTP/1 libh2o learns that only when it answers. One
 * that has only said that it sends nothing more counts as gone, too. */
bool http_gone(const struct http_request *request);
const char *http_id(const struct http_request *request); /* X-Request-Id */

/* What it counts as in metrics; the texts live as long as the process (interned by the caller). */
void http_set_route(struct http_request *request, const char *route);

struct http_header {
    const char *name; /* lower case */
    const char *value;
    size_t value_len;
};

/* Answers; each ends the request. Texts are copied. A HEAD request gets the headers only. */
void http_answer(struct http_request *request, int status, const struct http_header *headers, size_t count,
                 const char *body, size_t len);
void http_answer_json(struct http_request *request, int status, const struct http_header *headers,
                      size_t count, const char *body, size_t len);
/* RFC 9457. `detail` may be NULL; `extra` is more JSON members, with a leading comma, or "". 401, 429 and 503
 * get the headers that belong to them unless given. */
void http_problem(struct http_request *request, int status, const char *detail, const char *extra,
                  const struct http_header *headers, size_t count);

/* Bytes that outlive the call: `release` is called once when the last was sent or the client is gone. With an
 * `etag` it answers conditions (RFC 9110, 13), and one byte range (14.2) as 206; a range that ends past the
 * end is cut, as ESP-IDF's esp_https_ota needs. */
struct http_blob {
    const uint8_t *data;
    size_t len;
    void (*release)(void *owner);
    void *owner;
};
struct http_validators {
    const char *etag; /* without quotes, 128 bytes at most; NULL: none */
    int64_t modified; /* s since 1970; 0: not known */
};
void http_answer_blob(struct http_request *request, const struct http_header *headers, size_t count,
                      const struct http_validators *validators, const struct http_blob *blob);

/* Whether the client asks for another protocol on this connection, which only HTTP/1.1 can do. */
bool http_upgradable(const struct http_request *request, const char *protocol);
/* Ends the request with 101, and HTTP on its connection: `cb` gets the socket, which is its own to close.
 * What the client sent behind the request is in the socket's input. NULL: the client is gone. Never inline.
 */
typedef void (*http_upgrade_cb)(void *arg, h2o_socket_t *sock);
void http_upgrade(struct http_request *request, const char *protocol, const struct http_header *headers,
                  size_t count, http_upgrade_cb cb, void *arg);

const char *http_reason(int status); /* "Not Found" */
