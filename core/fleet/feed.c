/* Topics and what is published to them. */
#include "base/mem.h"
#include "fleet/feed_private.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    MOST_WAITING = 2 * 1024 * 1024, /* bytes of letters to one hub */
    PARCEL_ROOM = 64,
    SMALL = 512 /* a queue this long keeps its ring when it empties */
};

const char *const feed_events[] = {"status", "log", "update", "rollout", "decision", "firmware", NULL};

/* Texts. */

struct feed_text *feed_text_frame(const char *payload, size_t len)
{
    char head[WEBSOCKET_HEAD];
    size_t head_len = websocket_head(WEBSOCKET_TEXT, len, head);
    struct feed_text *text = x_alloc(sizeof(*text) + head_len + len);
    atomic_init(&text->refs, 1);
    text->head = (uint16_t)head_len;
    text->len = (uint32_t)(head_len + len);
    memcpy(text->bytes, head, head_len);
    memcpy(text->bytes + head_len, payload, len);
    return text;
}

static struct feed_text *hold(struct feed_text *text)
{
    atomic_fetch_add_explicit(&text->refs, 1, memory_order_relaxed);
    return text;
}

void feed_text_release(struct feed_text *text)
{
    if (atomic_fetch_sub_explicit(&text->refs, 1, memory_order_acq_rel) == 1)
        free(text);
}

/* Queues. */

static size_t size_of(const struct feed_text *text)
{
    return sizeof(struct feed_item) + sizeof(*text) + text->len;
}

static void drop_oldest(struct feed *feed, struct feed_topic *topic)
{
    struct feed_item *item = topic->ring[topic->first % topic->room];
    topic->first++;
    topic->count--;
    feed->bytes -= size_of(item->text);
    h2o_linklist_unlink(&item->age);
    feed_text_release(item->text);
    free(item);
}

static void make_room(struct feed_topic *topic)
{
    if (topic->count < topic->room)
        return;
    size_t room = topic->room == 0 ? 4 : topic->room * 2;
    struct feed_item **ring = x_alloc(room * sizeof(struct feed_item *));
    for (size_t i = 0; i < topic->count; i++)
        ring[(topic->first + i) % room] = topic->ring[(topic->first + i) % topic->room];
    free(topic->ring);
    topic->ring = ring;
    topic->room = room;
}

static void append(struct feed *feed, struct feed_topic *topic, struct feed_text *text)
{
    struct feed_item *item = x_new(struct feed_item);
    if (topic->count == FEED_ITEMS)
        drop_oldest(feed, topic);
    make_room(topic);
    *item = (struct feed_item){.topic = topic,
                               .text = hold(text),
                               .order = feed->order++,
                               .total = ++topic->total};
    h2o_linklist_insert(&feed->items, &item->age);
    topic->ring[(topic->first + topic->count++) % topic->room] = item;
    feed->bytes += size_of(text);
    while (feed->bytes > feed->shared->limits.memory / feed->shared->count) {
        struct feed_item *oldest = H2O_STRUCT_FROM_MEMBER(struct feed_item, age, feed->items.next);
        drop_oldest(feed, oldest->topic);
    }
    while (!h2o_linklist_is_empty(&topic->idle)) {
        struct feed_subscription *subscription =
            H2O_STRUCT_FROM_MEMBER(struct feed_subscription, idle, topic->idle.next);
        h2o_linklist_unlink(&subscription->idle);
        topic->behind++;
        feed_client_ready(subscription->client, subscription);
    }
}

static void forget_all(struct feed *feed, struct feed_topic *topic)
{
    while (topic->count > 0)
        drop_oldest(feed, topic);
    if (topic->room > SMALL) {
        free(topic->ring);
        topic->ring = NULL;
        topic->room = 0;
    }
}

static void caught_up(struct feed *feed, struct feed_subscription *subscription)
{
    struct feed_topic *topic = subscription->topic;
    h2o_linklist_unlink(&subscription->pending);
    h2o_linklist_insert(&topic->idle, &subscription->idle);
    if (--topic->behind == 0)
        forget_all(feed, topic);
}

struct feed_item *feed_topic_peek(struct feed *feed, struct feed_subscription *subscription)
{
    struct feed_topic *topic = subscription->topic;
    if (subscription->place < topic->first)
        subscription->place = topic->first;
    if (subscription->place < topic->first + topic->count)
        return topic->ring[subscription->place % topic->room];
    caught_up(feed, subscription); /* what was left of it went to make room */
    return NULL;
}

