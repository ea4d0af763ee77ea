/* The live feed: events to those who listen, by topic.
 *
 * Each worker has a hub with the WebSockets that came to it. Who publishes looks at a table that all workers
 * share, one word for a hash of the topic, whose bits say which hubs listen; where none does, and no other
 * instance (fleet/feed_remote), it ends there. Else the event is written once for a topic, and goes by letter
 * to the hubs that want it. A hub keeps it in its topic's queue, which all listeners share: each has a place
 * in it. What is too old, or too much, leaves the queue, whoever has not read it yet; those are told how many
 * they missed. So memory depends on topics and on a limit, not on readers.
 *
 * Everything but feed_shared_* on the hub's worker. Events are never waited for, and nothing here depends on
 * Redis but that events of other instances come. */
#pragma once
#include "base/buffer.h"
#include "base/metrics.h"
#include "io/redis.h"
#include "net/http.h"

struct feed;        /* a worker's hub */
struct feed_shared; /* one a process */
struct feed_client; /* a WebSocket */

enum feed_kind { FEED_DEVICE = 1, FEED_ROLLOUT, FEED_DEVICES, FEED_ROLLOUTS, FEED_FLEET };
/* FEED_DEVICES: `id` is the owner whose devices they are, 0: all devices. FEED_FLEET: 0; 1: what is for
 * operators only. FEED_ROLLOUTS: 0. */
#define FEED_TOPIC(kind, id) ((uint64_t)(kind) << 32 | (uint32_t)(id))

enum feed_event {
    FEED_ON_STATUS,
    FEED_ON_LOG,
    FEED_ON_UPDATE,
    FEED_ON_ROLLOUT,
    FEED_ON_DECISION,
    FEED_ON_FIRMWARE
};
extern const char *const feed_events[]; /* names; NULL behind the last */

struct feed_limits {
    size_t clients, clients_of_account; /* at once */
    size_t memory;                      /* bytes of events that wait, in all hubs together */
    const char *origins;                /* net/websocket.h */
};

struct feed_options {
    struct feed_shared *shared;
    struct worker *worker;
    struct redis *redis; /* the worker's; NULL: there are no other instances */
    const char *redis_url;
    const unsigned char *secret; /* 32 bytes that the instances of this installation share; channels' names */
    struct metrics *metrics;
    /* A message of a client's, valid during the call. Sets *asking; feed_answered() asks for the next. */
    void (*on_text)(void *arg, struct feed_client *client, const char *text, size_t len, void **asking);
    /* The client is gone: no call about it any more. Between on_text and feed_answered() only. */
    void (*on_gone)(void *asking);
    void *arg;
};

struct feed_shared *feed_shared_new(const struct feed_limits *limits, struct worker *const *workers,
                                    unsigned count);
void feed_shared_free(struct feed_shared *shared);

struct feed *feed_new(const struct feed_options *options); /* copies */
/* Before `redis` is freed: says nothing to other instances any more. */
void feed_leave(struct feed *feed);
/* Its clients are gone, or the loop never runs again; after `redis` is freed. */
void feed_free(struct feed *feed);
void feed_stop(struct feed *feed); /* says goodbye to all clients and takes no more */

/* Whether anybody listens to one of these topics; costs a load each. */
bool feed_wanted(const struct feed *feed, const uint64_t *topics, size_t count);
/* Whether anybody listens to anything. */
bool feed_watched(const struct feed *feed);
/* `data` is JSON; copied. One event for each topic: {"topic","event","at","data"}. */
void feed_publish(struct feed *feed, enum feed_event event, const uint64_t *topics, size_t count,
                  const char *data, size_t len);
/* "device:42", "rollout:3", "devices", "rollouts", "fleet"; 0: there is no such topic. */
uint64_t feed_topic_read(const char *name, size_t len);
/* "2026-01-02T03:04:05.678Z", quoted, of Unix seconds. */
void feed_put_time(struct buffer *out, double at);
/* The topics of what happened to a device: its own, and `devices` of its owner (0: not known) and of
 * operators. Returns how many. */
size_t feed_device_topics(int32_t device, int32_t owner, uint64_t topics[3]);

struct feed_account {
    int32_t id;
    bool operator;
    char sid[37];
    int64_t expires; /* Unix s */
};

/* Makes a WebSocket of the request, or answers why not. */
void feed_connect(struct feed *feed, struct http_request *request, const struct feed_account *account);
/* Ends the connections of a session. */
void feed_revoke(struct feed *feed, const char *sid);

const struct feed_account *feed_client_account(const struct feed_client *client);
/* The topic of that name as this client sees it. False: there is no such topic, or (subscribe) the client has
 * too many. Who may have which is for the caller to know. */
bool feed_subscribe(struct feed_client *client, const char *name, size_t len)
    __attribute__((warn_unused_result));
bool feed_unsubscribe(struct feed_client *client, const char *name, size_t len)
    __attribute__((warn_unused_result));
/* {"event":"error"} about a topic (NULL: about the message). */
void feed_complain(struct feed_client *client, const char *topic, size_t len, const char *detail);
/* {"event":"done"}: what the message with that id asked for is in force. */
void feed_done(struct feed_client *client, int64_t id);
void feed_answered(struct feed_client *client); /* perhaps within on_text */
