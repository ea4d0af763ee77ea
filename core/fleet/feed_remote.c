/* Other instances, by Redis: what is published there is lost where nobody is, and never waited for.
 *
 * Each instance says on one channel which topics it listens to, as FEED_BUCKETS bits, whenever that changes
 * and each second; who was not heard for LIFE listens to nothing. An event goes to the channel of each
 * instance whose bits want it, gathered for GATHER ms. Worker 0 hears what others say and tells the other
 * workers of their bits by letter.
 *
 * Channels are Redis's, whatever the number of a database: their names begin with a hash of the
 * installation's secret, so that another one on the same Redis is not taken for ours.
 *
 * On the wire: 16 bytes of the sender's id and then nothing or the bits; events one after the other as topic
 * (8 bytes), how many were lost before it (4), length (4, 0: none), and the payload; numbers as the
 * processor has them, for all instances run the same program. */
#include "base/buffer.h"
#include "base/mem.h"
#include "fleet/feed_private.h"
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    ID = 16,
    BITS = FEED_BUCKETS / 8,
    INSTANCES = 32,
    EVERY = 1000,             /* ms */
    SOON = 10,                /* ms; changes of interest in one message */
    LIFE = 3500,              /* ms */
    GATHER = 10,              /* ms */
    MOST_BYTES = 1024 * 1024, /* gathered for an instance */
    MOST_ASKED = 4,           /* PUBLISH commands not answered yet */
    LONGEST = 1024 * 1024,    /* payload of an event */
    REALM = 8,
    CHANNEL = 64
};

struct peer {
    unsigned char id[ID];
    unsigned char bits[BITS];
    uint64_t until; /* ms */
};

struct peers {
    size_t count;
    struct peer list[INSTANCES];
};

struct head {
    uint64_t topic;
    uint32_t lost, len;
};

struct feed_remote {
    struct feed *feed;
    struct peers *peers; /* as worker 0 last said */
    struct buffer out[INSTANCES];
    uint32_t lost[INSTANCES]; /* events of `lost_topic` that found no room */
    uint64_t lost_topic[INSTANCES];
    struct timer flush;
    unsigned asked;
    char channel[CHANNEL]; /* of all */
    /* Worker 0 alone. */
    unsigned char id[ID];
    struct redis *listener;
    struct timer announce;
    struct peers known;
};

/* Whoever the letter finds gone has ended with everything else. */
struct told {
    struct letter letter;
    struct feed_shared *shared;
    struct peers peers;
};

static void put_id(char out[2 * ID + 1], const unsigned char id[ID])
{
    sodium_bin2hex(out, 2 * ID + 1, id, ID);
}

/* Sending. */

static void on_published(void *arg, const char *err, const redisReply *reply)
{
    ((struct feed_remote *)arg)->asked--;
}

static void publish(struct feed_remote *remote, const char *channel, const void *data, size_t len)
{
    const char *const args[] = {"PUBLISH", channel, data};
    const size_t lengths[] = {7, strlen(channel), len};
    remote->asked++;
    redis_command(remote->feed->options.redis, 3, args, lengths, on_published, remote);
}

static void put_head(struct feed_remote *remote, size_t peer, uint64_t topic, uint32_t len)
{
    bool lost = remote->lost_topic[peer] == topic;
    struct head head = {topic, lost ? remote->lost[peer] : 0, len};
    buffer_put(&remote->out[peer], &head, sizeof(head));
    if (lost)
        remote->lost[peer] = 0;
}

static void on_flush(struct timer *timer)
{
    struct feed_remote *remote = H2O_STRUCT_FROM_MEMBER(struct feed_remote, flush, timer);
    bool left = false;
    for (size_t i = 0; i < remote->peers->count; i++) {
        char channel[CHANNEL + 2 * ID + 2], id[2 * ID + 1];
        if (remote->out[i].len == 0)
            continue;
        if (!redis_ready(remote->feed->options.redis)) {
            remote->out[i].len = 0;
            continue;
        }
        if (remote->asked >= MOST_ASKED) {
            left = true;
            continue;
        }
        put_id(id, remote->peers->list[i].id);
        snprintf(channel, sizeof(channel), "%s:%s", remote->channel, id);
        publish(remote, channel, remote->out[i].data, remote->out[i].len);
        remote->out[i].len = 0;
    }
    if (left)
        timer_set(remote->feed->options.worker->timers, timer, GATHER);
}

