/* Connections of a hub: what each listens to, and when it is written to.
 *
 * Those with something to read wait in a row. Writing goes on for SLICE, then rests for REST times as long,
 * so that however many listen, the worker has most of its time for others. */
#include "base/buffer.h"
#include "base/mem.h"
#include "fleet/feed_private.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    MOST_TOPICS = 200,
    MOST_BYTES = 16 * 1024, /* of one write, less the last event */
    SWEEP = 1000,           /* ms */
    SLICE = 1000,           /* us */
    REST = 4
};

struct feed_client {
    struct feed *feed;
    struct websocket *socket;
    struct feed_account account;
    h2o_linklist_t of_feed, ready;
    h2o_linklist_t subscriptions, pending;
    size_t count; /* names: `fleet` may be two topics */
    bool closing;
    void *asking; /* on_text's; NULL: nothing is asked */
    unsigned in_flight;
    struct feed_text *flight[FEED_FRAMES]; /* being written */
    uint64_t dropped;
    char notice[96]; /* and this */
};

static uint64_t microseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void leave_row(struct feed_client *client)
{
    if (h2o_linklist_is_linked(&client->ready))
        h2o_linklist_unlink(&client->ready);
}

/* Writing. */

static struct feed_item *next_item(struct feed_client *client, struct feed_subscription **of)
{
    struct feed_item *best = NULL;
    h2o_linklist_t *at = client->pending.next;
    while (at != &client->pending) {
        struct feed_subscription *subscription =
            H2O_STRUCT_FROM_MEMBER(struct feed_subscription, pending, at);
        at = at->next; /* it may leave the list */
        struct feed_item *item = feed_topic_peek(client->feed, subscription);
        if (item != NULL && (best == NULL || item->order < best->order)) {
            best = item;
            *of = subscription;
        }
    }
    return best;
}

static size_t put_notice(struct feed_client *client)
{
    char payload[80];
    int len = snprintf(payload, sizeof(payload), "{\"event\":\"dropped\",\"data\":{\"count\":%llu}}",
                       (unsigned long long)client->dropped);
    size_t head = websocket_head(WEBSOCKET_TEXT, (size_t)len, client->notice);
    memcpy(client->notice + head, payload, (size_t)len);
    client->feed->dropped->value += (double)client->dropped;
    client->dropped = 0;
    return head + (size_t)len;
}

static void write_some(struct feed_client *client)
{
    h2o_iovec_t frames[FEED_FRAMES + 1];
    struct feed_subscription *subscription;
    struct feed_item *item;
    size_t bytes = 0, count = 0;
    while (count < FEED_FRAMES && bytes < MOST_BYTES && (item = next_item(client, &subscription)) != NULL) {
        struct feed_text *text = item->text;
        client->dropped += item->total - 1 - subscription->total;
        atomic_fetch_add_explicit(&text->refs, 1, memory_order_relaxed);
        client->flight[count++] = text;
        frames[count] = h2o_iovec_init(text->bytes, text->len);
        bytes += text->len;
        feed_topic_advance(client->feed, subscription);
    }
    client->in_flight = (unsigned)count;
    if (count == 0)
        return;
    bool lost = client->dropped != 0;
    if (lost)
        frames[0] = h2o_iovec_init(client->notice, put_notice(client));
    websocket_write(client->socket, frames + !lost, count + lost);
}

static void release_flight(struct feed_client *client)
{
    while (client->in_flight > 0)
        feed_text_release(client->flight[--client->in_flight]);
}

static void on_serve(struct timer *timer)
{
    struct feed *feed = H2O_STRUCT_FROM_MEMBER(struct feed, serve, timer);
    uint64_t began = microseconds(), spent = 0;
    while (!h2o_linklist_is_empty(&feed->ready) && spent < SLICE) {
        struct feed_client *client = H2O_STRUCT_FROM_MEMBER(struct feed_client, ready, feed->ready.next);
        h2o_linklist_unlink(&client->ready);
        if (websocket_writable(client->socket))
            write_some(client);
        spent = microseconds() - began;
    }
    uint64_t rest = spent * REST / 1000;
    feed->rest = clock_ms() + rest;
    if (!h2o_linklist_is_empty(&feed->ready))
        timer_set(feed->options.worker->timers, timer, rest);
}

