/* otad's own client of the broker (Paho MQTTAsync, MQTT 5).
 *
 * It keeps one connection, with a clean start and no session, and on it the shared subscriptions
 * $share/otad/device/+/status and .../logs at QoS 1; lost, it is made again with back-off up to 2 s.
 *
 * Messages come on Paho's thread, are copied into one allocation each and handed to the worker that their
 * device belongs to, in order. A worker's messages are counted until mqtt_message_done(); at `queue` of them
 * Paho's thread waits, so that TCP holds the broker back and nothing is lost. While it waits it lets one
 * message through each few seconds: its PUBACK keeps the connection alive through outages of any length.
 *
 * Paho calls back under a lock of the whole process. Workers therefore never call Paho: what they publish is
 * queued here and sent by a thread of this client. */
#pragma once
#include "net/worker.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mqtt;

enum mqtt_kind { MQTT_STATUS, MQTT_LOGS, MQTT_OTHER }; /* MQTT_OTHER: a topic that is no device's */

enum { MQTT_PAYLOAD = 4096 }; /* longer ones come without their payload, with their true length */

/* Owned by the receiving worker until mqtt_message_done(). */
struct mqtt_message {
    struct mqtt *mqtt;
    struct mqtt_message *next; /* the receiver's */
    double at;                 /* arrival, Unix seconds */
    enum mqtt_kind kind;
    int32_t device; /* 0 with MQTT_OTHER */
    unsigned worker;
    size_t len;
    char payload[]; /* NUL-terminated */
};

extern const char mqtt_unavailable[]; /* no connection, or it was lost before the acknowledgement */
extern const char mqtt_busy[];        /* too much waits to be published */
extern const char mqtt_timeout[];
extern const char mqtt_refused[]; /* the broker said no, or Paho did */

struct mqtt_options {
    const char *url; /* mqtt[s]://[user[:password]@]host[:port], user and password with %-escapes */
    const char *username, *password; /* where the URL has none */
    const char *ca;                  /* PEM file for mqtts; "": the system's */
    size_t queue;                    /* messages per worker */
    unsigned workers;
    struct worker **worker;
    void (*on_message)(void *arg, struct worker *worker, struct mqtt_message *message);
    void (*on_connect)(void *arg); /* on worker 0, at each connect, once the subscriptions stand */
    void *arg;
};

/* Starts connecting at once. The texts and the array of workers must outlive the client. NULL and *error
 * (owned by the caller) with an impossible configuration. */
struct mqtt *mqtt_new(const struct mqtt_options *options, char **error) __attribute__((warn_unused_result));

/* Stops taking messages: unsubscribes, takes what the broker had queued for us (3 s at most), gives what is
 * being published 1 s, disconnects. Blocks; from no worker's thread, with the workers still running. Nothing
 * is posted to a worker afterwards; mqtt_publish() fails from then on. */
void mqtt_stop(struct mqtt *mqtt);
void mqtt_free(struct mqtt *mqtt); /* after mqtt_stop(), with the workers joined */

bool mqtt_connected(const struct mqtt *mqtt); /* connected and subscribed; any thread */
/* And the broker answers: each second it is asked something of no consequence. Any thread. */
bool mqtt_ready(const struct mqtt *mqtt);

/* The worker whose a device's messages are. */
unsigned mqtt_worker(int32_t device, unsigned workers);

/* The receiver has no more use for the message: frees it and makes room. On its worker. */
void mqtt_message_done(struct mqtt_message *message);

/* Publishes; copies topic and payload. cb(arg, err) comes exactly once, on `worker`, never inline: err NULL
 * once the broker has acknowledged (QoS 0: once written). What failed may still have reached the broker.
 * Called on `worker`, whose loop must run until the callback has come. cb may be NULL. */
typedef void (*mqtt_cb)(void *arg, const char *err);
void mqtt_publish(struct mqtt *mqtt, struct worker *worker, const char *topic, const void *payload,
                  size_t len, int qos, bool retained, mqtt_cb cb, void *arg);
