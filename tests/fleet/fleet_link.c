/* MQTT 3.1.1 (OASIS), of which a device needs seven packets. Everything runs on the loop's thread. A
 * connection that breaks is closed at once and told of by the link's timer, so that on_down never comes out
 * of a call the device made. Links are freed from timers only, never while their socket is served. */
#include "fleet_link.h"
#include "fleet_mqtt.h"
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct sim_link {
    struct sim_loop *loop;
    struct fleet_gate *gate;
    const struct sim_link_events *events;
    void *arg;
    enum { DOWN, CONNECTING, SUBSCRIBING, UP, BROKEN } state; /* BROKEN: the timer will tell */
    struct fleet_watch watch;
    struct sim_timer timer; /* keep-alive while connected */
    int fd;                 /* or -1 */
    SSL *tls;
    bool sent, heard, pinged; /* since the timer came last; pinged: and it asked then */
    uint16_t last_id, status_id;
    uint8_t *out, *in; /* what the socket did not take yet; the beginning of a packet. NULL: none */
    size_t out_len, in_len;
    const char *why;
};

static void hang_up(struct sim_link *link)
{
    if (link->fd >= 0) {
        fleet_loop_watch(link->loop, link->fd, &link->watch, 0);
        SSL_free(link->tls);
        close(link->fd);
    }
    free(link->out);
    free(link->in);
    link->tls = NULL;
    link->out = link->in = NULL;
    link->out_len = link->in_len = 0;
    link->fd = -1;
}

static void set_timer(struct sim_link *link, uint64_t at)
{
    sim_timers_set(sim_loop_timers(link->loop), &link->timer, at);
}

static void fail(struct sim_link *link, const char *why)
{
    hang_up(link);
    link->state = BROKEN;
    link->why = why;
    set_timer(link, 0);
}

/* --- bytes --- */

/* What a call of OpenSSL or the system returned: bytes, 0 for none now, -1 for the end. */
static ssize_t outcome(const struct sim_link *link, ssize_t n)
{
    if (n > 0) {
        return n;
    }
    if (link->tls) {
        int error = SSL_get_error(link->tls, (int)n);
        return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? 0 : -1;
    }
    return n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
}

static ssize_t read_some(struct sim_link *link, void *out, size_t size)
{
    ERR_clear_error();
    return outcome(link, link->tls ? SSL_read(link->tls, out, (int)size) : read(link->fd, out, size));
}

static ssize_t write_some(struct sim_link *link, const void *data, size_t len)
{
    ERR_clear_error();
    return outcome(link, link->tls ? SSL_write(link->tls, data, (int)len)
                                   : send(link->fd, data, len, MSG_NOSIGNAL));
}

static void want(struct sim_link *link)
{
    bool write = link->out_len > 0; /* TLS in its handshake may have to read first */
    if (link->tls) {
        write = SSL_want_write(link->tls) || (write && !SSL_want_read(link->tls));
    }
    fleet_loop_watch(link->loop, link->fd, &link->watch, EPOLLIN | (write ? EPOLLOUT : 0u));
}

static void keep_rest(uint8_t **kept, size_t *kept_len, const uint8_t *data, size_t len)
{
    uint8_t *copy = len ? malloc(len) : NULL;
    if (len && !copy) {
        abort();
    }
    if (len) {
        memcpy(copy, data, len);
    }
    free(*kept);
    *kept = copy;
    *kept_len = len;
}

static void flush(struct sim_link *link)
{
    if (link->out_len == 0) {
        return;
    }
    ssize_t n = write_some(link, link->out, link->out_len);
    if (n < 0) {
        fail(link, "connection lost");
        return;
    }
    if (n > 0) {
        keep_rest(&link->out, &link->out_len, link->out + n, link->out_len - (size_t)n);
    }
    want(link);
}

