/* Messages from Paho's thread to the workers. Paho calls with a lock of the whole process held and
 * acknowledges a message once this has returned: waiting here is what holds the broker back. */
#include "base/mem.h"
#include "io/mqtt_private.h"
#include <stdlib.h>
#include <string.h>

enum {
    LOOK_AGAIN = 4, /* ms between looks into an inbox in use */
    TRICKLE = 5000  /* ms between messages let through a full queue: well below the keep-alive */
};

unsigned mqtt_worker(int32_t device, unsigned workers)
{
    uint32_t hash =
        (uint32_t)device * 2654435761u; /* Knuth's multiplicative hash; the high bits are the mixed */
    return (unsigned)((uint64_t)hash * workers >> 32);
}

/* device/<id>/status or device/<id>/logs, the id without leading zeros. */
static enum mqtt_kind parse_topic(const char *topic, int32_t *device)
{
    *device = 0;
    if (strncmp(topic, "device/", 7) != 0 || topic[7] < '1' || topic[7] > '9')
        return MQTT_OTHER;
    int64_t id = 0;
    const char *p = topic + 7;
    for (; *p >= '0' && *p <= '9' && id <= INT32_MAX; p++)
        id = id * 10 + (*p - '0');
    enum mqtt_kind kind = strcmp(p, "/status") == 0 ? MQTT_STATUS
                          : strcmp(p, "/logs") == 0 ? MQTT_LOGS
                                                    : MQTT_OTHER;
    if (id > INT32_MAX)
        return MQTT_OTHER;
    *device = kind == MQTT_OTHER ? 0 : (int32_t)id;
    return kind;
}

/* Worker: whatever there is, in order of arrival. */
static bool empty_inbox(struct inbox *inbox)
{
    struct mqtt_message *taken = atomic_exchange(&inbox->head, NULL), *first = NULL;
    if (taken == NULL || taken == INBOX_ASLEEP)
        return false;
    while (taken != NULL) {
        struct mqtt_message *next = taken->next;
        taken->next = first;
        first = taken;
        taken = next;
    }
    while (first != NULL) {
        struct mqtt_message *next = first->next;
        inbox->mqtt->options.on_message(inbox->mqtt->options.arg, inbox->worker, first);
        first = next;
    }
    return true;
}

static void on_inbox_timer(struct timer *timer)
{
    struct inbox *inbox = H2O_STRUCT_FROM_MEMBER(struct inbox, timer, timer);
    struct mqtt_message *none = NULL;
    if (empty_inbox(inbox) || !atomic_compare_exchange_strong(&inbox->head, &none, INBOX_ASLEEP))
        timer_set(inbox->worker->timers, timer, LOOK_AGAIN);
}

static void on_inbox_letter(struct letter *letter, struct worker *worker)
{
    struct inbox *inbox = H2O_STRUCT_FROM_MEMBER(struct inbox, letter, letter);
    empty_inbox(inbox);
    timer_set(worker->timers, &inbox->timer, LOOK_AGAIN);
}

static void on_last_letter(struct letter *letter, struct worker *worker)
{
    struct inbox *inbox = H2O_STRUCT_FROM_MEMBER(struct inbox, last_letter, letter);
    empty_inbox(inbox);
    timer_cancel(worker->timers, &inbox->timer);
}

/* Paho's thread. */
static void push(struct inbox *inbox, struct mqtt_message *message)
{
    struct mqtt_message *head = atomic_load(&inbox->head);
    do
        message->next = head == INBOX_ASLEEP ? NULL : head;
    while (!atomic_compare_exchange_weak(&inbox->head, &head, message));
    if (head == INBOX_ASLEEP)
        worker_post(inbox->worker, &inbox->letter);
}

/* Paho's thread, with Paho's lock held. A quarter of the queue is emptied before it goes on, so that a worker
 * at its limit does not wake this thread for each message. */
static void wait_for_room(struct mqtt *mqtt, unsigned worker)
{
    size_t enough = mqtt->options.queue - mqtt->options.queue / 4;
    uint64_t limit = clock_ms() + TRICKLE;
    pthread_mutex_lock(&mqtt->lock);
    atomic_store(&mqtt->waiting, true);
    while (!atomic_load(&mqtt->draining) && atomic_load(&mqtt->inbox[worker].taken) > enough &&
           mqtt_wait(mqtt, &mqtt->room, limit))
        ;
    atomic_store(&mqtt->waiting, false);
    pthread_mutex_unlock(&mqtt->lock);
}

void mqtt_message_done(struct mqtt_message *message)
{
    struct mqtt *mqtt = message->mqtt;
    size_t enough = mqtt->options.queue - mqtt->options.queue / 4;
    size_t before = atomic_fetch_sub(&mqtt->inbox[message->worker].taken, 1);
    free(message);
    if (before - 1 <= enough && atomic_load(&mqtt->waiting)) {
        pthread_mutex_lock(&mqtt->lock);
        pthread_cond_signal(&mqtt->room);
        pthread_mutex_unlock(&mqtt->lock);
    }
}

int mqtt_on_arrived(void *context, char *topic, int topic_len, MQTTAsync_message *arrived)
{
    struct mqtt *mqtt = context;
    size_t len = (size_t)arrived->payloadlen, copied = len > MQTT_PAYLOAD ? 0 : len;

    struct mqtt_message *message = x_alloc(sizeof(*message) + copied + 1);
    message->mqtt = mqtt;
    message->at = clock_unix();
    /* A topic with a NUL in it is longer than it looks, and no device's. */
    bool plain = topic_len == 0 || strlen(topic) == (size_t)topic_len;
    message->kind = plain ? parse_topic(topic, &message->device) : MQTT_OTHER;
    message->worker = mqtt_worker(message->device, mqtt->options.workers);
    message->len = len;
    memcpy(message->payload, arrived->payload, copied);
    MQTTAsync_freeMessage(&arrived);
    MQTTAsync_free(topic);

    if (atomic_fetch_add(&mqtt->inbox[message->worker].taken, 1) >= mqtt->options.queue)
        wait_for_room(mqtt, message->worker);
    atomic_store(&mqtt->last_arrival, clock_ms());
    push(&mqtt->inbox[message->worker], message);
    return 1;
}

void mqtt_inboxes_open(struct mqtt *mqtt)
{
    for (unsigned i = 0; i < mqtt->options.workers; i++) {
        struct inbox *inbox = &mqtt->inbox[i];
        atomic_init(&inbox->head, INBOX_ASLEEP);
        inbox->letter.deliver = on_inbox_letter;
        inbox->last_letter.deliver = on_last_letter;
        inbox->timer.fire = on_inbox_timer;
        inbox->mqtt = mqtt;
        inbox->worker = mqtt->options.worker[i];
    }
}

void mqtt_inboxes_close(struct mqtt *mqtt)
{
    for (unsigned i = 0; i < mqtt->options.workers; i++)
        worker_post(mqtt->inbox[i].worker, &mqtt->inbox[i].last_letter);
}
