/* Connections under guard: admission, memory, deadlines.
 *
 * A `struct guard_conn` lives from guard_admit() until libh2o disposes of the socket (on_close). The guard
 * ends a connection by shutdown(2) only: libh2o then meets end of file or a write error at the loop's next
 * turn and tidies up by itself, whatever it was doing. So a sweep never frees what it walks over. */
#include "net/guard.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/guard_private.h"
#include <h2o/http1.h>
#include <linux/tcp.h> /* glibc's own stops short of tcpi_bytes_acked */
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>

enum {
    BEND = 8,         /* a part of the budget it may exceed for a moment */
    SWEEP = 1000,     /* ms */
    REPORT = 10000,   /* ms between two log lines */
    CANDIDATES = 256, /* connections looked at for one that can give way */
    UNCOUNTED =
        16384,      /* bytes of input a connection has for free, which spares busy ones the shared counter */
    CLOSING = 5000, /* ms for TLS to say goodbye */
};

static const char *const reason_names[GUARD_REASONS] = {
    [GUARD_WHY_ROOM] = "made_room",          [GUARD_WHY_FULL] = "refused",
    [GUARD_WHY_SLOW_HEADER] = "slow_header", [GUARD_WHY_SLOW_BODY] = "slow_body",
    [GUARD_WHY_STALLED] = "stalled",         [GUARD_WHY_IDLE] = "idle",
    [GUARD_WHY_BODIES] = "body_budget",      [GUARD_WHY_ABUSE] = "abuse",
};

static void hold(struct guard_conn *conn, size_t held)
{
    struct guard_budget *budget = conn->guard->budget;
    size_t more = held - conn->held; /* wraps where it shrinks, and so do the sums */
    atomic_fetch_add_explicit(&budget->origins[conn->origin], more, memory_order_relaxed);
    atomic_fetch_add_explicit(&budget->used, more, memory_order_relaxed);
    conn->held = held;
}

static void on_close(void *data)
{
    struct guard_conn *conn = data;
    struct guard *guard = conn->guard;
    guard_forget(conn);
    hold(conn, 0);
    guard->count--;
    guard->ended -= conn->ended;
    h2o_linklist_unlink(&conn->link);
    free(conn);
}

struct guard_conn *guard_find(const h2o_socket_t *sock)
{
    return sock != NULL && sock->on_close.cb == on_close ? sock->on_close.data : NULL;
}

void guard_lost(struct guard_conn *conn)
{
    conn->ended = true;
    conn->guard->ended++;
    hold(conn, 0);
}

void guard_end(struct guard_conn *conn, enum guard_reason why)
{
    if (conn->ended)
        return;
    struct linger at_once = {.l_onoff = 1};
    int fd = h2o_socket_get_fd(conn->sock);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    shutdown(fd, SHUT_RDWR);
    conn->guard->reasons[why]++;
    guard_lost(conn);
}

void guard_condemn(struct guard_conn *conn, enum guard_reason why)
{
    struct guard *guard = conn->guard;
    if (conn->condemned || conn->ended)
        return;
    conn->condemned = true;
    guard->reasons[why]++;
    if (guard->linger.slot == 0)
        timer_set(guard->timers, &guard->linger, GUARD_LINGER);
}

#define each_conn(guard, conn)                                                                               \
    for (h2o_linklist_t *at_ = (guard)->conns.next;                                                          \
         at_ != &(guard)->conns && ((conn) = H2O_STRUCT_FROM_MEMBER(struct guard_conn, link, at_), true);    \
         at_ = at_->next)

static void on_linger(struct timer *timer)
{
    struct guard *guard = H2O_STRUCT_FROM_MEMBER(struct guard, linger, timer);
    struct guard_conn *conn;
    each_conn(guard, conn)
    {
        if (conn->condemned && !conn->ended) {
            shutdown(h2o_socket_get_fd(conn->sock), SHUT_RDWR); /* what was written may still arrive */
            guard_lost(conn);
        }
    }
}

/* Peers in one IPv6 /64 are taken for one. */
static uint8_t hash_origin(h2o_socket_t *sock)
{
    struct sockaddr_storage peer = {.ss_family = AF_UNSPEC};
    const uint8_t *bytes = NULL;
    size_t len = 0;
    uint32_t hash = 2166136261;
    h2o_socket_getpeername(sock, (struct sockaddr *)&peer);
    if (peer.ss_family == AF_INET) {
        bytes = (const uint8_t *)&((struct sockaddr_in *)&peer)->sin_addr;
        len = 4;
    } else if (peer.ss_family == AF_INET6) {
        const struct in6_addr *address = &((struct sockaddr_in6 *)&peer)->sin6_addr;
        bytes = address->s6_addr + (IN6_IS_ADDR_V4MAPPED(address) ? 12 : 0);
        len = IN6_IS_ADDR_V4MAPPED(address) ? 4 : 8;
    }
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ bytes[i]) * 16777619;
    return (uint8_t)(hash >> 24 ^ hash);
}

static size_t used(const struct guard *guard)
{
    return atomic_load_explicit(&guard->budget->used, memory_order_relaxed);
}

