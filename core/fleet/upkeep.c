/* Three timers, each with one statement under way at most. Worker 0's thread only. */
#include "fleet/upkeep.h"
#include "base/log.h"
#include "base/mem.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    COUNT_EVERY = 10000, /* ms */
    COUNT_LOOK = 1000,
    COUNT_PAUSE = 20, /* times what it took */
    PARTITIONS_EVERY = 3600000,
    PARTITIONS_RETRY = 1000,
    SWEEP_LEAST = 1000,
    SWEEP_MOST = 10000,
    SWEEP_ROWS = 5000 /* as in the statement */
};

struct task {
    struct timer timer;
    const struct pg_statement *statement;
    struct pg_query *query;
};

struct upkeep {
    struct upkeep_options options;
    struct task sweep, partitions, count;
    uint64_t sweep_every, deaf_until; /* ms */
    struct metrics_series *online, *offline;
    uint64_t asked, count_due; /* ms: the count */
};

static void again(struct upkeep *upkeep, struct task *task, uint64_t after)
{
    timer_set(upkeep->options.worker->timers, &task->timer, after);
}

static void on_swept(void *arg, const char *err, const PGresult *result)
{
    struct upkeep *upkeep = arg;
    upkeep->sweep.query = NULL;
    if (err != NULL) {
        upkeep->deaf_until = clock_ms() + upkeep->options.offline_after;
        again(upkeep, &upkeep->sweep, upkeep->sweep_every);
        return;
    }
    int count = PQntuples(result);
    for (int row = 0; row < count; row++)
        ingest_swept(upkeep->options.ingest, (int32_t)atol(PQgetvalue(result, row, 0)),
                     PQgetisnull(result, row, 1) ? 0 : (int32_t)atol(PQgetvalue(result, row, 1)));
    again(upkeep, &upkeep->sweep, count == SWEEP_ROWS ? 0 : upkeep->sweep_every);
}

/* While it is deaf it asks all the same, for a device that cannot be that old: to learn whether the database
 * is there. */
static void on_sweep_due(struct timer *timer)
{
    struct upkeep *upkeep = H2O_STRUCT_FROM_MEMBER(struct upkeep, sweep.timer, timer);
    char seconds[32];
    uint64_t now = clock_ms();
    if (!mqtt_connected(upkeep->options.mqtt))
        upkeep->deaf_until = now + upkeep->options.offline_after;
    if (now < upkeep->deaf_until)
        snprintf(seconds, sizeof(seconds), "1e9");
    else
        snprintf(seconds, sizeof(seconds), "%.3f", (double)upkeep->options.offline_after / 1000);
    const char *values[] = {seconds};
    upkeep->sweep.query = pg_query(upkeep->options.pg, upkeep->sweep.statement, 1, values, on_swept, upkeep);
}

static void on_partitions(void *arg, const char *err, const PGresult *result)
{
    struct upkeep *upkeep = arg;
    upkeep->partitions.query = NULL;
    /* Two instances that make the same table at once: one of them fails, and finds it there the next time. */
    if (err == pg_failed)
        log_warn("partitions were not kept",
                 LOG_STR("error", PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY)));
    again(upkeep, &upkeep->partitions, err == NULL ? PARTITIONS_EVERY : PARTITIONS_RETRY);
}

static void on_partitions_due(struct timer *timer)
{
    struct upkeep *upkeep = H2O_STRUCT_FROM_MEMBER(struct upkeep, partitions.timer, timer);
    char telemetry[16], logs[16], decisions[16];
    snprintf(telemetry, sizeof(telemetry), "%d", upkeep->options.telemetry_days);
    snprintf(logs, sizeof(logs), "%d", upkeep->options.log_days);
    snprintf(decisions, sizeof(decisions), "%d", upkeep->options.decision_days);
    const char *values[] = {telemetry, logs, decisions};
    upkeep->partitions.query =
        pg_query(upkeep->options.pg, upkeep->partitions.statement, 3, values, on_partitions, upkeep);
}

