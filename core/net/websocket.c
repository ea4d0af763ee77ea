#include "net/websocket.h"
#include "base/buffer.h"
#include "base/mem.h"
#include "net/origin.h"
#include <openssl/sha.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum {
    PING_EVERY = 30000,       /* ms */
    GOODBYE = 2000,           /* ms for the client to close after we did */
    MOST_WAITING = 64 * 1024, /* bytes of control frames and words of ours that a client may leave unread */
    FEW_WAITING = 1024,       /* beyond, PINGs are not answered one by one */
    SEND_BUFFER = 64 * 1024   /* the kernel's: what is in there is out of our reach */
};

enum state { OPENING, OPEN, CLOSING, DEAD };

struct websocket {
    struct worker *worker;
    const struct websocket_hooks *hooks;
    void *arg;
    h2o_socket_t *sock; /* NULL: handshake under way, or closed */
    enum state state;
    struct websocket_reader reader;
    struct buffer waiting, out; /* frames of our own: next, and being written */
    struct timer timer;
    bool writing, paused, reading, heard;
    bool bye, broken; /* the client said goodbye; it broke the protocol */
};

static void flush(struct websocket *socket);
static void read_all(struct websocket *socket);

static void on_free(void *arg)
{
    struct websocket *socket = arg;
    socket->hooks->on_closed(socket->arg);
    websocket_reader_free(&socket->reader);
    buffer_free(&socket->waiting);
    buffer_free(&socket->out);
    free(socket);
}

static void close_socket(struct websocket *socket)
{
    if (socket->sock != NULL)
        h2o_socket_close(socket->sock);
    socket->sock = NULL;
    worker_defer(socket->worker, on_free, socket);
}

/* A write under way ends with an error first: libh2o and TLS hold on to it. */
static void end(struct websocket *socket)
{
    if (socket->state == DEAD)
        return;
    bool opening = socket->state == OPENING;
    socket->state = DEAD;
    timer_cancel(socket->worker->timers, &socket->timer);
    if (socket->writing)
        shutdown(h2o_socket_get_fd(socket->sock), SHUT_RDWR);
    else if (!opening)
        close_socket(socket);
}

static void put_frame(struct buffer *out, enum websocket_opcode opcode, const char *payload, size_t len)
{
    char head[WEBSOCKET_HEAD];
    buffer_put(out, head, websocket_head(opcode, len, head));
    buffer_put(out, payload, len);
}

static void on_written(h2o_socket_t *sock, const char *err)
{
    struct websocket *socket = sock->data;
    socket->writing = false;
    socket->out.len = 0;
    if (socket->state == DEAD)
        close_socket(socket);
    else if (err != NULL)
        end(socket);
    else
        flush(socket);
}

bool websocket_writable(const struct websocket *socket)
{
    return socket->state == OPEN && !socket->writing;
}

void websocket_write(struct websocket *socket, h2o_iovec_t *frames, size_t count)
{
    socket->writing = true;
    h2o_socket_write(socket->sock, frames, count, on_written);
}

static void flush(struct websocket *socket)
{
    if (socket->writing || socket->state == OPENING || socket->state == DEAD)
        return;
    if (socket->waiting.len != 0) {
        struct buffer spare = socket->out;
        socket->out = socket->waiting;
        socket->waiting = spare;
        websocket_write(socket, &(h2o_iovec_t){socket->out.data, socket->out.len}, 1);
    } else if (socket->state == OPEN) {
        buffer_free(&socket->out);
        socket->hooks->on_writable(socket->arg);
    } else if (socket->bye) {
        end(socket);
    }
}

static void put_waiting(struct websocket *socket, enum websocket_opcode opcode, const char *payload,
                        size_t len)
{
    if (socket->waiting.len + len > MOST_WAITING) {
        end(socket);
        return;
    }
    put_frame(&socket->waiting, opcode, payload, len);
    flush(socket);
}

void websocket_say(struct websocket *socket, const char *text, size_t len)
{
    if (socket->state == OPEN)
        put_waiting(socket, WEBSOCKET_TEXT, text, len);
}

void websocket_close(struct websocket *socket, enum websocket_status status)
{
    if (socket->state == OPENING) {
        end(socket);
    } else if (socket->state == OPEN) {
        char payload[2] = {(char)(status >> 8), (char)status};
        socket->state = CLOSING;
        timer_set(socket->worker->timers, &socket->timer, GOODBYE);
        put_waiting(socket, WEBSOCKET_CLOSE, payload, sizeof(payload));
        read_all(socket); /* it may have been paused */
    }
}

static void take(struct websocket *socket, const struct websocket_message *message)
{
    if (message->opcode == WEBSOCKET_CLOSE) {
        socket->broken = message->broken;
        socket->bye = !message->broken;
        websocket_close(socket, message->status);
        flush(socket);
    } else if (socket->state == OPEN && message->opcode == WEBSOCKET_TEXT) {
        socket->paused = true;
        socket->hooks->on_text(socket->arg, message->text, message->len);
    } else if (message->opcode == WEBSOCKET_PING && socket->waiting.len <= FEW_WAITING) {
        put_waiting(socket, WEBSOCKET_PONG, message->text, message->len);
    }
}

