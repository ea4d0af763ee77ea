/* Messages in: parse, coalesce, park what does not fit. */
#include "base/log.h"
#include "base/mem.h"
#include "fleet/ingest_private.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    RETRY = 500,          /* ms after a write that failed */
    LONGEST_PAUSE = 2000, /* ms */
    PAUSE_FACTOR = 4,
    IDLE = 600,   /* s without a message, then the entry may go */
    SCARCE = 1000 /* ms between evictions when the table is full */
};

static const char *const kinds[] = {"status", "logs", "other"}; /* by enum mqtt_kind */

void pace_want(struct ingest *ingest, struct pace *pace)
{
    if (pace->busy || (pace->timer.slot != 0 && !ingest->stopping))
        return;
    uint64_t now = clock_ms(), delay = ingest->stopping ? 0 : ingest->options.flush_interval;
    if (pace->earliest > now + delay)
        delay = pace->earliest - now;
    timer_set(ingest->options.worker->timers, &pace->timer, delay);
}

void pace_begin(struct pace *pace)
{
    pace->busy = true;
    pace->started = clock_ms();
}

bool pace_end(struct pace *pace, const char *err, const PGresult *result, bool *give_up)
{
    uint64_t now = clock_ms(), pause = (now - pace->started) * PAUSE_FACTOR;
    pace->busy = false;
    *give_up = false;
    if (err == NULL) {
        pace->refusals = 0;
        pace->earliest = now + (pause < LONGEST_PAUSE ? pause : LONGEST_PAUSE);
        return true;
    }
    pace->earliest = now + RETRY;
    if (err == pg_failed) {
        /* Class 22 is about the data itself, 23 about what the tables allow: a partition may still come. */
        const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
        bool data = state != NULL && strncmp(state, "22", 2) == 0;
        bool table = state != NULL && strncmp(state, "23", 2) == 0;
        pace->refusals = data || table ? pace->refusals + 1 : 0;
        *give_up = data || (table && pace->refusals > pace->patience);
        if (*give_up)
            pace->refusals = 0;
    }
    return false;
}

static struct metrics_series *rejected(struct ingest *ingest, const char *reason)
{
    char labels[64];
    snprintf(labels, sizeof(labels), "reason=\"%s\"", reason);
    return metrics_series(ingest->options.metrics, METRICS_COUNTER, "otad_mqtt_rejected_total", labels,
                          "messages and telemetry fields not taken");
}

void ingest_reject(struct ingest *ingest, const char *reason)
{
    rejected(ingest, reason)->value++;
}

/* At most a line a minute for each device, and MALFORMED lines a minute in all: devices share places. */
static void log_malformed(struct ingest *ingest, const struct mqtt_message *message, const char *reason,
                          const char *field)
{
    struct malformed *place = &ingest->malformed[(uint32_t)message->device % MALFORMED];
    int64_t minute = (int64_t)(message->at / 60);
    if (place->minute == minute)
        return;
    place->minute = minute;
    log_warn("malformed message", LOG_INT("device", message->device), LOG_STR("kind", kinds[message->kind]),
             LOG_STR("reason", reason), LOG_STR("field", field), LOG_INT("bytes", message->len));
}

static bool may_go(const struct entry *entry, void *arg)
{
    double before = *(double *)arg;
    return !entry->dirty && entry->seq == entry->committed && entry->window == 0 && !entry->queued &&
           !entry->handing && entry->at < before && entry->will_at < before;
}

static bool may_go_paid(const struct entry *entry, void *arg)
{
    return entry->owed == 0 && may_go(entry, arg);
}

/* NULL: the table is full of devices that have something to be written. Those whose news the hook failed to
 * take go last. */
static struct entry *entry_for(struct ingest *ingest, int32_t device)
{
    struct entry *entry = table_add(ingest->table, device);
    if (entry != NULL)
        return entry;
    double whenever = INFINITY; /* their times may lie ahead: the clock may have stepped back */
    if (clock_ms() >= ingest->last_evicted + SCARCE) {
        ingest->last_evicted = clock_ms();
        if (table_evict(ingest->table, may_go_paid, &whenever) > 0 ||
            table_evict(ingest->table, may_go, &whenever) > 0)
            entry = table_add(ingest->table, device);
    }
    return entry;
}

void ingest_forget_idle(struct ingest *ingest)
{
    double before = clock_unix() - IDLE;
    if (clock_ms() < ingest->last_evicted + IDLE * 1000)
        return;
    ingest->last_evicted = clock_ms();
    ingest_changes_retry(ingest);
    table_evict(ingest->table, may_go_paid, &before);
}

