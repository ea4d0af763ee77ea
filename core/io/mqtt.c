/* The connection, its own reconnecting, and its end.
 *
 * The client's thread owns all calls into Paho but mqtt_stop()'s. Paho's own reconnecting looks only each 3
 * s, so it stays off and this thread connects anew. Each state has a time limit, for Paho tells of some
 * failures late and of a few not at all. */
#include "base/log.h"
#include "base/mem.h"
#include "base/url.h"
#include "io/mqtt_private.h"
#include <errno.h>
#include <limits.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    KEEP_ALIVE = 20,      /* s */
    FIRST_RETRY = 100,    /* ms, doubled each time */
    LAST_RETRY = 2000,    /* ms */
    STATE_LIMIT = 10000,  /* ms to connect, and to subscribe */
    CONNECT_TIMEOUT = 5,  /* s, Paho's */
    DRAIN_QUIET = 150,    /* ms without a message: drained */
    DRAIN_LIMIT = 3000,   /* ms */
    STOP_STEP = 1000,     /* ms for each answer of the broker while stopping */
    PING_INTERVAL = 1000, /* ms */
    HUNG = 2000,          /* ms without an answer to a ping */
    TOPICS = 2
};

static const char *const subscriptions[TOPICS] = {"$share/otad/device/+/status", "$share/otad/device/+/logs"};

bool mqtt_connected(const struct mqtt *mqtt)
{
    return atomic_load(&mqtt->connected);
}

/* While Paho's thread waits for room it takes no answers; and what arrives is as good as one. */
bool mqtt_ready(const struct mqtt *mqtt)
{
    uint64_t pinged = atomic_load(&mqtt->pinged), arrived = atomic_load(&mqtt->last_arrival);
    return mqtt_connected(mqtt) && (pinged == 0 || atomic_load(&mqtt->waiting) ||
                                    clock_ms() < (pinged > arrived ? pinged : arrived) + HUNG);
}

bool mqtt_wait(struct mqtt *mqtt, pthread_cond_t *cond, uint64_t at)
{
    if (at == UINT64_MAX)
        return pthread_cond_wait(cond, &mqtt->lock) == 0;
    struct timespec limit = {(time_t)(at / 1000), (long)(at % 1000) * 1000000};
    return pthread_cond_timedwait(cond, &mqtt->lock, &limit) != ETIMEDOUT;
}

/* With the lock held. */
static void enter(struct mqtt *mqtt, enum mqtt_state state)
{
    mqtt->state = state;
    mqtt->since = clock_ms();
    atomic_store(&mqtt->connected, state == MQTT_UP);
    atomic_store(&mqtt->pinged, 0);
    mqtt->ping_at = mqtt->since + PING_INTERVAL;
    if (state == MQTT_DOWN) {
        unsigned shift = mqtt->failures < 5 ? mqtt->failures : 5;
        uint64_t pause = FIRST_RETRY << shift;
        mqtt->retry_at = mqtt->since + (pause < LAST_RETRY ? pause : LAST_RETRY);
        mqtt->failures++;
        mqtt->subscribe = mqtt->abandon = false;
        mqtt_publish_fail_all(mqtt, mqtt_unavailable);
    }
    pthread_cond_signal(&mqtt->wake);
}

static void fail(struct mqtt *mqtt, const char *why, int code)
{
    pthread_mutex_lock(&mqtt->lock);
    if (mqtt->state != MQTT_DOWN && mqtt->state != MQTT_STOPPED) {
        if (mqtt->failures == 0 || mqtt->failures % 30 == 0)
            log_warn("broker connection failed", LOG_STR("reason", why), LOG_INT("code", code),
                     LOG_INT("attempts", mqtt->failures + 1));
        enter(mqtt, MQTT_DOWN);
    }
    pthread_mutex_unlock(&mqtt->lock);
}

static void on_lost(void *context, char *cause)
{
    fail(context, "connection lost", 0);
}

static void on_connect_failure(void *context, MQTTAsync_failureData5 *data)
{
    /* Paho's own codes are negative; the broker's come in either of the two. */
    int code = data->reasonCode != 0 ? (int)data->reasonCode : data->code;
    const char *why = code > 0 ? MQTTReasonCode_toString((enum MQTTReasonCodes)code) : NULL;
    if (why == NULL)
        why = data->message != NULL ? data->message : "refused";
    fail(context, why, code);
}

static void on_connect(void *context, MQTTAsync_successData5 *data)
{
    struct mqtt *mqtt = context;
    pthread_mutex_lock(&mqtt->lock);
    if (mqtt->state == MQTT_CONNECTING) {
        mqtt->subscribe = true;
        enter(mqtt, MQTT_SUBSCRIBING);
    }
    pthread_mutex_unlock(&mqtt->lock);
}

