/* MQTT. Paho's callbacks come on its own threads and only post; everything else runs on the loop's thread.
 * Once MQTTAsync_destroy has returned no callback of that handle runs any more. */
#include "sim_link.h"
#include <MQTTAsync.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEEP_ALIVE = 30, CONNECT_TIMEOUT = 20 };

struct sim_link {
    struct sim_loop *loop;
    const struct sim_registration *registration;
    const struct sim_link_events *events;
    void *arg;
    char *ca_file;
    MQTTAsync client;
    enum { DOWN, CONNECTING, SUBSCRIBING, UP } state;
    int status_token; /* of the status not yet acknowledged, or -1 */
};

static void on_connected(void *context, MQTTAsync_successData *data)
{
    struct sim_link *link = context;
    sim_loop_post(link->loop, link, SIM_CONNECTED, 0, NULL, 0);
}

static void post_failure(struct sim_link *link, const char *why, int code)
{
    char text[160];
    int len = snprintf(text, sizeof text, "%s (code %d)", why, code);
    sim_loop_post(link->loop, link, SIM_FAILED, 0, text,
                  (size_t)len < sizeof text ? (size_t)len + 1 : sizeof text);
}

static const char *reason_of(const MQTTAsync_failureData *data)
{
    return data && data->message && *data->message ? data->message : "refused";
}

static void on_failed(void *context, MQTTAsync_failureData *data)
{
    post_failure(context, reason_of(data), data ? data->code : 0);
}

/* The broker's answer is a return code of MQTT 3.1.1, section 3.2.2.3. */
static void on_refused(void *context, MQTTAsync_failureData *data)
{
    static const char *const answers[] = {NULL,
                                          "unacceptable protocol version",
                                          "client id rejected",
                                          "broker unavailable",
                                          "bad user name or password",
                                          "not authorized: wrong password, or the device was deleted"};
    int code = data ? data->code : 0;
    bool answered = code > 0 && code < (int)(sizeof answers / sizeof *answers);
    post_failure(context, answered ? answers[code] : reason_of(data), code);
}

static void on_subscribed(void *context, MQTTAsync_successData *data)
{
    struct sim_link *link = context;
    sim_loop_post(link->loop, link, SIM_SUBSCRIBED, 0, NULL, 0);
}

static void on_lost(void *context, char *cause)
{
    struct sim_link *link = context;
    sim_loop_post(link->loop, link, SIM_LOST, 0, "connection lost", sizeof "connection lost");
}

static void on_published(void *context, MQTTAsync_successData *data)
{
    struct sim_link *link = context;
    sim_loop_post(link->loop, link, SIM_PUBLISHED, data->token, NULL, 0);
}

static int on_message(void *context, char *topic, int topic_len, MQTTAsync_message *message)
{
    struct sim_link *link = context;
    sim_loop_post(link->loop, link, SIM_MESSAGE, 0, message->payload, (size_t)message->payloadlen);
    MQTTAsync_freeMessage(&message);
    MQTTAsync_free(topic);
    return 1;
}

static void make_client(struct sim_link *link)
{
    const struct sim_registration *registration = link->registration;
    char uri[512];
    snprintf(uri, sizeof uri, "%s://%s:%d", registration->tls ? "ssl" : "tcp", registration->host,
             registration->port);
    if (MQTTAsync_create(&link->client, uri, registration->client_id, MQTTCLIENT_PERSISTENCE_NONE, NULL) !=
            MQTTASYNC_SUCCESS ||
        MQTTAsync_setCallbacks(link->client, link, on_lost, on_message, NULL) != MQTTASYNC_SUCCESS) {
        abort();
    }
}

struct sim_link *sim_link_new(struct sim_loop *loop, const struct sim_registration *registration,
                              const char *ca_file, const struct sim_link_events *events, void *arg)
{
    struct sim_link *link = calloc(1, sizeof *link);
    if (!link) {
        abort();
    }
    *link = (struct sim_link){
        .loop = loop, .registration = registration, .events = events, .arg = arg, .status_token = -1};
    link->ca_file = ca_file ? strdup(ca_file) : NULL;
    make_client(link);
    return link;
}

void sim_link_free(struct sim_link *link)
{
    MQTTAsync_destroy(&link->client);
    sim_loop_forget(link->loop, link);
    free(link->ca_file);
    free(link);
}