static bool has(const struct peer *peer, unsigned bucket)
{
    return peer->bits[bucket / 8] >> bucket % 8 & 1;
}

bool feed_remote_wants(const struct feed_remote *remote, uint64_t topic)
{
    unsigned bucket = feed_bucket(topic);
    for (size_t i = 0; remote != NULL && i < remote->peers->count; i++) {
        if (has(&remote->peers->list[i], bucket))
            return true;
    }
    return false;
}

bool feed_remote_any(const struct feed_remote *remote)
{
    return remote != NULL && remote->peers->count != 0;
}

void feed_remote_send(struct feed_remote *remote, uint64_t topic, const struct feed_text *text)
{
    unsigned bucket = feed_bucket(topic);
    for (size_t i = 0; remote != NULL && i < remote->peers->count; i++) {
        if (!has(&remote->peers->list[i], bucket))
            continue;
        if (remote->out[i].len + text->len > MOST_BYTES) {
            remote->lost[i] = remote->lost_topic[i] == topic ? remote->lost[i] + 1 : 1;
            remote->lost_topic[i] = topic;
            remote->feed->dropped->value++;
            continue;
        }
        put_head(remote, i, topic, text->len - text->head);
        buffer_put(&remote->out[i], text->bytes + text->head, text->len - text->head);
        if (remote->flush.slot == 0)
            timer_set(remote->feed->options.worker->timers, &remote->flush, GATHER);
    }
}

/* Who wants what. */

static void on_told(struct letter *letter, struct worker *worker)
{
    struct told *told = H2O_STRUCT_FROM_MEMBER(struct told, letter, letter);
    struct feed *feed = told->shared->hubs[worker->index];
    if (feed != NULL && feed->remote != NULL) {
        struct feed_remote *remote = feed->remote;
        for (size_t i = 0; i < INSTANCES; i++) /* places move: what was gathered goes astray */
            remote->out[i].len = i < told->peers.count && i < remote->peers->count &&
                                         memcmp(told->peers.list[i].id, remote->peers->list[i].id, ID) == 0
                                     ? remote->out[i].len
                                     : 0;
        *remote->peers = told->peers;
    }
    free(told);
}

static void tell_all(struct feed_remote *remote)
{
    struct feed_shared *shared = remote->feed->shared;
    for (unsigned i = 0; i < shared->count; i++) {
        struct told *told = x_new(struct told);
        told->letter.deliver = on_told;
        told->shared = shared;
        told->peers = remote->known;
        worker_post(shared->workers[i], &told->letter);
    }
}

static void announce(struct feed_remote *remote)
{
    struct feed_shared *shared = remote->feed->shared;
    unsigned char message[ID + BITS] = {0};
    bool any = false;
    memcpy(message, remote->id, ID);
    for (unsigned i = 0; i < FEED_BUCKETS; i++) {
        if (atomic_load_explicit(&shared->listeners[i], memory_order_relaxed) != 0) {
            message[ID + i / 8] = (unsigned char)(message[ID + i / 8] | 1 << i % 8);
            any = true;
        }
    }
    if (remote->asked < MOST_ASKED)
        publish(remote, remote->channel, message, any ? sizeof(message) : ID);
}

static void forget_silent(struct feed_remote *remote)
{
    uint64_t now = clock_ms();
    size_t kept = 0;
    for (size_t i = 0; i < remote->known.count; i++) {
        if (remote->known.list[i].until > now)
            remote->known.list[kept++] = remote->known.list[i];
    }
    if (kept != remote->known.count) {
        remote->known.count = kept;
        tell_all(remote);
    }
}

static void on_announce(struct timer *timer)
{
    struct feed_remote *remote = H2O_STRUCT_FROM_MEMBER(struct feed_remote, announce, timer);
    atomic_store(&remote->feed->shared->poked, false);
    forget_silent(remote);
    announce(remote);
    timer_set(remote->feed->options.worker->timers, timer, EVERY);
}

