/* What http.c and answer.c share. */
#pragma once
#include "base/buffer.h"
#include "net/http.h"
#include <time.h>

struct http_context {
    h2o_context_t h2o; /* first: a request finds its context through its connection */
    struct worker *worker;
    const struct proxies *proxies;
    const char *origins;
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
    char address[INET6_ADDRSTRLEN]; /* once it was asked for */
};

/* A valid X-Request-Id of the client's, or one of ours. `size` 129. */
void http_make_id(struct http_context *context, h2o_req_t *req, char *out, size_t size);
/* Headers of every answer, ours or libh2o's own; it may have brought a Content-Security-Policy. */
void http_common_headers(h2o_req_t *req, const char *id);
/* The JSON of a problem; the caller frees it. */
struct buffer http_problem_body(int status, const char *detail, const char *extra, const char *id);
