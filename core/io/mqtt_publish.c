/* Publishing: a bounded queue filled by workers and emptied by the client's thread, with few at a time at
 * Paho, whose own lists are linear. A publication is freed when its answer was delivered and Paho has let go
 * of it: after a time-out these two may be far apart. */
#include "base/mem.h"
#include "io/mqtt_private.h"
#include <stdlib.h>
#include <string.h>

const char mqtt_unavailable[] = "broker unavailable";
const char mqtt_busy[] = "broker busy";
const char mqtt_timeout[] = "broker timeout";
const char mqtt_refused[] = "refused by the broker";

enum { MOST_QUEUED = 4096, MOST_SENT = 32, TIMEOUT = 10000 };

static void append(struct publications *list, struct publication *publication)
{
    if (list->last == NULL)
        list->last = &list->first;
    publication->next = NULL;
    publication->slot = list->last;
    *list->last = publication;
    list->last = &publication->next;
    list->count++;
}

static void unlink_from(struct publications *list, struct publication *publication)
{
    *publication->slot = publication->next;
    if (publication->next != NULL)
        publication->next->slot = publication->slot;
    else
        list->last = publication->slot;
    list->count--;
}

static void release(struct publication *publication)
{
    if (atomic_fetch_sub(&publication->holders, 1) == 1) {
        free(publication->topic);
        free(publication);
    }
}

static void on_answer(struct letter *letter, struct worker *worker)
{
    struct publication *publication = (struct publication *)letter;
    if (publication->cb != NULL)
        publication->cb(publication->arg, publication->err);
    release(publication);
}

static void answer(struct publication *publication, const char *err)
{
    publication->answered = true;
    publication->err = err;
    worker_post(publication->worker, &publication->letter);
}

void mqtt_publish(struct mqtt *mqtt, struct worker *worker, const char *topic, const void *payload,
                  size_t len, int qos, bool retained, mqtt_cb cb, void *arg)
{
    struct publication *publication = x_alloc(sizeof(*publication) + len + 1);
    publication->letter.deliver = on_answer;
    publication->mqtt = mqtt;
    publication->worker = worker;
    publication->cb = cb;
    publication->arg = arg;
    publication->deadline = clock_ms() + TIMEOUT;
    atomic_init(&publication->holders, 1);
    publication->topic = x_strdup(topic);
    publication->len = len;
    publication->qos = qos;
    publication->retained = retained;
    if (len > 0)
        memcpy(publication->payload, payload, len);

    pthread_mutex_lock(&mqtt->lock);
    if (mqtt->state != MQTT_UP || mqtt->stopping) {
        answer(publication, mqtt_unavailable);
    } else if (mqtt->queued.count >= MOST_QUEUED) {
        answer(publication, mqtt_busy);
    } else {
        append(&mqtt->queued, publication);
        if (mqtt->queued.count == 1)
            pthread_cond_signal(&mqtt->wake);
    }
    pthread_mutex_unlock(&mqtt->lock);
}

/* Paho's threads, or the one that sends: Paho lets go. */
static void settle(struct publication *publication, const char *err)
{
    struct mqtt *mqtt = publication->mqtt;
    pthread_mutex_lock(&mqtt->lock);
    if (!publication->answered) {
        unlink_from(&mqtt->sent, publication);
        answer(publication, err);
        pthread_cond_signal(&mqtt->wake);
        if (mqtt->sent.count == 0)
            pthread_cond_signal(&mqtt->done);
    }
    pthread_mutex_unlock(&mqtt->lock);
    release(publication);
}

static void on_published(void *context, MQTTAsync_successData5 *response)
{
    settle(context, NULL);
}

static void on_not_published(void *context, MQTTAsync_failureData5 *response)
{
    settle(context, response->code == MQTTASYNC_OPERATION_INCOMPLETE ? mqtt_unavailable : mqtt_refused);
}

bool mqtt_publish_next(struct mqtt *mqtt)
{
    struct publication *publication = mqtt->queued.first;
    if (publication == NULL || mqtt->state != MQTT_UP || mqtt->sent.count >= MOST_SENT)
        return false;
    unlink_from(&mqtt->queued, publication);
    append(&mqtt->sent, publication);
    atomic_fetch_add(&publication->holders, 1);
    pthread_mutex_unlock(&mqtt->lock);

    MQTTAsync_message message = MQTTAsync_message_initializer;
    MQTTAsync_responseOptions response = MQTTAsync_responseOptions_initializer;
    message.payload = publication->payload;
    message.payloadlen = (int)publication->len;
    message.qos = publication->qos;
    message.retained = publication->retained;
    response.onSuccess5 = on_published;
    response.onFailure5 = on_not_published;
    response.context = publication;
    int rc = MQTTAsync_sendMessage(mqtt->client, publication->topic, &message, &response);
    if (rc != MQTTASYNC_SUCCESS)
        settle(publication, rc == MQTTASYNC_DISCONNECTED ? mqtt_unavailable : mqtt_refused);

    pthread_mutex_lock(&mqtt->lock);
    return true;
}

static void fail_list(struct publications *list, const char *err, uint64_t before)
{
    for (struct publication *publication = list->first, *next; publication != NULL; publication = next) {
        next = publication->next;
        if (publication->deadline <= before) {
            unlink_from(list, publication);
            answer(publication, err);
        }
    }
}

void mqtt_publish_fail_all(struct mqtt *mqtt, const char *err)
{
    fail_list(&mqtt->queued, err, UINT64_MAX);
    fail_list(&mqtt->sent, err, UINT64_MAX);
}

void mqtt_publish_expire(struct mqtt *mqtt, uint64_t now)
{
    fail_list(&mqtt->queued, mqtt_timeout, now);
    fail_list(&mqtt->sent, mqtt_timeout, now);
}

/* Both lists are in order of their deadlines. */
uint64_t mqtt_publish_deadline(const struct mqtt *mqtt)
{
    uint64_t queued = mqtt->queued.first == NULL ? UINT64_MAX : mqtt->queued.first->deadline;
    uint64_t sent = mqtt->sent.first == NULL ? UINT64_MAX : mqtt->sent.first->deadline;
    return queued < sent ? queued : sent;
}