void feed_topic_advance(struct feed *feed, struct feed_subscription *subscription)
{
    struct feed_topic *topic = subscription->topic;
    subscription->total = topic->ring[subscription->place % topic->room]->total;
    if (++subscription->place == topic->first + topic->count)
        caught_up(feed, subscription);
}

/* Topics. */

struct feed_topic *feed_topic_find(struct feed *feed, uint64_t name, bool make)
{
    unsigned bucket = feed_bucket(name);
    struct feed_topic *topic = feed->topics[bucket];
    while (topic != NULL && topic->name != name)
        topic = topic->next;
    if (topic != NULL || !make)
        return topic;
    topic = x_new(struct feed_topic);
    topic->name = name;
    topic->next = feed->topics[bucket];
    feed->topics[bucket] = topic;
    h2o_linklist_init_anchor(&topic->idle);
    atomic_fetch_add(&feed->shared->topics, 1);
    if (feed->listened[bucket]++ == 0) {
        atomic_fetch_or(&feed->shared->listeners[bucket], UINT64_C(1) << feed->index);
        feed_remote_changed(feed->shared);
    }
    return topic;
}

void feed_topic_join(struct feed *feed, struct feed_topic *topic, struct feed_subscription *subscription)
{
    subscription->topic = topic;
    subscription->place = topic->first + topic->count;
    subscription->total = topic->total;
    topic->listeners++;
    h2o_linklist_insert(&topic->idle, &subscription->idle);
}

void feed_topic_leave(struct feed *feed, struct feed_subscription *subscription)
{
    struct feed_topic *topic = subscription->topic, **at;
    unsigned bucket = feed_bucket(topic->name);
    if (h2o_linklist_is_linked(&subscription->pending))
        caught_up(feed, subscription);
    h2o_linklist_unlink(&subscription->idle);
    if (--topic->listeners > 0)
        return;
    if (topic->name == FEED_TOPIC(FEED_FLEET, 1) && feed->counts != NULL) {
        feed_text_release(feed->counts);
        feed->counts = NULL;
    }
    for (at = &feed->topics[bucket]; *at != topic; at = &(*at)->next)
        ;
    *at = topic->next;
    free(topic->ring);
    free(topic);
    atomic_fetch_sub(&feed->shared->topics, 1);
    if (--feed->listened[bucket] == 0) {
        atomic_fetch_and(&feed->shared->listeners[bucket], ~(UINT64_C(1) << feed->index));
        feed_remote_changed(feed->shared);
    }
}

/* Counts come each second; listeners want to know what changed. */
static bool is_news(struct feed *feed, struct feed_text *text)
{
    static const char before[] =
        "{\"topic\":\"fleet\",\"event\":\"status\",\"at\":\"2026-01-02T03:04:05.678Z\"";
    struct feed_text *last = feed->counts;
    size_t skip = text->head + sizeof(before) - 1;
    bool same = last != NULL && last->len == text->len && text->len > skip &&
                memcmp(last->bytes + skip, text->bytes + skip, text->len - skip) == 0;
    if (last != NULL)
        feed_text_release(last);
    feed->counts = hold(text);
    return !same;
}

static void take(struct feed *feed, uint64_t name, struct feed_text *text, unsigned lost)
{
    struct feed_topic *topic = feed_topic_find(feed, name, false);
    if (topic == NULL)
        return;
    topic->total += lost;
    if (text == NULL)
        return;
    if (name != FEED_TOPIC(FEED_FLEET, 1) || is_news(feed, text))
        append(feed, topic, text);
}

/* Letters between hubs. */

struct parcel {
    struct letter letter;
    struct feed_shared *shared;
    size_t count, room, bytes;
    struct parcel_item {
        uint64_t topic;
        struct feed_text *text; /* NULL: lost */
        unsigned lost;
    } * items;
};

static void on_parcel(struct letter *letter, struct worker *worker)
{
    struct parcel *parcel = H2O_STRUCT_FROM_MEMBER(struct parcel, letter, letter);
    struct feed *feed = parcel->shared->hubs[worker->index];
    atomic_fetch_sub(&parcel->shared->waiting[worker->index], parcel->bytes);
    for (size_t i = 0; i < parcel->count; i++) {
        struct parcel_item *item = &parcel->items[i];
        if (feed != NULL)
            take(feed, item->topic, item->text, item->lost);
        if (item->text != NULL)
            feed_text_release(item->text);
    }
    free(parcel->items);
    free(parcel);
}