static void on_read(h2o_socket_t *sock, const char *err);

/* After goodbye the client's own is waited for. What comes of one that broke the protocol is thrown away:
 * closing with bytes unread would take our last words with it. */
static void read_all(struct websocket *socket)
{
    struct websocket_message message;
    if (socket->reading)
        return;
    socket->reading = true;
    while ((socket->state == OPEN && !socket->paused) || (socket->state == CLOSING && !socket->bye)) {
        h2o_buffer_t **input = &socket->sock->input;
        size_t len = (*input)->size;
        if (!socket->broken) {
            len = websocket_read(&socket->reader, (*input)->bytes, len, &message);
            if (len != 0)
                take(socket, &message);
        }
        if (len == 0)
            break;
        if (socket->sock != NULL)
            h2o_buffer_consume(input, len);
    }
    socket->reading = false;
    if (socket->state == OPEN && socket->paused)
        h2o_socket_read_stop(socket->sock);
    else if (socket->state != DEAD)
        h2o_socket_read_start(socket->sock, on_read);
}

static void on_read(h2o_socket_t *sock, const char *err)
{
    struct websocket *socket = sock->data;
    socket->heard = true;
    if (err != NULL)
        end(socket);
    else
        read_all(socket);
}

void websocket_resume(struct websocket *socket)
{
    socket->paused = false;
    if (socket->state == OPEN)
        read_all(socket);
}

static void on_timer(struct timer *timer)
{
    struct websocket *socket = H2O_STRUCT_FROM_MEMBER(struct websocket, timer, timer);
    if (socket->state != OPEN || !(socket->heard || socket->paused)) {
        end(socket);
        return;
    }
    socket->heard = false;
    timer_set(socket->worker->timers, timer, PING_EVERY);
    put_waiting(socket, WEBSOCKET_PING, "", 0);
}

static void on_upgraded(void *arg, h2o_socket_t *sock)
{
    struct websocket *socket = arg;
    socket->sock = sock;
    if (sock == NULL || socket->state == DEAD) {
        socket->state = DEAD;
        close_socket(socket);
        return;
    }
    sock->data = socket;
    setsockopt(h2o_socket_get_fd(sock), SOL_SOCKET, SO_SNDBUF, &(int){SEND_BUFFER}, sizeof(int));
    socket->state = OPEN;
    socket->heard = true;
    socket->timer.fire = on_timer;
    timer_set(socket->worker->timers, &socket->timer, PING_EVERY);
    flush(socket);
    read_all(socket);
}

/* False: answered already. */
static bool is_sound(struct http_request *request, const char *origins, h2o_iovec_t *key)
{
    static const struct http_header wanted[] = {{"upgrade", "websocket", 9},
                                                {"sec-websocket-version", "13", 2}};
    unsigned char nonce[17];
    size_t len;
    h2o_iovec_t version = http_header(request, "sec-websocket-version");
    *key = http_header(request, "sec-websocket-key");
    if (!http_upgradable(request, "websocket") || !h2o_memis(version.base, version.len, H2O_STRLIT("13"))) {
        http_problem(request, 426, "This is for WebSockets (RFC 6455) on HTTP/1.1.", "", wanted, 2);
        return false;
    }
    if (key->len != 24 ||
        sodium_base642bin(nonce, sizeof(nonce), key->base, key->len, NULL, &len, NULL,
                          sodium_base64_VARIANT_ORIGINAL) != 0 ||
        len != 16) {
        http_problem(request, 400, "Sec-WebSocket-Key must be 16 bytes in base64.", "", NULL, 0);
        return false;
    }
    if (!origin_allowed(http_header(request, "origin"), http_authority(request), origins)) {
        http_problem(request, 403, "Pages of this origin may not connect: http.origins lists those that may.",
                     "", NULL, 0);
        return false;
    }
    return true;
}

struct websocket *websocket_accept(struct http_request *request, struct worker *worker, const char *origins,
                                   const struct websocket_hooks *hooks, void *arg)
{
    static const char magic[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"; /* RFC 6455, 1.3 */
    char text[24 + sizeof(magic)],
        accepted[sodium_base64_ENCODED_LEN(SHA_DIGEST_LENGTH, sodium_base64_VARIANT_ORIGINAL)];
    unsigned char digest[SHA_DIGEST_LENGTH];
    h2o_iovec_t key;
    if (!is_sound(request, origins, &key))
        return NULL;
    memcpy(text, key.base, 24);
    memcpy(text + 24, magic, sizeof(magic));
    SHA1((const unsigned char *)text, sizeof(text) - 1, digest);
    sodium_bin2base64(accepted, sizeof(accepted), digest, sizeof(digest), sodium_base64_VARIANT_ORIGINAL);

    struct websocket *socket = x_new(struct websocket);
    socket->worker = worker;
    socket->hooks = hooks;
    socket->arg = arg;
    struct http_header header = {"sec-websocket-accept", accepted, strlen(accepted)};
    http_upgrade(request, "websocket", &header, 1, on_upgraded, socket);
    return socket;
}
