/* What the guard knows of HTTP/2: the price of frames, streams that make no progress, memory of bodies.
 *
 * Reads libh2o's own records of a connection (h2o/http2_internal.h) and writes to them in few places:
 * settle() keeps libh2o from an assert that a client can bring about; cut() and what belongs to it have a
 * request answered whose body is not wanted, where libh2o would reset the stream (clients then try again).
 * Worker thread. */
#include "net/guard_private.h"
#include <h2o/http2.h>
#include <h2o/http2_internal.h>

/* Prices in points (net/limits.h). What throws away a request that may have been started costs more than
 * the request has earned: about a hundred at once and ten a second. */
enum {
    EARNED_REQUEST = 3, /* a WINDOW_UPDATE of stream and connection, and a PRIORITY, are a request's due */
    EARNED_BYTES = 256, /* of an answer earn a point: a WINDOW_UPDATE or two every few KiB is common */
    PRICE_CHEAP = 1,
    PRICE_EMPTY_DATA = 5,
    PRICE_ANSWERED = 10, /* it makes us write something, or log */
    PRICE_RESET = 10 + EARNED_REQUEST,
    FIRST_WINDOW = 65535, /* of a connection (RFC 9113, 6.9.2) */
    SMALL_DATA = 16,
    UNENDED = sizeof(((struct guard_conn *)NULL)->http2.unended_ids) / sizeof(uint32_t),
    UNENDED_DELAY = 1500,  /* ms */
    SMALL_UNWANTED = 1024, /* bytes in flight when an answer came are no abuse, but must not be free */
};

static h2o_http2_conn_t *http2_of(const struct guard_conn *conn)
{
    return conn->sock->data;
}

/* Bytes of answers handed to the connection: what was granted, less what is left of it. */
static uint64_t sent(const struct guard_conn *conn)
{
    return conn->http2.granted - (uint64_t)h2o_http2_window_get_window(&http2_of(conn)->_write.window);
}

/* libh2o asserts that a stream whose output window opens again is not waiting for a write to complete. One
 * that has sent all it had may be, and needs no window any more: its window is never seen to open. */
static void settle(h2o_http2_stream_t *stream)
{
    if (stream->state == H2O_HTTP2_STREAM_STATE_END_STREAM && stream->output_window._avail <= 0)
        stream->output_window._avail = 1;
}

static void settle_all(h2o_http2_conn_t *http2)
{
    for (khiter_t i = 0; i != kh_end(http2->streams); i++) {
        if (kh_exist(http2->streams, i))
            settle(kh_val(http2->streams, i));
    }
}

/* libh2o takes no notice of what this was. */
static void make_harmless(h2o_http2_frame_t *frame)
{
    frame->type = H2O_HTTP2_FRAME_TYPE_SETTINGS;
    frame->flags = H2O_HTTP2_FRAME_FLAG_ACK;
    frame->stream_id = 0;
    frame->length = 0;
}

/* The request is answered with what there is of it; `entity` tells how much there would be. */
static void cut(h2o_http2_stream_t *stream, size_t len)
{
    h2o_buffer_dispose(&stream->_req_body);
    stream->_req_body = NULL; /* so that libh2o waits for none */
    stream->req.entity = h2o_iovec_init(NULL, len);
}

void guard_http2_request(h2o_req_t *req, int ret, size_t content_length)
{
    h2o_http2_stream_t *stream = H2O_STRUCT_FROM_MEMBER(h2o_http2_stream_t, req, req);
    if (stream->_req_body == NULL)
        return;
    if (ret == H2O_HTTP2_ERROR_INVALID_HEADER_CHAR)
        cut(stream, SIZE_MAX);
    else if (ret == 0 && content_length != SIZE_MAX && content_length > guard_limit(req))
        cut(stream, content_length);
}

/* Clients that send on shall stop (RFC 9113, 8.1). Not at once: curl 7.88 loses an answer that it reads
 * together with the reset, and by itself stops when it has read a 413. */
static void reset_unended(struct guard_conn *conn)
{
    h2o_http2_conn_t *http2 = http2_of(conn);
    if (http2->state < H2O_HTTP2_CONN_STATE_HALF_CLOSED) {
        for (unsigned i = 0; i < conn->http2.unended; i++)
            h2o_http2__encode_rst_stream_frame(&http2->_write.buf, conn->http2.unended_ids[i], 0);
        h2o_http2_conn_request_write(http2);
    }
    conn->http2.unended = 0;
}

void guard_http2_closing(struct guard_conn *conn, const h2o_http2_stream_t *stream)
{
    if (!guard_oversized(&stream->req) || conn->http2.unended == UNENDED)
        return; /* a client that has so many may send till its windows are used up */
    conn->http2.unended_ids[conn->http2.unended++] = stream->stream_id;
    conn->http2.unended_at = conn->guard->now;
}

/* Bytes that nobody reads count as read for the connection, so that its other streams go on, but not for
 * their stream. */