static void on_post(struct timer *timer)
{
    struct feed *feed = H2O_STRUCT_FROM_MEMBER(struct feed, post, timer);
    for (unsigned i = 0; i < feed->shared->count; i++) {
        if (feed->out[i] != NULL)
            worker_post(feed->shared->workers[i], &feed->out[i]->letter);
        feed->out[i] = NULL;
    }
}

static void put(struct feed *feed, unsigned hub, uint64_t topic, struct feed_text *text, unsigned lost)
{
    struct parcel *parcel = feed->out[hub];
    if (parcel == NULL) {
        parcel = feed->out[hub] = x_new(struct parcel);
        parcel->letter.deliver = on_parcel;
        parcel->shared = feed->shared;
        if (feed->post.slot == 0)
            timer_set(feed->options.worker->timers, &feed->post, 0);
    }
    size_t size = text == NULL ? 0 : size_of(text);
    if (text != NULL && atomic_load(&feed->shared->waiting[hub]) > MOST_WAITING) {
        text = NULL;
        lost++;
        size = 0;
    }
    struct parcel_item *last = parcel->count == 0 ? NULL : &parcel->items[parcel->count - 1];
    if (text == NULL && last != NULL && last->topic == topic && last->text == NULL) {
        last->lost += lost;
        return;
    }
    if (parcel->count == parcel->room) {
        parcel->room = parcel->room == 0 ? PARCEL_ROOM : parcel->room * 2;
        parcel->items = x_realloc(parcel->items, parcel->room * sizeof(*parcel->items));
    }
    parcel->items[parcel->count++] = (struct parcel_item){topic, text == NULL ? NULL : hold(text), lost};
    parcel->bytes += size;
    atomic_fetch_add(&feed->shared->waiting[hub], size);
}

void feed_deliver(struct feed *feed, uint64_t topic, struct feed_text *text, unsigned lost)
{
    uint64_t hubs = atomic_load_explicit(&feed->shared->listeners[feed_bucket(topic)], memory_order_relaxed);
    for (; hubs != 0; hubs &= hubs - 1) {
        unsigned hub = (unsigned)__builtin_ctzll(hubs);
        if (hub == feed->index)
            take(feed, topic, text, lost);
        else
            put(feed, hub, topic, text, lost);
    }
}

/* Publishing. */

bool feed_wanted(const struct feed *feed, const uint64_t *topics, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (atomic_load_explicit(&feed->shared->listeners[feed_bucket(topics[i])], memory_order_relaxed) !=
                0 ||
            feed_remote_wants(feed->remote, topics[i]))
            return true;
    }
    return false;
}

bool feed_watched(const struct feed *feed)
{
    return atomic_load_explicit(&feed->shared->topics, memory_order_relaxed) != 0 ||
           feed_remote_any(feed->remote);
}

static int put_name(char *out, size_t size, uint64_t topic)
{
    int id = (int)(uint32_t)topic;
    switch (topic >> 32) {
    case FEED_DEVICE:
        return snprintf(out, size, "device:%d", id);
    case FEED_ROLLOUT:
        return snprintf(out, size, "rollout:%d", id);
    case FEED_DEVICES:
        return snprintf(out, size, "devices");
    case FEED_ROLLOUTS:
        return snprintf(out, size, "rollouts");
    default:
        return snprintf(out, size, "fleet");
    }
}

void feed_put_time(struct buffer *out, double at)
{
    char text[40];
    struct tm utc;
    int64_t millis = (int64_t)(at * 1000);
    time_t seconds = (time_t)(millis / 1000);
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", gmtime_r(&seconds, &utc));
    buffer_printf(out, "\"%s.%03dZ\"", text, (int)(millis % 1000));
}

