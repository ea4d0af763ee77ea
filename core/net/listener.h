/* A listening socket of one worker, plain or TLS. Each worker opens its own on the same port (SO_REUSEPORT)
 * and the kernel spreads connections over them. Used on the worker's thread; whatever is accepted is the
 * guard's. */
#pragma once
#include "net/guard.h"
#include "net/worker.h"
#include <openssl/ssl.h>

struct listener;

struct listener_config {
    const char *address; /* numeric or a name; "::" takes IPv4 as well */
    uint16_t port;       /* 0: any free one, see listener_port() */
    SSL_CTX *tls;        /* NULL: plain HTTP/1.1, and HTTP/2 by prior knowledge or upgrade */
    struct guard *guard; /* of the same worker; outlives the listener */
};

/* Whether nobody listens there yet, at start: listeners share their port, and would share it with another
 * server as well, each taking some of the connections. False and *error (owned by the caller). */
bool listener_port_free(const char *address, uint16_t port, char **error) __attribute__((warn_unused_result));

/* NULL and *error (owned by the caller). `context` outlives the listener and its connections. */
struct listener *listener_open(struct worker *worker, h2o_context_t *context,
                               const struct listener_config *config, char **error)
    __attribute__((warn_unused_result));
uint16_t listener_port(const struct listener *listener);
/* Takes what is waiting to be accepted, then closes the port. Connections go on:
 * h2o_context_request_shutdown() and guard_drain() bring them to an end. */
void listener_close(struct listener *listener);
/* Closes it if it is open. After the last connection is gone: TLS handshakes under way refer to it. */
void listener_free(struct listener *listener);