static void go_down(struct sim_link *link, const char *why)
{
    link->state = DOWN;
    link->status_token = -1;
    link->events->on_down(link->arg, why);
}

void sim_link_connect(struct sim_link *link, const char *will)
{
    const struct sim_registration *registration = link->registration;
    MQTTAsync_connectOptions options = MQTTAsync_connectOptions_initializer;
    MQTTAsync_willOptions last = MQTTAsync_willOptions_initializer;
    MQTTAsync_SSLOptions tls = MQTTAsync_SSLOptions_initializer;
    if (link->state != DOWN) { /* an attempt that ended in nothing */
        MQTTAsync_destroy(&link->client);
        sim_loop_forget(link->loop, link);
        link->status_token = -1;
        make_client(link);
    }
    last.topicName = registration->status_topic;
    last.message = will;
    last.qos = 1;
    tls.enableServerCertAuth = 1;
    tls.verify = 1; /* the host name as well */
    tls.sslVersion = MQTT_SSL_VERSION_TLS_1_2;
    tls.trustStore = link->ca_file;
    tls.disableDefaultTrustStore = link->ca_file != NULL;
    options.keepAliveInterval = KEEP_ALIVE;
    options.connectTimeout = CONNECT_TIMEOUT;
    options.cleansession = 1;
    options.MQTTVersion = MQTTVERSION_3_1_1;
    options.username = registration->username;
    options.password = registration->password;
    options.will = &last;
    options.ssl = registration->tls ? &tls : NULL;
    options.onSuccess = on_connected;
    options.onFailure = on_refused;
    options.context = link;
    link->state = CONNECTING;
    if (MQTTAsync_connect(link->client, &options) != MQTTASYNC_SUCCESS) {
        go_down(link, "cannot connect");
    }
}

static void subscribe(struct sim_link *link)
{
    MQTTAsync_responseOptions options = MQTTAsync_responseOptions_initializer;
    options.onSuccess = on_subscribed;
    options.onFailure = on_failed;
    options.context = link;
    link->state = SUBSCRIBING;
    if (MQTTAsync_subscribe(link->client, link->registration->ota_topic, 1, &options) != MQTTASYNC_SUCCESS) {
        go_down(link, "cannot subscribe");
    }
}

void sim_link_take(struct sim_link *link, enum sim_news news, int token, const void *payload, size_t len)
{
    switch (news) {
    case SIM_CONNECTED:
        if (link->state == CONNECTING) {
            subscribe(link);
        }
        return;
    case SIM_SUBSCRIBED:
        if (link->state == SUBSCRIBING) {
            link->state = UP;
            link->events->on_up(link->arg);
        }
        return;
    case SIM_FAILED:
        if (link->state == SUBSCRIBING) {
            MQTTAsync_disconnectOptions options = MQTTAsync_disconnectOptions_initializer;
            MQTTAsync_disconnect(link->client, &options);
        }
        if (link->state == CONNECTING || link->state == SUBSCRIBING) {
            go_down(link, payload);
        }
        return;
    case SIM_LOST:
        if (link->state != DOWN) {
            go_down(link, payload);
        }
        return;
    case SIM_MESSAGE:
        link->events->on_offer(link->arg, payload, len);
        return;
    case SIM_PUBLISHED:
        if (token == link->status_token) {
            link->status_token = -1;
            link->events->on_status_acked(link->arg);
        }
        return;
    }
}

static bool publish(struct sim_link *link, const char *topic, const char *text, int qos, int *token)
{
    MQTTAsync_responseOptions options = MQTTAsync_responseOptions_initializer;
    MQTTAsync_message message = MQTTAsync_message_initializer;
    if (link->state != UP) {
        return false;
    }
    message.payload = (void *)(uintptr_t)text;
    message.payloadlen = (int)strlen(text);
    message.qos = qos;
    options.onSuccess = token ? on_published : NULL;
    options.context = link;
    if (MQTTAsync_sendMessage(link->client, topic, &message, &options) != MQTTASYNC_SUCCESS) {
        return false;
    }
    if (token) {
        *token = options.token;
    }
    return true;
}

bool sim_link_status(struct sim_link *link, const char *text)
{
    return publish(link, link->registration->status_topic, text, 1, &link->status_token);
}

bool sim_link_log(struct sim_link *link, const char *text)
{
    return publish(link, link->registration->logs_topic, text, 0, NULL);
}