static int price_of_unwanted(h2o_http2_conn_t *http2, h2o_http2_frame_t *frame)
{
    const ssize_t window = H2O_HTTP2_SETTINGS_HOST.initial_window_size;
    int price = frame->length < SMALL_UNWANTED ? PRICE_CHEAP : 0;
    h2o_http2_window_consume_window(&http2->_input_window, frame->length);
    ssize_t left = h2o_http2_window_get_window(&http2->_input_window);
    if (left * 2 < window && http2->state < H2O_HTTP2_CONN_STATE_HALF_CLOSED) {
        h2o_http2_encode_window_update_frame(&http2->_write.buf, 0, (int32_t)(window - left));
        h2o_http2_conn_request_write(http2);
        h2o_http2_window_update(&http2->_input_window, window - left);
    }
    make_harmless(frame);
    return price;
}

static int price_of_data(struct guard_conn *conn, h2o_http2_conn_t *http2, h2o_http2_frame_t *frame)
{
    h2o_http2_stream_t *stream = h2o_http2_conn_get_stream(http2, frame->stream_id);
    conn->bytes_in += frame->length;
    if (stream == NULL) /* in flight when the stream ended, else an error */
        return frame->stream_id % 2 == 1 && frame->stream_id <= http2->pull_stream_ids.max_open
                   ? price_of_unwanted(http2, frame)
                   : PRICE_CHEAP;
    if (stream->state != H2O_HTTP2_STREAM_STATE_RECV_BODY)
        return guard_oversized(&stream->req) ? price_of_unwanted(http2, frame)
                                             : PRICE_RESET; /* libh2o resets it */
    conn->http2.bodies = true;
    if (stream->_req_body->size > guard_limit(&stream->req))
        frame->flags |= H2O_HTTP2_FRAME_FLAG_END_STREAM; /* enough to tell: see guard_oversized() */
    if (frame->length < SMALL_DATA && (frame->flags & H2O_HTTP2_FRAME_FLAG_END_STREAM) == 0)
        return PRICE_EMPTY_DATA;
    return 0;
}

static int price_of_window(struct guard_conn *conn, h2o_http2_conn_t *http2, const h2o_http2_frame_t *frame)
{
    if (frame->length != 4)
        return PRICE_CHEAP; /* libh2o ends the connection */
    uint32_t more = h2o_http2_decode32u(frame->payload) & 0x7fffffff;
    if (frame->stream_id == 0) {
        conn->http2.granted += more;
        return PRICE_CHEAP;
    }
    h2o_http2_stream_t *stream = h2o_http2_conn_get_stream(http2, frame->stream_id);
    if (stream != NULL)
        settle(stream);
    /* Zero and overflow reset the stream. */
    if (more == 0 || (stream != NULL && stream->output_window._avail + (ssize_t)more > INT32_MAX))
        return PRICE_RESET;
    return PRICE_CHEAP;
}

static const char *check_block(struct guard_conn *conn, const h2o_http2_frame_t *frame)
{
    bool end = (frame->flags & H2O_HTTP2_FRAME_FLAG_END_HEADERS) != 0;
    if (frame->type == H2O_HTTP2_FRAME_TYPE_HEADERS) {
        conn->http2.block = 0;
        conn->http2.continuations = 0;
    } else if ((frame->length == 0 && !end) || ++conn->http2.continuations > LIMITS_HEADER_CONTINUATIONS) {
        return "too many CONTINUATION frames";
    }
    conn->http2.in_block = !end;
    conn->http2.block += frame->length;
    return conn->http2.block > LIMITS_HEADER_BLOCK ? "header block too large" : NULL;
}

const char *guard_http2_frame(struct guard_conn *conn, h2o_http2_frame_t *frame)
{
    h2o_http2_conn_t *http2 = http2_of(conn);
    struct guard *guard = conn->guard;
    int price = PRICE_ANSWERED;

    if (conn->kind != GUARD_HTTP2) {
        conn->kind = GUARD_HTTP2;
        conn->bytes_in = 0;
        conn->http2.granted = FIRST_WINDOW;
        conn->http2.active = guard->now;
        limits_bucket_init(&conn->http2.bucket, guard->now);
    }
    if (sent(conn) - conn->http2.paid >= EARNED_BYTES) {
        limits_earn(&conn->http2.bucket, (sent(conn) - conn->http2.paid) / EARNED_BYTES);
        conn->http2.paid = sent(conn);
    }

    switch (frame->type) {
    case H2O_HTTP2_FRAME_TYPE_DATA:
        price = price_of_data(conn, http2, frame);
        break;
    case H2O_HTTP2_FRAME_TYPE_HEADERS:
        conn->http2.active = guard->now;
        limits_earn(&conn->http2.bucket, EARNED_REQUEST);
        price = 0;
        /* fall through */
    case H2O_HTTP2_FRAME_TYPE_CONTINUATION: {
        const char *flaw = check_block(conn, frame);
        if (flaw != NULL)
            return flaw;
        if (frame->type == H2O_HTTP2_FRAME_TYPE_CONTINUATION)
            price = PRICE_CHEAP;
        break;
    }
    case H2O_HTTP2_FRAME_TYPE_PRIORITY:
        price = PRICE_CHEAP;
        break;
    case H2O_HTTP2_FRAME_TYPE_RST_STREAM:
        price = PRICE_RESET;
        break;
    case H2O_HTTP2_FRAME_TYPE_SETTINGS:
        settle_all(http2);
        if ((frame->flags & H2O_HTTP2_FRAME_FLAG_ACK) != 0)
            price = PRICE_CHEAP;
        break;
    case H2O_HTTP2_FRAME_TYPE_WINDOW_UPDATE:
        price = price_of_window(conn, http2, frame);
        break;
    case H2O_HTTP2_FRAME_TYPE_PUSH_PROMISE:
    case H2O_HTTP2_FRAME_TYPE_PING:
    case H2O_HTTP2_FRAME_TYPE_GOAWAY:
        break;
    default:
        /* Unknown types are to be ignored, but libh2o logs each: it sees an acknowledgement instead. Within a
         * header block they are an error, and stay what they are. */
        if (!conn->http2.in_block)
            make_harmless(frame);
    }
    return limits_spend(&conn->http2.bucket, guard->now, price) ? NULL : "too many control frames";
}

