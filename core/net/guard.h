/* The guard of a worker's connections: how many, how long, how much memory, how much abuse.
 *
 * libh2o 2.2.5 has no defence against rapid resets, floods of cheap frames, HPACK bombs, trickled bodies and
 * stalled readers, and one of its asserts lets a client end the process. The guard mends that from outside:
 * guard_h2o.c defines functions that libh2o calls through its procedure linkage table (the executable must be
 * linked with its symbols exported), judges, and passes on. Every second a sweep closes what makes no
 * progress.
 *
 * A guard belongs to one worker and is used on its thread; the budget for bodies is shared by all workers.
 * It finds its connection from a socket by `on_close`, which is therefore the guard's on sockets it admitted.
 * SIGPIPE must be ignored: the guard ends a connection by shutdown(2), and libh2o may write after that. */
#pragma once
#include "net/timer.h"
#include <h2o.h>
#include <stdatomic.h>
#include <stdbool.h>

struct guard;

/* One a process, zeroed but for `limit`: the memory that unfinished or unanswered bodies hold, in bytes;
 * `origins` is its share by a hash of the peer's address: of a trusted proxy, too, since one connection of it
 * carries many clients, and its limits are its own affair. */
struct guard_budget {
    size_t limit;
    atomic_size_t used;
    atomic_size_t origins[256];
};

/* Limits in ms unless said otherwise; the sweep in guard.c applies them. */
enum {
    GUARD_FIRST = 15000,        /* from accept to the first request's first byte, and for a TLS handshake */
    GUARD_HEADER = 15000,       /* for one HTTP/1 request's header */
    GUARD_IDLE = 45000,         /* kept alive without a request; PINGs do not count */
    GUARD_BODY = 20000,         /* a body brings GUARD_BODY_LEAST bytes in this time */
    GUARD_BODY_LEAST = 10240,   /* bytes */
    GUARD_STALL = 45000,        /* the reader of an answer takes GUARD_STALL_LEAST bytes in this time */
    GUARD_STALL_LEAST = 4096,   /* bytes */
    GUARD_SILENCE = 95000,      /* an upgraded connection sends something (it is pinged every 30 s) */
    GUARD_LINGER = 300,         /* after an error, for GOAWAY to get out */
    GUARD_HEADER_BYTES = 65536, /* bytes of an unfinished HTTP/1 header */
    GUARD_SPARE = 32768 /* bytes, two frames: libh2o takes that much more than guard_oversized() accepts */
};

/* False and *error (owned by the caller): libh2o does not call our functions, so that there is no guard. */
bool guard_in_force(char **error) __attribute__((warn_unused_result));

/* `context` and `budget` outlive the guard; `most` connections at once. */
struct guard *guard_new(struct timers *timers, h2o_context_t *context, struct guard_budget *budget,
                        size_t most);
/* After the last connection is gone, or with the loop never to run again. */
void guard_free(struct guard *guard);

/* Takes an accepted socket under guard, before h2o_accept(). False: full, and nobody idle to give way; close
 * it. May end the connection that was idle longest. */
bool guard_admit(struct guard *guard, h2o_socket_t *sock) __attribute__((warn_unused_result));
/* Ends the connection that was idle longest, if any: for accept() out of descriptors. */
bool guard_make_room(struct guard *guard);

/* What libh2o would refuse in words of its own comes to the handler instead, so that it is answered like all
 * else; connections of HTTP/1 end behind such an answer. A head that cannot be read or leaves doubt: path,
 * method and most headers are not the client's then. */
bool guard_malformed(const h2o_req_t *req);
/* A body over the limit (max_request_entity_size less GUARD_SPARE), of which libh2o may not have all, or
 * nothing: `entity` must not be read. */
bool guard_oversized(const h2o_req_t *req);

/* From now on this connection is a WebSocket: only silence and a stalled reader end it. Before the upgrade.
 */
void guard_upgraded(h2o_req_t *req);

/* For a graceful stop: connections end as soon as they have nothing under way. */
void guard_drain(struct guard *guard);
size_t guard_connections(const struct guard *guard);