static void make_ready(struct feed_client *client)
{
    struct feed *feed = client->feed;
    if (client->closing || h2o_linklist_is_linked(&client->ready) || !websocket_writable(client->socket))
        return;
    h2o_linklist_insert(&feed->ready, &client->ready);
    if (feed->serve.slot == 0) {
        uint64_t now = clock_ms();
        timer_set(feed->options.worker->timers, &feed->serve, feed->rest > now ? feed->rest - now : 0);
    }
}

void feed_client_ready(struct feed_client *client, struct feed_subscription *subscription)
{
    h2o_linklist_insert(&client->pending, &subscription->pending);
    make_ready(client);
}

static void on_writable(void *arg)
{
    struct feed_client *client = arg;
    release_flight(client);
    if (!h2o_linklist_is_empty(&client->pending))
        make_ready(client);
}

/* Coming and going. */

static void unsubscribe(struct feed_client *client, struct feed_subscription *subscription)
{
    feed_topic_leave(client->feed, subscription);
    h2o_linklist_unlink(&subscription->of_client);
    free(subscription);
}

static void close_client(struct feed_client *client, enum websocket_status status)
{
    client->closing = true;
    leave_row(client);
    while (!h2o_linklist_is_empty(&client->subscriptions))
        unsubscribe(client,
                    H2O_STRUCT_FROM_MEMBER(struct feed_subscription, of_client, client->subscriptions.next));
    websocket_close(client->socket, status);
}

static void count_out(struct feed *feed, int32_t account)
{
    atomic_fetch_sub(&feed->shared->clients, 1);
    atomic_fetch_sub(&feed->shared->accounts[(uint32_t)account % FEED_ACCOUNTS], 1);
}

static void on_closed(void *arg)
{
    struct feed_client *client = arg;
    struct feed *feed = client->feed;
    release_flight(client);
    leave_row(client);
    while (!h2o_linklist_is_empty(&client->subscriptions))
        unsubscribe(client,
                    H2O_STRUCT_FROM_MEMBER(struct feed_subscription, of_client, client->subscriptions.next));
    h2o_linklist_unlink(&client->of_feed);
    feed->client_count--;
    feed->connections->value = (double)feed->client_count;
    count_out(feed, client->account.id);
    if (client->asking != NULL)
        feed->options.on_gone(client->asking);
    free(client);
}

static void on_text(void *arg, const char *text, size_t len)
{
    struct feed_client *client = arg;
    client->feed->options.on_text(client->feed->options.arg, client, text, len, &client->asking);
}

static const struct websocket_hooks hooks = {on_text, on_writable, on_closed};

/* Limits are of the process: a place is taken first, and given back where it is one too many. */
static bool count_in(struct feed *feed, int32_t account)
{
    struct feed_shared *shared = feed->shared;
    size_t all = atomic_fetch_add(&shared->clients, 1);
    size_t of_account = atomic_fetch_add(&shared->accounts[(uint32_t)account % FEED_ACCOUNTS], 1);
    if (all < shared->limits.clients && of_account < shared->limits.clients_of_account)
        return true;
    count_out(feed, account);
    return false;
}

void feed_connect(struct feed *feed, struct http_request *request, const struct feed_account *account)
{
    static const struct http_header later = {"retry-after", "10", 2};
    if (feed->stopping) {
        http_problem(request, 503, "The server is stopping.", "", NULL, 0);
        return;
    }
    if (!count_in(feed, account->id)) {
        http_problem(request, 429, "Too many connections of the live feed are open.", "", &later, 1);
        return;
    }
    struct feed_client *client = x_new(struct feed_client);
    client->socket =
        websocket_accept(request, feed->options.worker, feed->shared->limits.origins, &hooks, client);
    if (client->socket == NULL) {
        count_out(feed, account->id);
        free(client);
        return;
    }
    client->feed = feed;
    client->account = *account;
    h2o_linklist_init_anchor(&client->subscriptions);
    h2o_linklist_init_anchor(&client->pending);
    h2o_linklist_insert(&feed->clients, &client->of_feed);
    feed->connections->value = (double)++feed->client_count;
}

static struct feed_client *client_at(h2o_linklist_t *link)
{
    return H2O_STRUCT_FROM_MEMBER(struct feed_client, of_feed, link);
}

void feed_revoke(struct feed *feed, const char *sid)
{
    for (h2o_linklist_t *at = feed->clients.next; at != &feed->clients; at = at->next) {
        if (strcmp(client_at(at)->account.sid, sid) == 0)
            close_client(client_at(at), WEBSOCKET_POLICY);
    }
}

