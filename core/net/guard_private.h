/* What guard.c (connections, deadlines, memory), guard_http2.c (what HTTP/2 knows) and guard_h2o.c (the
 * functions libh2o calls) share. Nobody else includes this. Worker thread only. */
#pragma once
#include "net/guard.h"
#include "net/limits.h"

enum guard_kind {
    GUARD_OPENING, /* TLS handshake, or nothing known yet */
    GUARD_HTTP1,
    GUARD_HTTP2,
    GUARD_UPGRADED,
    GUARD_CLOSING, /* libh2o has let go; TLS may still be saying goodbye: sock->data is stale */
};

/* Why connections were ended; the names are in guard.c. */
enum guard_reason {
    GUARD_WHY_ROOM, /* made way for a newcomer */
    GUARD_WHY_FULL, /* refused */
    GUARD_WHY_SLOW_HEADER,
    GUARD_WHY_SLOW_BODY,
    GUARD_WHY_STALLED,
    GUARD_WHY_IDLE,
    GUARD_WHY_BODIES,
    GUARD_WHY_ABUSE,
    GUARD_REASONS
};

enum http1_phase { HTTP1_IDLE, HTTP1_HEADER, HTTP1_BODY, HTTP1_ANSWER };

struct guard_conn {
    h2o_linklist_t link; /* in guard->conns, by last_in */
    struct guard *guard;
    h2o_socket_t *sock;
    h2o_socket_cb on_read; /* libh2o's */
    enum guard_kind kind;
    bool ended;     /* shutdown(2) was called, or the peer has reset it: libh2o is to notice and close it */
    bool condemned; /* a GOAWAY is on its way out: ended a little later */
    uint64_t opened, last_in;
    uint64_t bytes_in; /* above TLS; HTTP/2: body bytes only */
    size_t held;       /* counted in the budget */
    uint8_t origin;    /* hash of the peer's address, once it holds something */
    struct limits_pace body, answer;
    struct {
        enum http1_phase phase;
        struct timeval begun;
        uint64_t since, seen;
    } http1;
    struct {
        struct limits_bucket bucket;
        uint64_t granted; /* output window of the connection, all told */
        uint64_t paid;    /* bytes of answers that have earned points */
        size_t block;     /* bytes of the header block under way */
        unsigned continuations;
        bool in_block;
        bool bodies;      /* some stream may hold a body */
        unsigned unended; /* streams that were answered before their body had come, to be reset */
        uint32_t unended_ids[8];
        uint64_t unended_at;       /* when the last of them was closed, as of a sweep */
        uint64_t active;           /* when it last had a stream */
        struct limits_pace window; /* like `answer`, but by flow control */
    } http2;
};

struct guard {
    struct timers *timers;
    h2o_context_t *context;
    struct guard_budget *budget;
    size_t most, count, ended;
    bool draining;
    uint64_t now; /* ms, as of the last sweep: fine enough, and free */
    h2o_linklist_t conns;
    struct timer sweep, linger;
    uint64_t reasons[GUARD_REASONS], reported[GUARD_REASONS], report_at;
};

/* It is gone: guard_h2o.c must not use it any more. */
void guard_forget(struct guard_conn *conn);

/* Our connection of a socket, or NULL for one that is not ours (databases, listeners). */
struct guard_conn *guard_find(const h2o_socket_t *sock);
/* Ends it at the loop's next turn, without goodbye: unread answers must not keep kernel memory. */
void guard_end(struct guard_conn *conn, enum guard_reason why);
/* Takes note that it has ended: libh2o comes to nothing more of it. */
void guard_lost(struct guard_conn *conn);
/* Ends it in GUARD_LINGER ms. */
void guard_condemn(struct guard_conn *conn, enum guard_reason why);
/* Brings `held` up to date; over the budget, a holder ends: of the
 * origin that holds most the one that was silent longest. */
void guard_account(struct guard_conn *conn);
/* Bytes acknowledged by the peer since the connection began. */
uint64_t guard_acknowledged(const struct guard_conn *conn);

/* Bytes of a body that are accepted. */
size_t guard_limit(const h2o_req_t *req);

/* A frame came in; NULL: go on, else what is wrong with it. May change the frame into a harmless one. */
struct st_h2o_http2_frame_t;
const char *guard_http2_frame(struct guard_conn *conn, struct st_h2o_http2_frame_t *frame);
/* A request's header block was decoded, `ret` is libh2o's verdict: where its body is not wanted, what comes
 * of it is thrown away from now on. Not for trailers. */
void guard_http2_request(h2o_req_t *req, int ret, size_t content_length);
/* Before a stream is closed. */
struct st_h2o_http2_stream_t;
void guard_http2_closing(struct guard_conn *conn, const struct st_h2o_http2_stream_t *stream);
size_t guard_http2_held(struct guard_conn *conn);
void guard_http2_judge(struct guard_conn *conn);
bool guard_http2_idle(const struct guard_conn *conn);