static const uint64_t counts_topic = FEED_TOPIC(FEED_FLEET, 1);

static bool is_watched(const struct upkeep *upkeep)
{
    return upkeep->options.feed != NULL && feed_wanted(upkeep->options.feed, &counts_topic, 1);
}

static void tell_counts(struct upkeep *upkeep)
{
    char data[80];
    int len = snprintf(data, sizeof(data), "{\"online\":%.0f,\"offline\":%.0f}", upkeep->online->value,
                       upkeep->offline->value);
    feed_publish(upkeep->options.feed, FEED_ON_STATUS, &counts_topic, 1, data, (size_t)len);
}

static void on_counted(void *arg, const char *err, const PGresult *result)
{
    struct upkeep *upkeep = arg;
    uint64_t now = clock_ms();
    upkeep->count.query = NULL;
    if (err == NULL) {
        upkeep->online->value = upkeep->offline->value = 0;
        for (int row = 0; row < PQntuples(result); row++) {
            bool online = strcmp(PQgetvalue(result, row, 0), "online") == 0;
            (online ? upkeep->online : upkeep->offline)->value = atof(PQgetvalue(result, row, 1));
        }
        if (is_watched(upkeep))
            tell_counts(upkeep);
    }
    uint64_t pause = (now - upkeep->asked) * COUNT_PAUSE;
    upkeep->count_due = now + COUNT_EVERY;
    again(upkeep, &upkeep->count, pause < COUNT_LOOK ? COUNT_LOOK : pause);
}

static void on_count_due(struct timer *timer)
{
    struct upkeep *upkeep = H2O_STRUCT_FROM_MEMBER(struct upkeep, count.timer, timer);
    bool watched = is_watched(upkeep);
    if (!watched && clock_ms() < upkeep->count_due) {
        again(upkeep, &upkeep->count, COUNT_LOOK);
        return;
    }
    upkeep->asked = clock_ms();
    upkeep->count.query = pg_query(upkeep->options.pg, upkeep->count.statement, 0, NULL, on_counted, upkeep);
}

static void task_init(struct upkeep *upkeep, struct task *task, const char *name,
                      void (*fire)(struct timer *timer))
{
    task->statement = pg_statement(upkeep->options.statements, name);
    task->timer.fire = fire;
    again(upkeep, task, 0);
}

static struct metrics_series *gauge(struct metrics *metrics, const char *labels)
{
    return metrics_series(metrics, METRICS_GAUGE, "otad_devices", labels, "registered devices");
}

struct upkeep *upkeep_new(const struct upkeep_options *options)
{
    struct upkeep *upkeep = x_new(struct upkeep);
    upkeep->options = *options;
    uint64_t every = options->offline_after / 10;
    upkeep->sweep_every = every < SWEEP_LEAST ? SWEEP_LEAST : every > SWEEP_MOST ? SWEEP_MOST : every;
    upkeep->deaf_until = clock_ms() + options->offline_after;
    upkeep->online = gauge(options->metrics, "status=\"online\"");
    upkeep->offline = gauge(options->metrics, "status=\"offline\"");
    task_init(upkeep, &upkeep->partitions, "ingest_partitions", on_partitions_due);
    task_init(upkeep, &upkeep->sweep, "ingest_sweep", on_sweep_due);
    task_init(upkeep, &upkeep->count, "ingest_count", on_count_due);
    return upkeep;
}

void upkeep_free(struct upkeep *upkeep)
{
    struct task *tasks[] = {&upkeep->sweep, &upkeep->partitions, &upkeep->count};
    for (int i = 0; i < 3; i++) {
        timer_cancel(upkeep->options.worker->timers, &tasks[i]->timer);
        if (tasks[i]->query != NULL)
            pg_forget(tasks[i]->query);
    }
    free(upkeep);
}