size_t guard_http2_held(struct guard_conn *conn)
{
    if (!conn->http2.bodies)
        return 0;
    const h2o_http2_conn_t *http2 = http2_of(conn);
    size_t held = 0;
    for (khiter_t i = 0; i != kh_end(http2->streams); i++) {
        if (!kh_exist(http2->streams, i))
            continue;
        const h2o_buffer_t *body = kh_val(http2->streams, i)->_req_body;
        if (body != NULL && body->bytes != NULL)
            held += body->capacity;
    }
    conn->http2.bodies = held != 0;
    return held;
}

bool guard_http2_idle(const struct guard_conn *conn)
{
    const h2o_http2_conn_t *http2 = http2_of(conn);
    return http2->num_streams.pull.open == 0 && http2->_write.buf_in_flight == NULL;
}

/* As libh2o does it when a connection is idle: no new streams, and closed once this is written. */
static void go_away(struct guard_conn *conn)
{
    h2o_http2_conn_t *http2 = http2_of(conn);
    if (http2->state == H2O_HTTP2_CONN_STATE_OPEN) {
        h2o_http2_encode_goaway_frame(&http2->_write.buf, http2->pull_stream_ids.max_open,
                                      H2O_HTTP2_ERROR_NONE, h2o_iovec_init(H2O_STRLIT("idle")));
        h2o_http2_conn_request_write(http2);
        http2->state = H2O_HTTP2_CONN_STATE_HALF_CLOSED;
    }
    guard_condemn(conn, GUARD_WHY_IDLE);
}

void guard_http2_judge(struct guard_conn *conn)
{
    const h2o_http2_conn_t *http2 = http2_of(conn);
    uint64_t now = conn->guard->now;

    if (conn->http2.unended != 0 && now - conn->http2.unended_at >= UNENDED_DELAY)
        reset_unended(conn);
    if (guard_http2_idle(conn)) {
        if (conn->guard->draining || now - conn->http2.active >= GUARD_IDLE)
            go_away(conn);
        return;
    }
    conn->http2.active = now;

    bool receiving = false, blocked = false;
    for (khiter_t i = 0; i != kh_end(http2->streams); i++) {
        if (!kh_exist(http2->streams, i))
            continue;
        h2o_http2_stream_t *stream = kh_val(http2->streams, i);
        if (stream->state == H2O_HTTP2_STREAM_STATE_RECV_HEADERS ||
            stream->state == H2O_HTTP2_STREAM_STATE_RECV_BODY)
            receiving = true;
        else if (stream->state == H2O_HTTP2_STREAM_STATE_SEND_BODY_IS_FINAL ||
                 (stream->state == H2O_HTTP2_STREAM_STATE_SEND_BODY &&
                  h2o_http2_stream_has_pending_data(stream)))
            blocked = true;
    }
    if (!limits_pace(&conn->body, receiving, now, conn->bytes_in, GUARD_BODY, GUARD_BODY_LEAST)) {
        guard_end(conn, GUARD_WHY_SLOW_BODY);
        return;
    }
    /* Behind a full kernel buffer what TCP acknowledges tells of progress; with that buffer empty, what flow
     * control lets pass (acknowledged bytes then might be answers to PINGs). */
    bool in_flight = http2->_write.buf_in_flight != NULL;
    bool flows = limits_pace(&conn->http2.window, blocked && !in_flight, now, sent(conn), GUARD_STALL,
                             GUARD_STALL_LEAST);
    bool drains = limits_pace(&conn->answer, in_flight, now, in_flight ? guard_acknowledged(conn) : 0,
                              GUARD_STALL, GUARD_STALL_LEAST);
    if (!flows || !drains)
        guard_end(conn, GUARD_WHY_STALLED);
}