static void on_connect_letter(struct letter *letter, struct worker *worker)
{
    struct mqtt *mqtt = H2O_STRUCT_FROM_MEMBER(struct mqtt, connect_letter, letter);
    atomic_store(&mqtt->connect_posted, false);
    mqtt->options.on_connect(mqtt->options.arg);
}

static void on_subscribed(void *context, MQTTAsync_successData5 *data)
{
    struct mqtt *mqtt = context;
    bool granted = data->alt.sub.reasonCodeCount == TOPICS;
    for (int i = 0; granted && i < TOPICS; i++)
        granted = (int)data->alt.sub.reasonCodes[i] < MQTTREASONCODE_UNSPECIFIED_ERROR;

    pthread_mutex_lock(&mqtt->lock);
    bool up = granted && mqtt->state == MQTT_SUBSCRIBING;
    if (up) {
        mqtt->failures = 0;
        enter(mqtt, MQTT_UP);
    } else if (!granted) {
        mqtt->abandon = true;
        pthread_cond_signal(&mqtt->wake);
    }
    pthread_mutex_unlock(&mqtt->lock);
    if (!granted)
        log_error("the broker refuses otad's subscriptions");
    if (up) {
        log_info("connected to the broker");
        if (mqtt->options.on_connect != NULL && !atomic_exchange(&mqtt->connect_posted, true))
            worker_post(mqtt->options.worker[0], &mqtt->connect_letter);
    }
}

static void on_subscribe_failure(void *context, MQTTAsync_failureData5 *data)
{
    struct mqtt *mqtt = context;
    pthread_mutex_lock(&mqtt->lock);
    mqtt->abandon = mqtt->state == MQTT_SUBSCRIBING;
    pthread_cond_signal(&mqtt->wake);
    pthread_mutex_unlock(&mqtt->lock);
}

static void connect_now(struct mqtt *mqtt)
{
    MQTTAsync_connectOptions options = MQTTAsync_connectOptions_initializer5;
    MQTTAsync_SSLOptions tls = MQTTAsync_SSLOptions_initializer;
    options.keepAliveInterval = KEEP_ALIVE;
    options.cleanstart = 1;
    options.connectTimeout = CONNECT_TIMEOUT;
    options.maxInflight = 1024; /* the broker's receive maximum lowers it */
    options.username = mqtt->options.username;
    options.password = mqtt->options.password;
    options.onSuccess5 = on_connect;
    options.onFailure5 = on_connect_failure;
    options.context = mqtt;
    if (strncmp(mqtt->options.url, "mqtts://", 8) == 0) {
        if (*mqtt->options.ca != '\0') {
            tls.trustStore = mqtt->options.ca;
            tls.disableDefaultTrustStore = 1;
        }
        tls.enableServerCertAuth = 1;
        tls.verify = 1; /* the certificate's host name too */
        tls.sslVersion = MQTT_SSL_VERSION_TLS_1_2;
        options.ssl = &tls;
    }
    int rc = MQTTAsync_connect(mqtt->client, &options);
    if (rc != MQTTASYNC_SUCCESS && rc != MQTTASYNC_COMMAND_IGNORED)
        fail(mqtt, "connect", rc);
}

static void subscribe_now(struct mqtt *mqtt)
{
    int qos[TOPICS] = {1, 1};
    char *topics[TOPICS] = {(char *)subscriptions[0], (char *)subscriptions[1]};
    MQTTAsync_responseOptions response = MQTTAsync_responseOptions_initializer;
    MQTTSubscribe_options each[TOPICS] = {MQTTSubscribe_options_initializer,
                                          MQTTSubscribe_options_initializer};
    response.onSuccess5 = on_subscribed;
    response.onFailure5 = on_subscribe_failure;
    response.context = mqtt;
    response.subscribeOptionsCount = TOPICS;
    response.subscribeOptionsList = each;
    int rc = MQTTAsync_subscribeMany(mqtt->client, TOPICS, topics, qos, &response);
    if (rc != MQTTASYNC_SUCCESS)
        fail(mqtt, "subscribe", rc);
}

static void on_pong(void *context, MQTTAsync_successData5 *data)
{
    atomic_store(&((struct mqtt *)context)->pinged, 0);
}

static void on_no_pong(void *context, MQTTAsync_failureData5 *data)
{
    atomic_store(&((struct mqtt *)context)->pinged,
                 0); /* a refusal is an answer, a lost connection told else */
}

/* Paho keeps MQTT's own ping to itself. To end a subscription that there is none of is always allowed, and
 * always answered. */