/* Ends the connection of this origin (any: -1) that was silent longest, so that bodies still coming in
 * outlive those left lying. False: none of them holds anything here. */
static bool end_a_holder(struct guard *guard, int origin)
{
    struct guard_conn *conn;
    each_conn(guard, conn)
    {
        if (conn->held != 0 && (origin < 0 || conn->origin == origin)) {
            guard_end(conn, GUARD_WHY_BODIES);
            return true;
        }
    }
    return false;
}

/* Who fills the budget must not push others out of it: the origin that holds most gives. Where its
 * connections are other workers', those end them at their next look, within a second; the budget bends that
 * far and no further. */
static void relieve(struct guard *guard)
{
    struct guard_budget *budget = guard->budget;
    bool more = true;
    while (more && used(guard) > budget->limit) {
        int top = 0;
        for (int i = 1; i < 256; i++) {
            if (atomic_load_explicit(&budget->origins[i], memory_order_relaxed) >
                atomic_load_explicit(&budget->origins[top], memory_order_relaxed))
                top = i;
        }
        more = end_a_holder(guard, top) ||
               (used(guard) > budget->limit + budget->limit / BEND && end_a_holder(guard, -1));
    }
}

void guard_account(struct guard_conn *conn)
{
    if (conn->ended || conn->kind == GUARD_CLOSING)
        return;
    size_t held = conn->sock->input->bytes == NULL ? 0 : conn->sock->input->capacity;
    if (conn->kind == GUARD_HTTP2)
        held += guard_http2_held(conn);
    if (held <= UNCOUNTED)
        held = 0;
    if (held == conn->held)
        return;
    bool grew = held > conn->held;
    if (conn->held == 0)
        conn->origin = hash_origin(conn->sock);
    hold(conn, held);
    if (grew)
        relieve(conn->guard);
}

uint64_t guard_acknowledged(const struct guard_conn *conn)
{
    struct tcp_info info = {.tcpi_state = 0};
    socklen_t len = sizeof(info);
    if (getsockopt(h2o_socket_get_fd(conn->sock), IPPROTO_TCP, TCP_INFO, &info, &len) != 0)
        return 0;
    return info.tcpi_bytes_acked;
}

/* Where an HTTP/1 connection stands; what libh2o knows of its request tells. */
static int on_http1_request(h2o_req_t *req, void *arg)
{
    struct guard *guard = arg;
    struct guard_conn *conn = guard_find(req->conn->callbacks->get_socket(req->conn));
    if (conn == NULL || conn->kind > GUARD_HTTP1)
        return 0;
    enum http1_phase phase = HTTP1_IDLE;
    if (req->processed_at.at.tv_sec != 0)
        phase = HTTP1_ANSWER;
    else if (req->timestamps.request_body_begin_at.tv_sec != 0)
        phase = HTTP1_BODY;
    else if (req->timestamps.request_begin_at.tv_sec != 0)
        phase = HTTP1_HEADER;
    conn->kind = GUARD_HTTP1;
    conn->http1.seen = guard->now;
    struct timeval begun = req->timestamps.request_begin_at;
    if (phase != conn->http1.phase || begun.tv_sec != conn->http1.begun.tv_sec ||
        begun.tv_usec != conn->http1.begun.tv_usec) {
        conn->http1.phase = phase;
        conn->http1.begun = begun;
        conn->http1.since = guard->now;
    }
    return 0;
}

static void judge_http1(struct guard_conn *conn, uint64_t now)
{
    bool in_body = conn->http1.phase == HTTP1_BODY;
    if (!limits_pace(&conn->body, in_body, now, conn->bytes_in, GUARD_BODY, GUARD_BODY_LEAST)) {
        guard_end(conn, GUARD_WHY_SLOW_BODY);
        return;
    }
    switch (conn->http1.phase) {
    case HTTP1_IDLE:
        if (conn->guard->draining || now - conn->last_in >= (conn->bytes_in == 0 ? GUARD_FIRST : GUARD_IDLE))
            guard_end(conn, GUARD_WHY_IDLE);
        break;
    case HTTP1_HEADER:
        if (now - conn->http1.since >= GUARD_HEADER || conn->sock->input->size > GUARD_HEADER_BYTES)
            guard_end(conn, GUARD_WHY_SLOW_HEADER);
        break;
    case HTTP1_BODY:
    case HTTP1_ANSWER:
        break;
    }
}

static void judge(struct guard_conn *conn, uint64_t now)
{
    if (conn->kind == GUARD_HTTP1 && conn->http1.seen != now) {
        conn->kind = GUARD_OPENING; /* became something else, of which nothing is known yet */
        conn->opened = now;
    }
    if (conn->kind != GUARD_HTTP2 && conn->kind != GUARD_CLOSING) {
        bool writing = h2o_socket_is_writing(conn->sock);
        if (!limits_pace(&conn->answer, writing, now, writing ? guard_acknowledged(conn) : 0, GUARD_STALL,
                         GUARD_STALL_LEAST))
            guard_end(conn, GUARD_WHY_STALLED);
    }
    switch (conn->kind) {
    case GUARD_OPENING:
        if (now - conn->opened >= GUARD_FIRST)
            guard_end(conn, GUARD_WHY_SLOW_HEADER);
        break;
    case GUARD_HTTP1:
        judge_http1(conn, now);
        break;
    case GUARD_HTTP2:
        guard_http2_judge(conn);
        break;
    case GUARD_UPGRADED:
        if (now - conn->last_in >= GUARD_SILENCE)
            guard_end(conn, GUARD_WHY_IDLE);
        break;
    case GUARD_CLOSING:
        if (now - conn->last_in >= CLOSING)
            guard_end(conn, GUARD_WHY_STALLED);
        break;
    }
}

