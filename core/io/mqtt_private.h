/* What mqtt.c (connection), mqtt_receive.c and mqtt_publish.c share. `lock` guards all that both threads
 * touch; it is never held while Paho is called, because Paho calls back under its own lock and then takes
 * this. */
#pragma once
#include "io/mqtt.h"
#include <MQTTAsync.h>
#include <pthread.h>
#include <stdatomic.h>

enum mqtt_state { MQTT_DOWN, MQTT_CONNECTING, MQTT_SUBSCRIBING, MQTT_UP, MQTT_STOPPED };

struct publication {
    struct letter letter; /* carries the answer; first: deliver casts */
    struct publication *next, **slot;
    struct mqtt *mqtt;
    struct worker *worker;
    mqtt_cb cb;
    void *arg;
    const char *err;
    uint64_t deadline; /* ms, monotonic */
    bool answered;
    atomic_int holders; /* the answer's letter, and Paho once it was sent */
    char *topic;
    size_t len;
    int qos;
    bool retained;
    char payload[];
};

struct publications {
    struct publication *first, **last;
    size_t count;
};

/* Messages for one worker: a stack that Paho's thread pushes to and the worker takes whole. A worker that
 * found messages looks again some ms later, and only one that found none has to be woken: at full rate a
 * letter for each message costs more than the message. */
struct inbox {
    _Atomic(struct mqtt_message *) head; /* NULL: empty, the worker will look; INBOX_ASLEEP: wake it */
    atomic_size_t taken;                 /* messages not yet done with */
    struct letter letter;                /* wakes */
    struct letter last_letter;           /* mqtt_stop(): all that was taken is here */
    struct timer timer;
    struct mqtt *mqtt;
    struct worker *worker;
};
#define INBOX_ASLEEP ((struct mqtt_message *)1)

struct mqtt {
    struct mqtt_options options;
    char *url, *user, *password; /* the URL, taken apart */
    MQTTAsync client;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake; /* the thread: something to do */
    pthread_cond_t room; /* Paho's thread: a worker's queue has room */
    pthread_cond_t done; /* mqtt_stop(): a step is done */
    enum mqtt_state state;
    bool subscribe, abandon; /* for the thread: connected, subscribe; subscriptions refused, give up */
    bool unsubscribed, disconnected, stopping, ended;
    uint64_t since, retry_at; /* ms: of the state; of the next attempt */
    unsigned failures;
    struct publications queued, sent;
    atomic_bool connected, waiting, draining;
    _Atomic uint64_t last_arrival; /* ms */
    _Atomic uint64_t pinged;       /* ms; 0: answered */
    uint64_t ping_at;              /* ms: of the next ping */
    struct letter connect_letter;
    atomic_bool connect_posted;
    struct inbox inbox[]; /* per worker */
};

/* mqtt.c. With the lock held; `at` counts from CLOCK_MONOTONIC. False once it has passed. */
bool mqtt_wait(struct mqtt *mqtt, pthread_cond_t *cond, uint64_t at);

/* mqtt_receive.c */
int mqtt_on_arrived(void *context, char *topic, int topic_len,
                    MQTTAsync_message *arrived); /* Paho's thread */
void mqtt_inboxes_open(struct mqtt *mqtt);
void mqtt_inboxes_close(struct mqtt *mqtt); /* nothing arrives any more: the workers take the rest */

/* mqtt_publish.c. With the lock held. */
void mqtt_publish_fail_all(struct mqtt *mqtt, const char *err);
void mqtt_publish_expire(struct mqtt *mqtt, uint64_t now);
uint64_t mqtt_publish_deadline(const struct mqtt *mqtt); /* UINT64_MAX: none */

/* With the lock held, which it gives up around Paho's part: sends the next queued one. False: none may be. */
bool mqtt_publish_next(struct mqtt *mqtt);