static bool put(struct sim_link *link, const struct fleet_packet *packet)
{
    if (link->fd < 0 || packet->full) {
        return false;
    }
    uint8_t *grown = realloc(link->out, link->out_len + packet->len);
    if (!grown) {
        abort();
    }
    memcpy(grown + link->out_len, packet->bytes, packet->len);
    link->out = grown;
    link->out_len += packet->len;
    link->sent = true;
    if (link->state != CONNECTING) { /* else once the socket is open */
        flush(link);
    }
    return link->fd >= 0;
}

/* --- packets --- */

static uint16_t next_id(struct sim_link *link)
{
    link->last_id = link->last_id == UINT16_MAX ? 1 : (uint16_t)(link->last_id + 1);
    return link->last_id;
}

static void on_connack(struct sim_link *link, const struct fleet_message *message)
{
    struct fleet_packet packet;
    if (link->state != CONNECTING || message->code != 0) {
        fail(link, "the broker refused the connection");
        return;
    }
    link->state = SUBSCRIBING;
    fleet_mqtt_subscribe(&packet, next_id(link), link->gate->registration.ota_topic);
    put(link, &packet);
}

static void on_suback(struct sim_link *link, const struct fleet_message *message)
{
    if (link->state != SUBSCRIBING || message->code > 2) {
        fail(link, "the broker refused the subscription");
        return;
    }
    link->state = UP;
    link->gate->connects++;
    link->events->on_up(link->arg);
}

static void on_publish(struct sim_link *link, const struct fleet_message *message)
{
    struct fleet_packet packet;
    if (message->id) {
        fleet_mqtt_ack(&packet, message->id);
        put(link, &packet);
    }
    if (link->state == UP) {
        link->events->on_offer(link->arg, message->payload, message->payload_len);
    }
}

static void on_message(struct sim_link *link, const struct fleet_message *message)
{
    switch (message->type) {
    case FLEET_CONNACK:
        on_connack(link, message);
        return;
    case FLEET_SUBACK:
        on_suback(link, message);
        return;
    case FLEET_PUBLISH:
        on_publish(link, message);
        return;
    case FLEET_PUBACK:
        if (message->id == link->status_id && link->status_id) {
            link->status_id = 0;
            link->events->on_status_acked(link->arg);
        }
        return;
    case FLEET_PINGRESP:
        return;
    default:
        fail(link, "the broker sent something else than MQTT");
    }
}

/* Takes the whole packets out of data; how many bytes they were. */
static size_t take(struct sim_link *link, const uint8_t *data, size_t len)
{
    struct fleet_message message;
    size_t done = 0;
    for (long size; link->fd >= 0 && (size = fleet_mqtt_read(data + done, len - done, &message)) != 0;) {
        if (size < 0) {
            fail(link, "the broker sent something else than MQTT");
            break;
        }
        on_message(link, &message);
        done += (size_t)size;
    }
    return done;
}

static void receive(struct sim_link *link)
{
    uint8_t *buffer = fleet_loop_buffer(link->loop);
    while (link->fd >= 0) {
        size_t before = link->in_len;
        if (before == FLEET_BUFFER) {
            fail(link, "a packet too long");
            return;
        }
        if (before) {
            memcpy(buffer, link->in, before);
        }
        ssize_t n = read_some(link, buffer + before, FLEET_BUFFER - before);
        if (n < 0) {
            fail(link, link->state == CONNECTING ? "cannot connect" : "connection lost");
        }
        if (n <= 0) {
            return;
        }
        link->heard = true;
        size_t len = before + (size_t)n, done = take(link, buffer, len);
        if (link->fd >= 0) {
            keep_rest(&link->in, &link->in_len, buffer + done, len - done);
        }
    }
}

static void on_ready(void *arg, uint32_t events)
{
    struct sim_link *link = arg;
    if (link->fd >= 0 && (events & (EPOLLIN | EPOLLHUP | EPOLLERR))) {
        receive(link);
    }
    if (link->fd >= 0) {
        flush(link);
    }
    if (link->fd >= 0) {
        want(link);
    }
}

/* --- for the device --- */