/* Returns a reason, or NULL; *room false: cannot be taken now. */
static const char *take_status(struct ingest *ingest, const struct mqtt_message *message, bool *room,
                               const char **field)
{
    struct status status;
    const char *reason = status_parse(&status, &ingest->doc, message->payload, message->len);
    *field = status.field;
    if (reason != NULL)
        return reason;
    struct entry *entry = entry_for(ingest, message->device);
    if (entry == NULL) {
        *room = false;
        return NULL;
    }
    unsigned surplus = status.surplus;
    bool closed = entry->window == 0;
    enum coalesce_result result =
        entry_apply(entry, &status, message->at, (double)ingest->options.window / 1000, &surplus);
    ingest->telemetry.open += closed && entry->window != 0;
    ingest->nested->value += status.nested;
    ingest->surplus->value += surplus;
    ingest->outside->value += status.outside;
    if (result == COALESCE_OLD_WILL)
        ingest->old_wills->value++;
    else
        ingest_write_want(ingest, entry);
    return NULL;
}

static const char *take_log(struct ingest *ingest, const struct mqtt_message *message, bool *room)
{
    struct status_log log;
    if (!ingest_log_room(ingest)) {
        *room = false;
        return NULL;
    }
    const char *reason = status_parse_log(&log, &ingest->doc, message->payload, message->len);
    if (reason == NULL)
        ingest_log_add(ingest, message->device, message->at, &log);
    return reason;
}

/* False: there is no room for it now. */
static bool take(struct ingest *ingest, struct mqtt_message *message)
{
    const char *reason = NULL, *field = NULL;
    bool room = true;
    if (message->kind == MQTT_OTHER)
        reason = "topic";
    else if (message->len > MQTT_PAYLOAD) /* it came without its payload */
        reason = status_size;
    else if (message->kind == MQTT_STATUS)
        reason = take_status(ingest, message, &room, &field);
    else
        reason = take_log(ingest, message, &room);
    if (!room)
        return false;
    if (reason != NULL) {
        ingest_reject(ingest, reason);
        log_malformed(ingest, message, reason, field);
    }
    mqtt_message_done(message);
    return true;
}

void ingest_message(struct ingest *ingest, struct mqtt_message *message)
{
    ingest->messages[message->kind]->value++;
    if (ingest->parked == NULL && take(ingest, message))
        return;
    message->next = NULL;
    *ingest->last_parked = message;
    ingest->last_parked = &message->next;
}

void ingest_unpark(struct ingest *ingest)
{
    while (ingest->parked != NULL) {
        struct mqtt_message *message = ingest->parked, *next = message->next;
        if (!take(ingest, message))
            return;
        ingest->parked = next;
        if (next == NULL)
            ingest->last_parked = &ingest->parked;
    }
}

struct ingest *ingest_new(const struct ingest_options *options)
{
    struct ingest *ingest = x_new(struct ingest);
    ingest->options = *options;
    ingest->table = table_new(options->devices);
    ingest->last_parked = &ingest->parked;
    ingest->last_evicted = clock_ms();
    for (int i = 0; i < 3; i++) {
        char labels[32];
        snprintf(labels, sizeof(labels), "kind=\"%s\"", kinds[i]);
        ingest->messages[i] = metrics_series(options->metrics, METRICS_COUNTER, "otad_mqtt_messages_total",
                                             labels, "messages taken from the broker");
    }
    ingest->lag =
        metrics_series(options->metrics, METRICS_HISTOGRAM, "otad_ingest_lag_seconds", "",
                       "from a message's arrival to its commit, the oldest of each write and device");
    ingest->surplus = rejected(ingest, "surplus");
    ingest->nested = rejected(ingest, "nested");
    ingest->outside = rejected(ingest, "range");
    ingest->old_wills = rejected(ingest, "old_will");
    ingest->refused = rejected(ingest, "database");
    ingest->changes.last = &ingest->changes.first;
    ingest_write_init(ingest);
    ingest_history_init(ingest);
    return ingest;
}

void ingest_free(struct ingest *ingest)
{
    while (ingest->parked != NULL) {
        struct mqtt_message *message = ingest->parked;
        ingest->parked = message->next;
        mqtt_message_done(message);
    }
    ingest_history_free(ingest);
    ingest_write_free(ingest);
    ingest_changes_free(ingest);
    table_free(ingest->table);
    buffer_free(&ingest->news);
    free(ingest);
}

void ingest_stop(struct ingest *ingest)
{
    ingest->stopping = true;
    ingest->devices.pace.earliest = 0;
    if (ingest->devices.dirty != NULL)
        pace_want(ingest, &ingest->devices.pace);
    ingest_history_stop(ingest);
}

bool ingest_idle(const struct ingest *ingest)
{
    return ingest->parked == NULL && ingest->devices.dirty == NULL && !ingest->devices.pace.busy &&
           ingest_history_idle(ingest) && ingest->changes.first == NULL && ingest->changes.handing == 0;
}