static void on_poke(struct letter *letter, struct worker *worker)
{
    struct feed_shared *shared = H2O_STRUCT_FROM_MEMBER(struct feed_shared, poke, letter);
    struct feed *feed = shared->hubs[0];
    if (feed != NULL && feed->remote != NULL)
        timer_set(worker->timers, &feed->remote->announce, SOON);
    else
        atomic_store(&shared->poked, false);
}

void feed_remote_changed(struct feed_shared *shared)
{
    shared->poke.deliver = on_poke;
    if (!atomic_exchange(&shared->poked, true))
        worker_post(shared->workers[0], &shared->poke);
}

/* An instance of which nothing is wanted has no place in the list. */
static void on_wants(struct feed_remote *remote, const unsigned char *message, size_t len)
{
    struct peers *known = &remote->known;
    size_t i = 0;
    if ((len != ID && len != ID + BITS) || memcmp(message, remote->id, ID) == 0)
        return;
    while (i < known->count && memcmp(known->list[i].id, message, ID) != 0)
        i++;
    if (len == ID) {
        if (i < known->count)
            known->list[i].until = 0;
        forget_silent(remote);
        return;
    }
    if (i == INSTANCES)
        return;
    struct peer *peer = &known->list[i];
    bool changed = i == known->count || memcmp(peer->bits, message + ID, BITS) != 0;
    known->count += i == known->count;
    memcpy(peer->id, message, ID);
    memcpy(peer->bits, message + ID, BITS);
    peer->until = clock_ms() + LIFE;
    if (changed)
        tell_all(remote);
}

/* What comes of other instances. */

static void on_events(struct feed *feed, const char *data, size_t len)
{
    struct head head;
    while (len >= sizeof(head)) {
        memcpy(&head, data, sizeof(head));
        data += sizeof(head);
        len -= sizeof(head);
        if (head.len > len || head.len > LONGEST)
            return;
        struct feed_text *text = head.len == 0 ? NULL : feed_text_frame(data, head.len);
        feed_deliver(feed, head.topic, text, head.lost);
        if (text != NULL)
            feed_text_release(text);
        data += head.len;
        len -= head.len;
    }
}

static void on_message(void *arg, const char *channel, const char *data, size_t len)
{
    struct feed_remote *remote = arg;
    if (strcmp(channel, remote->channel) == 0)
        on_wants(remote, (const unsigned char *)data, len);
    else
        on_events(remote->feed, data, len);
}

struct feed_remote *feed_remote_new(struct feed *feed)
{
    static const char label[] = "otad feed";
    unsigned char hash[crypto_auth_hmacsha256_BYTES];
    char realm[2 * REALM + 1];
    struct feed_remote *remote = x_new(struct feed_remote);
    crypto_auth_hmacsha256(hash, (const unsigned char *)label, sizeof(label) - 1, feed->options.secret);
    sodium_bin2hex(realm, sizeof(realm), hash, REALM);
    snprintf(remote->channel, sizeof(remote->channel), "otad:feed:%s", realm);
    remote->feed = feed;
    remote->peers = x_new(struct peers);
    remote->flush.fire = on_flush;
    remote->announce.fire = on_announce;
    if (feed->index == 0) {
        char id[2 * ID + 1];
        randombytes_buf(remote->id, ID);
        put_id(id, remote->id);
        char *channels = x_printf("%s %s:%s", remote->channel, remote->channel, id);
        remote->listener =
            redis_listen(feed->options.worker, feed->options.redis_url, channels, on_message, remote);
        free(channels);
        timer_set(feed->options.worker->timers, &remote->announce, 0);
    }
    return remote;
}

/* Without peers nothing is sent. */
void feed_remote_leave(struct feed_remote *remote)
{
    struct timers *timers = remote->feed->options.worker->timers;
    remote->peers->count = 0;
    timer_cancel(timers, &remote->flush);
    timer_cancel(timers, &remote->announce);
}

void feed_remote_free(struct feed_remote *remote)
{
    feed_remote_leave(remote);
    if (remote->listener != NULL)
        redis_free(remote->listener);
    for (size_t i = 0; i < INSTANCES; i++)
        buffer_free(&remote->out[i]);
    free(remote->peers);
    free(remote);
}