static void on_due(void *arg)
{
    struct sim_link *link = arg;
    struct fleet_packet packet;
    if (link->state == BROKEN) {
        link->state = DOWN;
        link->status_id = 0;
        link->events->on_down(link->arg, link->why);
        return;
    }
    if (link->pinged && !link->heard) {
        fail(link, "the broker does not answer");
        return;
    }
    link->pinged = !link->sent && link->state == UP;
    if (link->pinged) {
        fleet_mqtt_ping(&packet);
        put(link, &packet);
    }
    link->sent = link->heard = false;
    if (link->fd >= 0) {
        set_timer(link, sim_loop_now() + link->gate->broker->keep_alive * 500u);
    }
}

struct sim_link *sim_link_new(struct sim_loop *loop, const struct sim_registration *registration,
                              const char *ca_file, const struct sim_link_events *events, void *arg)
{
    struct sim_link *link = calloc(1, sizeof *link);
    if (!link) {
        abort();
    }
    struct fleet_gate *gate = (struct fleet_gate *)(uintptr_t)registration; /* its first member */
    *link = (struct sim_link){.loop = loop, .gate = gate, .events = events, .arg = arg, .fd = -1};
    link->watch = (struct fleet_watch){.on_ready = on_ready, .arg = link};
    link->timer = (struct sim_timer){.on_due = on_due, .arg = link};
    gate->link = link;
    return link;
}

void sim_link_free(struct sim_link *link)
{
    set_timer(link, UINT64_MAX);
    hang_up(link);
    link->gate->link = NULL;
    free(link);
}

static bool open_socket(struct sim_link *link)
{
    const struct fleet_broker *broker = link->gate->broker;
    link->fd = socket(broker->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (link->fd < 0) {
        return false;
    }
    if (connect(link->fd, (const struct sockaddr *)&broker->address, broker->address_len) != 0 &&
        errno != EINPROGRESS) {
        return false;
    }
    if (broker->tls) {
        link->tls = SSL_new(broker->tls);
        if (!link->tls || !SSL_set_fd(link->tls, link->fd) || !SSL_set1_host(link->tls, broker->host) ||
            !SSL_set_tlsext_host_name(link->tls, broker->host)) {
            abort();
        }
        SSL_set_connect_state(link->tls);
    }
    return true;
}

void sim_link_connect(struct sim_link *link, const char *will)
{
    struct fleet_packet packet;
    hang_up(link); /* an attempt that ended in nothing */
    link->status_id = 0;
    link->pinged = false;
    if (link->gate->closed) {
        fail(link, "out of reach");
        return;
    }
    if (!open_socket(link)) {
        fail(link, "cannot connect");
        return;
    }
    link->state = CONNECTING;
    fleet_mqtt_connect(&packet, &link->gate->registration, will, link->gate->broker->keep_alive);
    put(link, &packet);
    fleet_loop_watch(link->loop, link->fd, &link->watch, EPOLLIN | EPOLLOUT);
    set_timer(link, sim_loop_now() + link->gate->broker->keep_alive * 500u);
}

bool sim_link_status(struct sim_link *link, const char *text)
{
    struct fleet_packet packet;
    if (link->state != UP) {
        return false;
    }
    link->status_id = next_id(link);
    fleet_mqtt_publish(&packet, link->gate->registration.status_topic, text, link->status_id);
    return put(link, &packet);
}

bool sim_link_log(struct sim_link *link, const char *text)
{
    struct fleet_packet packet;
    if (link->state != UP) {
        return false;
    }
    fleet_mqtt_publish(&packet, link->gate->registration.logs_topic, text, 0);
    return put(link, &packet);
}

/* --- the gate --- */

void fleet_gate_close(struct fleet_gate *gate)
{
    gate->closed = true;
    if (gate->link && gate->link->fd >= 0) {
        fail(gate->link, "out of reach");
    }
}

void fleet_gate_open(struct fleet_gate *gate)
{
    gate->closed = false;
}

bool fleet_gate_online(const struct fleet_gate *gate)
{
    return gate->link && gate->link->state == UP;
}
