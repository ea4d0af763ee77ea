/* What feed.c (topics, publishing), feed_client.c (connections) and feed_remote.c (other instances) share. */
#pragma once
#include "fleet/feed.h"
#include "net/websocket.h"
#include <stdatomic.h>

enum {
    FEED_BUCKETS = 4096, /* of hashes of topics */
    FEED_HUBS = 64,
    FEED_ITEMS = 1024, /* most in a topic's queue */
    FEED_FRAMES = 64,  /* most in one write */
    FEED_ACCOUNTS = 65536
};

/* An event of a topic as a frame; shared by hubs and by writes under way. */
struct feed_text {
    atomic_uint refs;
    uint16_t head; /* bytes before the payload */
    uint32_t len;  /* of all */
    char bytes[];
};

struct feed_shared {
    struct feed_limits limits;
    struct worker *const *workers;
    unsigned count;
    struct feed *hubs[FEED_HUBS];                  /* each is its own worker's */
    atomic_uint_least64_t listeners[FEED_BUCKETS]; /* bit: a hub */
    atomic_size_t topics;                          /* of all hubs */
    atomic_size_t waiting[FEED_HUBS];              /* bytes of letters to a hub */
    struct letter poke; /* to worker 0: what this instance listens to has changed */
    atomic_bool poked;  /* it is under way */
    atomic_size_t clients;
    atomic_ushort accounts[FEED_ACCOUNTS]; /* clients of an account, by its id */
};

struct feed_item {
    h2o_linklist_t age; /* in the hub, the oldest first */
    struct feed_topic *topic;
    struct feed_text *text;
    uint64_t order; /* in the hub */
    uint64_t total; /* of the topic, up to this one: gaps are what was lost */
};

struct feed_topic {
    struct feed_topic *next; /* of the bucket */
    uint64_t name;
    struct feed_item **ring; /* [place % room] */
    uint64_t first;          /* place of the oldest */
    size_t room, count;
    uint64_t total;
    unsigned listeners, behind; /* subscriptions; those that have not read all */
    h2o_linklist_t idle;        /* those that have */
};

struct feed_subscription {
    h2o_linklist_t of_client;
    h2o_linklist_t idle, pending; /* in the topic's list, or in the client's */
    struct feed_topic *topic;
    struct feed_client *client;
    uint64_t place, total; /* next to be read; of the last read */
};

struct feed {
    struct feed_options options;
    struct feed_shared *shared;
    unsigned index;
    struct feed_topic *topics[FEED_BUCKETS];
    unsigned listened[FEED_BUCKETS]; /* topics of this hub */
    h2o_linklist_t items;            /* by age */
    size_t bytes;
    uint64_t order;
    struct feed_text *counts; /* the last of FEED_TOPIC(FEED_FLEET, 1), while somebody listens */

    struct parcel *out[FEED_HUBS]; /* letters that go with the next turn */
    struct timer post;

    h2o_linklist_t clients, ready; /* all; those that could be written to */
    size_t client_count;
    struct timer serve, sweep;
    uint64_t rest; /* ms: nothing is written before */
    bool stopping;

    struct feed_remote *remote; /* NULL: none */
    struct metrics_series *events[6], *dropped, *connections;
};

static inline unsigned feed_bucket(uint64_t topic)
{
    return (unsigned)(topic * 0x9e3779b97f4a7c15 >> 52);
}

void feed_text_release(struct feed_text *text);
struct feed_text *feed_text_frame(const char *payload, size_t len);
/* To hubs of this process that listen; holds the text itself. NULL: `lost` events of the topic went astray.
 */
void feed_deliver(struct feed *feed, uint64_t topic, struct feed_text *text, unsigned lost);
/* The topic of that name, made where `make`. */
struct feed_topic *feed_topic_find(struct feed *feed, uint64_t name, bool make);
void feed_topic_join(struct feed *feed, struct feed_topic *topic, struct feed_subscription *subscription);
/* Frees a topic that nobody listens to any more. */
void feed_topic_leave(struct feed *feed, struct feed_subscription *subscription);
/* What comes next there; NULL: all is read, and the subscription idle. */
struct feed_item *feed_topic_peek(struct feed *feed, struct feed_subscription *subscription);
void feed_topic_advance(struct feed *feed, struct feed_subscription *subscription);

/* feed_client.c */
void feed_client_init(struct feed *feed);
void feed_client_ready(struct feed_client *client, struct feed_subscription *subscription);

/* feed_remote.c */
struct feed_remote *feed_remote_new(struct feed *feed);
void feed_remote_leave(struct feed_remote *remote);
void feed_remote_free(struct feed_remote *remote);
void feed_remote_changed(struct feed_shared *shared); /* any hub: what this instance listens to */
bool feed_remote_wants(const struct feed_remote *remote, uint64_t topic);
void feed_remote_send(struct feed_remote *remote, uint64_t topic, const struct feed_text *text);
bool feed_remote_any(const struct feed_remote *remote);