static void on_sweep(struct timer *timer)
{
    struct feed *feed = H2O_STRUCT_FROM_MEMBER(struct feed, sweep, timer);
    double now = clock_unix();
    for (h2o_linklist_t *at = feed->clients.next; at != &feed->clients; at = at->next) {
        if ((double)client_at(at)->account.expires <= now)
            close_client(client_at(at), WEBSOCKET_POLICY);
    }
    timer_set(feed->options.worker->timers, timer, SWEEP);
}

void feed_stop(struct feed *feed)
{
    feed->stopping = true;
    for (h2o_linklist_t *at = feed->clients.next; at != &feed->clients; at = at->next)
        close_client(client_at(at), WEBSOCKET_AWAY);
}

void feed_client_init(struct feed *feed)
{
    h2o_linklist_init_anchor(&feed->clients);
    h2o_linklist_init_anchor(&feed->ready);
    feed->serve.fire = on_serve;
    feed->sweep.fire = on_sweep;
    timer_set(feed->options.worker->timers, &feed->sweep, SWEEP);
}

/* What they ask for. */

const struct feed_account *feed_client_account(const struct feed_client *client)
{
    return &client->account;
}

/* How many topics of ours that name is; 0: none. */
static size_t read_name(const struct feed_account *account, const char *name, size_t len, uint64_t topics[2])
{
    topics[0] = feed_topic_read(name, len);
    topics[1] = FEED_TOPIC(FEED_FLEET, 1);
    if (topics[0] == FEED_TOPIC(FEED_DEVICES, 0) && !account->operator)
        topics[0] = FEED_TOPIC(FEED_DEVICES, account->id);
    return topics[0] == 0 ? 0 : topics[0] == FEED_TOPIC(FEED_FLEET, 0) && account->operator? 2 : 1;
}

static struct feed_subscription *find(struct feed_client *client, uint64_t topic)
{
    for (h2o_linklist_t *at = client->subscriptions.next; at != &client->subscriptions; at = at->next) {
        struct feed_subscription *subscription =
            H2O_STRUCT_FROM_MEMBER(struct feed_subscription, of_client, at);
        if (subscription->topic->name == topic)
            return subscription;
    }
    return NULL;
}

bool feed_subscribe(struct feed_client *client, const char *name, size_t len)
{
    struct feed *feed = client->feed;
    uint64_t topics[2];
    size_t count = read_name(&client->account, name, len, topics);
    if (count == 0 || client->closing)
        return false;
    if (find(client, topics[0]) != NULL)
        return true;
    if (client->count == MOST_TOPICS)
        return false;
    client->count++;
    for (size_t i = 0; i < count; i++) {
        struct feed_subscription *subscription = x_new(struct feed_subscription);
        subscription->client = client;
        h2o_linklist_insert(&client->subscriptions, &subscription->of_client);
        feed_topic_join(feed, feed_topic_find(feed, topics[i], true), subscription);
    }
    if (count == 2 && feed->counts != NULL)
        websocket_say(client->socket, feed->counts->bytes + feed->counts->head,
                      feed->counts->len - feed->counts->head);
    return true;
}

bool feed_unsubscribe(struct feed_client *client, const char *name, size_t len)
{
    uint64_t topics[2];
    size_t count = read_name(&client->account, name, len, topics);
    for (size_t i = 0; i < count; i++) {
        struct feed_subscription *subscription = find(client, topics[i]);
        client->count -= subscription != NULL && i == 0;
        if (subscription != NULL)
            unsubscribe(client, subscription);
    }
    return count != 0;
}

void feed_complain(struct feed_client *client, const char *topic, size_t len, const char *detail)
{
    struct buffer out = {0};
    buffer_puts(&out, "{\"event\":\"error\",\"data\":{\"topic\":");
    if (topic == NULL)
        buffer_puts(&out, "null");
    else
        buffer_put_json(&out, topic, len);
    buffer_puts(&out, ",\"detail\":");
    buffer_put_json(&out, detail, strlen(detail));
    buffer_puts(&out, "}}");
    websocket_say(client->socket, out.data, out.len);
    buffer_free(&out);
}

void feed_done(struct feed_client *client, int64_t id)
{
    char text[64];
    int len = snprintf(text, sizeof(text), "{\"event\":\"done\",\"data\":{\"id\":%lld}}", (long long)id);
    websocket_say(client->socket, text, (size_t)len);
}

void feed_answered(struct feed_client *client)
{
    client->asking = NULL;
    websocket_resume(client->socket);
}