static void ping_now(struct mqtt *mqtt)
{
    MQTTAsync_responseOptions response = MQTTAsync_responseOptions_initializer;
    response.onSuccess5 = on_pong;
    response.onFailure5 = on_no_pong;
    response.context = mqtt;
    atomic_store(&mqtt->pinged, clock_ms());
    if (MQTTAsync_unsubscribe(mqtt->client, "device/0/ping", &response) != MQTTASYNC_SUCCESS)
        atomic_store(&mqtt->pinged, 0);
}

static void disconnect_now(struct mqtt *mqtt, MQTTAsync_onSuccess5 *done)
{
    MQTTAsync_disconnectOptions options = MQTTAsync_disconnectOptions_initializer5;
    options.timeout = 0;
    options.onSuccess5 = done;
    options.context = mqtt;
    if (MQTTAsync_disconnect(mqtt->client, &options) != MQTTASYNC_SUCCESS && done != NULL)
        done(mqtt, NULL);
}

/* With the lock held: the one thing that is due, if any. The lock is given up around Paho's part. */
static bool act(struct mqtt *mqtt, uint64_t now)
{
    void (*call)(struct mqtt * mqtt) = NULL;
    if (mqtt->state == MQTT_DOWN && !mqtt->stopping && now >= mqtt->retry_at) {
        enter(mqtt, MQTT_CONNECTING);
        call = connect_now;
    } else if (mqtt->state == MQTT_SUBSCRIBING && mqtt->subscribe) {
        mqtt->subscribe = false;
        call = subscribe_now;
    } else if (mqtt->state == MQTT_UP && now >= mqtt->ping_at && !mqtt->stopping) {
        mqtt->ping_at = now + PING_INTERVAL;
        call = atomic_load(&mqtt->pinged) == 0 ? ping_now : NULL;
    } else if ((mqtt->state == MQTT_CONNECTING || mqtt->state == MQTT_SUBSCRIBING) &&
               (mqtt->abandon || now >= mqtt->since + STATE_LIMIT)) {
        enter(mqtt, MQTT_DOWN);
        pthread_mutex_unlock(&mqtt->lock);
        disconnect_now(mqtt, NULL);
        pthread_mutex_lock(&mqtt->lock);
        return true;
    }
    if (call == NULL)
        return mqtt_publish_next(mqtt);
    pthread_mutex_unlock(&mqtt->lock);
    call(mqtt);
    pthread_mutex_lock(&mqtt->lock);
    return true;
}

static void *run(void *arg)
{
    struct mqtt *mqtt = arg;
    pthread_mutex_lock(&mqtt->lock);
    while (!mqtt->ended) {
        uint64_t now = clock_ms();
        mqtt_publish_expire(mqtt, now);
        if (act(mqtt, now))
            continue;
        uint64_t until = mqtt_publish_deadline(mqtt), next = UINT64_MAX;
        if (mqtt->state == MQTT_DOWN && !mqtt->stopping)
            next = mqtt->retry_at;
        else if (mqtt->state == MQTT_CONNECTING || mqtt->state == MQTT_SUBSCRIBING)
            next = mqtt->since + STATE_LIMIT;
        else if (mqtt->state == MQTT_UP && !mqtt->stopping)
            next = mqtt->ping_at;
        mqtt_wait(mqtt, &mqtt->wake, next < until ? next : until);
    }
    pthread_mutex_unlock(&mqtt->lock);
    return NULL;
}

struct mqtt *mqtt_new(const struct mqtt_options *options, char **error)
{
    if (strncmp(options->url, "mqtt://", 7) != 0 && strncmp(options->url, "mqtts://", 8) != 0) {
        *error = x_printf("mqtt.url must begin with mqtt:// or mqtts://");
        return NULL;
    }
    char *user, *password, *url = url_split(options->url, &user, &password);
    if (url == NULL) {
        *error = x_printf("mqtt.url has a %% that is no escape");
        return NULL;
    }
    struct mqtt *mqtt = x_alloc(sizeof(*mqtt) + options->workers * sizeof(mqtt->inbox[0]));
    mqtt->options = *options;
    mqtt->options.url = mqtt->url = url;
    mqtt->user = user;
    mqtt->password = password;
    if (user != NULL)
        mqtt->options.username = user;
    if (password != NULL)
        mqtt->options.password = password;
    mqtt->connect_letter.deliver = on_connect_letter;
    mqtt_inboxes_open(mqtt);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&mqtt->lock, NULL);
    pthread_cond_init(&mqtt->wake, &monotonic);
    pthread_cond_init(&mqtt->room, &monotonic);
    pthread_cond_init(&mqtt->done, &monotonic);
    pthread_condattr_destroy(&monotonic);

    char id[32] = "otad-";
    unsigned char random[8];
    randombytes_buf(random, sizeof(random));
    sodium_bin2hex(id + 5, sizeof(id) - 5, random, sizeof(random));
    MQTTAsync_createOptions create = MQTTAsync_createOptions_initializer5;
    int rc = MQTTAsync_createWithOptions(&mqtt->client, url, id, MQTTCLIENT_PERSISTENCE_NONE, NULL, &create);
    if (rc == MQTTASYNC_SUCCESS)
        rc = MQTTAsync_setCallbacks(mqtt->client, mqtt, on_lost, mqtt_on_arrived, NULL);
    if (rc != MQTTASYNC_SUCCESS) {
        *error = x_printf("MQTT client: %s", MQTTAsync_strerror(rc));
        mqtt_free(mqtt);
        return NULL;
    }
    if (pthread_create(&mqtt->thread, NULL, run, mqtt) != 0)
        abort();
    return mqtt;
}