/* One line for all, however many: a flood must not become a flood of log lines. */
static void report(struct guard *guard)
{
    struct log_field fields[GUARD_REASONS + 1];
    size_t n = 0;
    for (size_t i = 0; i < GUARD_REASONS; i++) {
        if (i != GUARD_WHY_IDLE && guard->reasons[i] != guard->reported[i])
            fields[n++] = LOG_INT(reason_names[i], guard->reasons[i] - guard->reported[i]);
        guard->reported[i] = guard->reasons[i];
    }
    fields[n] = (struct log_field){.name = NULL};
    if (n != 0)
        log_write(LOG_WARN, "connections ended", fields);
}

static void on_sweep(struct timer *timer)
{
    struct guard *guard = H2O_STRUCT_FROM_MEMBER(struct guard, sweep, timer);
    struct guard_conn *conn;
    guard->now = clock_ms();
    H2O_HTTP1_CALLBACKS.foreach_request(guard->context, on_http1_request, guard);
    each_conn(guard, conn)
    {
        if (!conn->ended && !conn->condemned)
            judge(conn, guard->now);
    }
    relieve(guard);
    if (guard->now >= guard->report_at) {
        guard->report_at = guard->now + REPORT;
        report(guard);
    }
    timer_set(guard->timers, &guard->sweep, SWEEP);
}

struct guard *guard_new(struct timers *timers, h2o_context_t *context, struct guard_budget *budget,
                        size_t most)
{
    struct guard *guard = x_new(struct guard);
    guard->timers = timers;
    guard->context = context;
    guard->budget = budget;
    guard->most = most;
    guard->now = clock_ms();
    guard->sweep.fire = on_sweep;
    guard->linger.fire = on_linger;
    h2o_linklist_init_anchor(&guard->conns);
    timer_set(timers, &guard->sweep, SWEEP);
    return guard;
}

void guard_free(struct guard *guard)
{
    struct guard_conn *conn;
    timer_cancel(guard->timers, &guard->sweep);
    timer_cancel(guard->timers, &guard->linger);
    while (!h2o_linklist_is_empty(&guard->conns)) {
        conn = H2O_STRUCT_FROM_MEMBER(struct guard_conn, link, guard->conns.next);
        conn->sock->on_close.cb = NULL;
        on_close(conn);
    }
    free(guard);
}

bool guard_make_room(struct guard *guard)
{
    struct guard_conn *conn;
    unsigned seen = 0;
    each_conn(guard, conn)
    {
        if (++seen > CANDIDATES)
            return false;
        bool idle;
        if (conn->kind == GUARD_OPENING)
            idle = conn->bytes_in == 0;
        else if (conn->kind == GUARD_HTTP1) /* the sweep knew where it stands, unless it read since */
            idle = conn->last_in < guard->now && conn->http1.phase <= HTTP1_HEADER;
        else
            idle = conn->kind == GUARD_HTTP2 && guard_http2_idle(conn);
        if (idle && !conn->ended) {
            guard_end(conn, GUARD_WHY_ROOM);
            return true;
        }
    }
    return false;
}

bool guard_admit(struct guard *guard, h2o_socket_t *sock)
{
    if (guard->count - guard->ended >= guard->most && !guard_make_room(guard)) {
        guard->reasons[GUARD_WHY_FULL]++;
        return false;
    }
    struct guard_conn *conn = x_new(struct guard_conn);
    conn->guard = guard;
    conn->sock = sock;
    conn->opened = conn->last_in = clock_ms(); /* the sweep's may be long ago where the loop was busy */
    h2o_linklist_insert(&guard->conns, &conn->link);
    guard->count++;
    sock->on_close.cb = on_close;
    sock->on_close.data = conn;
    return true;
}

void guard_upgraded(h2o_req_t *req)
{
    struct guard_conn *conn = guard_find(req->conn->callbacks->get_socket(req->conn));
    if (conn != NULL)
        conn->kind = GUARD_UPGRADED;
}

size_t guard_limit(const h2o_req_t *req)
{
    return req->conn->ctx->globalconf->max_request_entity_size - GUARD_SPARE;
}

bool guard_oversized(const h2o_req_t *req)
{
    return req->entity.len > guard_limit(req);
}

void guard_drain(struct guard *guard)
{
    guard->draining = true;
    timer_set(guard->timers, &guard->sweep, 0);
}

size_t guard_connections(const struct guard *guard)
{
    return guard->count;
}