void feed_publish(struct feed *feed, enum feed_event event, const uint64_t *topics, size_t count,
                  const char *data, size_t len)
{
    struct buffer out = {0};
    char name[32];
    double now = clock_unix();
    if (!feed_wanted(feed, topics, count))
        return;
    feed->events[event]->value++;
    for (size_t i = 0; i < count; i++) {
        if (!feed_wanted(feed, &topics[i], 1))
            continue;
        put_name(name, sizeof(name), topics[i]);
        out.len = 0;
        buffer_printf(&out, "{\"topic\":\"%s\",\"event\":\"%s\",\"at\":", name, feed_events[event]);
        feed_put_time(&out, now);
        buffer_puts(&out, ",\"data\":");
        buffer_put(&out, data, len);
        buffer_putc(&out, '}');
        struct feed_text *text = feed_text_frame(out.data, out.len);
        feed_deliver(feed, topics[i], text, 0);
        if (topics[i] != FEED_TOPIC(FEED_FLEET, 1)) /* every instance counts for itself */
            feed_remote_send(feed->remote, topics[i], text);
        feed_text_release(text);
    }
    buffer_free(&out);
}

/* The id behind a prefix; 0: it is none. */
static int32_t read_id(const char *name, size_t len, const char *prefix)
{
    size_t skip = strlen(prefix);
    int64_t id = 0;
    if (len <= skip || len > skip + 10 || memcmp(name, prefix, skip) != 0 || name[skip] == '0')
        return 0;
    for (size_t i = skip; i < len; i++) {
        if (name[i] < '0' || name[i] > '9')
            return 0;
        id = id * 10 + (name[i] - '0');
    }
    return id <= INT32_MAX ? (int32_t)id : 0;
}

uint64_t feed_topic_read(const char *name, size_t len)
{
    int32_t id;
    if ((id = read_id(name, len, "device:")) != 0)
        return FEED_TOPIC(FEED_DEVICE, id);
    if ((id = read_id(name, len, "rollout:")) != 0)
        return FEED_TOPIC(FEED_ROLLOUT, id);
    if (h2o_memis(name, len, H2O_STRLIT("devices")))
        return FEED_TOPIC(FEED_DEVICES, 0);
    if (h2o_memis(name, len, H2O_STRLIT("rollouts")))
        return FEED_TOPIC(FEED_ROLLOUTS, 0);
    return h2o_memis(name, len, H2O_STRLIT("fleet")) ? FEED_TOPIC(FEED_FLEET, 0) : 0;
}

size_t feed_device_topics(int32_t device, int32_t owner, uint64_t topics[3])
{
    topics[0] = FEED_TOPIC(FEED_DEVICE, device);
    topics[1] = FEED_TOPIC(FEED_DEVICES, 0);
    topics[2] = FEED_TOPIC(FEED_DEVICES, owner);
    return owner > 0 ? 3 : 2;
}

/* The whole. */

struct feed_shared *feed_shared_new(const struct feed_limits *limits, struct worker *const *workers,
                                    unsigned count)
{
    struct feed_shared *shared = x_new(struct feed_shared);
    shared->limits = *limits;
    shared->workers = workers;
    shared->count = count;
    return shared;
}

void feed_shared_free(struct feed_shared *shared)
{
    free(shared);
}

struct feed *feed_new(const struct feed_options *options)
{
    struct feed *feed = x_new(struct feed);
    feed->options = *options;
    feed->shared = options->shared;
    feed->index = options->worker->index;
    h2o_linklist_init_anchor(&feed->items);
    feed->post.fire = on_post;
    for (size_t i = 0; feed_events[i] != NULL; i++) {
        char labels[32];
        snprintf(labels, sizeof(labels), "event=\"%s\"", feed_events[i]);
        feed->events[i] = metrics_series(options->metrics, METRICS_COUNTER, "otad_feed_events_total", labels,
                                         "events of the live feed that somebody listened to");
    }
    feed->dropped = metrics_series(options->metrics, METRICS_COUNTER, "otad_feed_dropped_total", "",
                                   "events that a listener of the live feed was too slow for");
    feed->connections = metrics_series(options->metrics, METRICS_GAUGE, "otad_feed_connections", "",
                                       "open connections of the live feed");
    feed_client_init(feed);
    feed->shared->hubs[feed->index] = feed;
    if (options->redis != NULL)
        feed->remote = feed_remote_new(feed);
    return feed;
}

void feed_leave(struct feed *feed)
{
    if (feed->remote != NULL)
        feed_remote_leave(feed->remote);
}

void feed_free(struct feed *feed)
{
    struct timers *timers = feed->options.worker->timers;
    on_post(&feed->post);
    timer_cancel(timers, &feed->post);
    timer_cancel(timers, &feed->serve);
    timer_cancel(timers, &feed->sweep);
    if (feed->remote != NULL)
        feed_remote_free(feed->remote);
    feed->shared->hubs[feed->index] = NULL;
    free(feed);
}