static void on_unsubscribed(void *context, MQTTAsync_successData5 *data)
{
    struct mqtt *mqtt = context;
    pthread_mutex_lock(&mqtt->lock);
    mqtt->unsubscribed = true;
    pthread_cond_signal(&mqtt->done);
    pthread_mutex_unlock(&mqtt->lock);
}

static void on_disconnected(void *context, MQTTAsync_successData5 *data)
{
    struct mqtt *mqtt = context;
    pthread_mutex_lock(&mqtt->lock);
    mqtt->disconnected = true;
    pthread_cond_signal(&mqtt->done);
    pthread_mutex_unlock(&mqtt->lock);
}

/* The broker stops giving us new messages; those it had queued for us still come, and are taken. */
static void drain(struct mqtt *mqtt)
{
    char *topics[TOPICS] = {(char *)subscriptions[0], (char *)subscriptions[1]};
    MQTTAsync_responseOptions response = MQTTAsync_responseOptions_initializer;
    response.onSuccess5 = on_unsubscribed;
    response.context = mqtt;
    if (MQTTAsync_unsubscribeMany(mqtt->client, TOPICS, topics, &response) != MQTTASYNC_SUCCESS)
        return;
    pthread_mutex_lock(&mqtt->lock);
    uint64_t limit = clock_ms() + STOP_STEP;
    while (!mqtt->unsubscribed && mqtt_wait(mqtt, &mqtt->done, limit))
        ;
    pthread_mutex_unlock(&mqtt->lock);
    for (uint64_t start = clock_ms(), now = start; now < start + DRAIN_LIMIT; now = clock_ms()) {
        uint64_t last = atomic_load(&mqtt->last_arrival);
        uint64_t quiet = (last > start ? last : start) + DRAIN_QUIET;
        if (now >= quiet)
            break;
        struct timespec pause = {0, (long)(quiet - now) * 1000000};
        nanosleep(&pause, NULL);
    }
}

void mqtt_stop(struct mqtt *mqtt)
{
    pthread_mutex_lock(&mqtt->lock);
    bool up = mqtt->state == MQTT_UP;
    mqtt->stopping = true;
    /* From here on a full queue takes more: it is only what the broker has sent already. */
    atomic_store(&mqtt->draining, true);
    pthread_cond_signal(&mqtt->room);
    pthread_mutex_unlock(&mqtt->lock);
    if (up)
        drain(mqtt);

    pthread_mutex_lock(&mqtt->lock);
    uint64_t limit = clock_ms() + STOP_STEP;
    while (mqtt->state == MQTT_UP && mqtt->queued.count + mqtt->sent.count > 0 &&
           mqtt_wait(mqtt, &mqtt->done, limit))
        ;
    mqtt->ended = true;
    enter(mqtt, MQTT_STOPPED);
    mqtt_publish_fail_all(mqtt, mqtt_unavailable);
    pthread_mutex_unlock(&mqtt->lock);
    pthread_join(mqtt->thread, NULL);

    disconnect_now(mqtt, on_disconnected);
    pthread_mutex_lock(&mqtt->lock);
    limit = clock_ms() + STOP_STEP;
    while (!mqtt->disconnected && mqtt_wait(mqtt, &mqtt->done, limit))
        ;
    pthread_mutex_unlock(&mqtt->lock);
    MQTTAsync_destroy(&mqtt->client);
    mqtt_inboxes_close(mqtt);
}

void mqtt_free(struct mqtt *mqtt)
{
    if (mqtt->client != NULL)
        MQTTAsync_destroy(&mqtt->client);
    pthread_cond_destroy(&mqtt->wake);
    pthread_cond_destroy(&mqtt->room);
    pthread_cond_destroy(&mqtt->done);
    pthread_mutex_destroy(&mqtt->lock);
    free(mqtt->url);
    free(mqtt->user);
    free(mqtt->password);
    free(mqtt);
}
