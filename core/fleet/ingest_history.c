/* History: a row a device and window of numeric telemetry, and the log lines.
 *
 * When a window has ended, the table is walked: entries whose window is over give their sums to rows, some
 * hundred at a time, and begin anew. Rows stay held until they are written; entries not yet walked go on
 * adding to the window they have, so that a database that is away costs resolution and no memory. A write
 * whose answer was lost is made again and may then stand twice. */
#include "base/log.h"
#include "base/mem.h"
#include "fleet/ingest_private.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    TELEMETRY_ROWS = 1000,
    LOG_ROWS = 1000,
    MOST_LINES = 16384,
    MOST_BYTES = 8 << 20,
    TICK = 1000,  /* ms */
    PATIENCE = 10 /* some seconds: partitions are made then, if they can be made at all */
};

static void put_number(struct pg_array *column, const char *before, double number)
{
    char text[48];
    pg_array_piece(column, text, (size_t)snprintf(text, sizeof(text), "%s%.15g", before, number));
}

/* {"rssi":[count,min,max,sum],...}; the names need no escapes. */
static bool put_fields(struct pg_array *column, const struct entry *entry)
{
    bool any = false;
    for (unsigned i = 0; i < entry->samples; i++) {
        const struct sample *sample = entry->sample[i];
        if (sample->count == 0)
            continue;
        if (!any)
            pg_array_open(column);
        pg_array_piece(column, any ? ",\"" : "{\"", 2);
        pg_array_piece(column, sample->name, sample->name_len);
        put_number(column, "\":[", sample->count);
        put_number(column, ",", sample->min);
        put_number(column, ",", sample->max);
        put_number(column, ",", sample->sum);
        pg_array_piece(column, "]", 1);
        any = true;
    }
    if (any) {
        pg_array_piece(column, "}", 1);
        pg_array_close(column);
    }
    return any;
}

/* Builds the next rows; false: the walk is over and there are none. */
static bool gather(struct ingest *ingest)
{
    struct pg_array *column = ingest->telemetry.column;
    double length = (double)ingest->options.window / 1000, now = clock_unix();
    size_t rows = 0;
    for (int i = 0; i < TELEMETRY_COLUMNS; i++)
        pg_array_begin(&column[i]);
    while (rows < TELEMETRY_ROWS) {
        struct entry *entry = table_next(ingest->table, &ingest->telemetry.cursor);
        if (entry == NULL)
            break;
        if (entry->window == 0 || (now < entry->window + length && !ingest->stopping))
            continue;
        if (put_fields(&column[2], entry)) {
            pg_array_int(&column[0], entry->device);
            pg_array_time(&column[1], entry->window);
            rows++;
        }
        entry_close_window(entry);
        ingest->telemetry.open--;
    }
    for (int i = 0; i < TELEMETRY_COLUMNS; i++)
        pg_array_end(&column[i]);
    return rows > 0;
}

static void on_telemetry_written(void *arg, const char *err, const PGresult *result)
{
    struct ingest *ingest = arg;
    bool give_up;
    if (pace_end(&ingest->telemetry.pace, err, result, &give_up)) {
        ingest->telemetry.held = false;
    } else if (give_up) {
        log_error("ingest: dropped a batch of telemetry");
        ingest->refused->value++;
        ingest->telemetry.held = false;
    }
    pace_want(ingest, &ingest->telemetry.pace);
}

static void walk(struct ingest *ingest)
{
    ingest->telemetry.walking = true;
    ingest->telemetry.cursor = 0;
    pace_want(ingest, &ingest->telemetry.pace);
}

static void on_telemetry_due(struct timer *timer)
{
    struct ingest *ingest = H2O_STRUCT_FROM_MEMBER(struct ingest, telemetry.pace.timer, timer);
    if (ingest->telemetry.pace.busy)
        return;
    if (!ingest->telemetry.held && !(ingest->telemetry.held = gather(ingest))) {
        ingest->telemetry.walking = false;
        ingest_forget_idle(ingest);
        ingest_unpark(ingest); /* closed windows may have freed entries */
        if (ingest->stopping && ingest->telemetry.open > 0)
            walk(ingest);
        return;
    }
    const char *values[TELEMETRY_COLUMNS];
    for (int i = 0; i < TELEMETRY_COLUMNS; i++)
        values[i] = ingest->telemetry.column[i].text;
    pace_begin(&ingest->telemetry.pace);
    pg_query(ingest->options.pg, ingest->telemetry.statement, TELEMETRY_COLUMNS, values, on_telemetry_written,
             ingest);
}

static void on_tick(struct timer *timer)
{
    struct ingest *ingest = H2O_STRUCT_FROM_MEMBER(struct ingest, telemetry.tick, timer);
    if (!ingest->telemetry.walking)
        walk(ingest);
    timer_set(ingest->options.worker->timers, timer,
              ingest->options.window < TICK ? ingest->options.window : TICK);
}

bool ingest_log_room(const struct ingest *ingest)
{
    return ingest->logs.count < MOST_LINES && ingest->logs.bytes < MOST_BYTES;
}

void ingest_log_add(struct ingest *ingest, int32_t device, double at, const struct status_log *log)
{
    struct log_line *line = x_alloc(sizeof(*line) + log->message.len + 1);
    line->device = device;
    line->at = at;
    line->level = log->level;
    line->len = log->message.len;
    memcpy(line->message, log->message.s, log->message.len);
    *ingest->logs.last = line;
    ingest->logs.last = &line->next;
    ingest->logs.count++;
    ingest->logs.bytes += sizeof(*line) + line->len;
    pace_want(ingest, &ingest->logs.pace);
}

static void drop_line(struct ingest *ingest)
{
    struct log_line *line = ingest->logs.first;
    ingest->logs.first = line->next;
    if (ingest->logs.first == NULL)
        ingest->logs.last = &ingest->logs.first;
    ingest->logs.count--;
    ingest->logs.bytes -= sizeof(*line) + line->len;
    free(line);
}

/* The result names, in order, the devices that exist. */
static bool exists(const PGresult *result, int32_t device)
{
    int low = 0, high = PQntuples(result);
    while (low < high) {
        int middle = low + (high - low) / 2;
        int32_t at = (int32_t)atol(PQgetvalue(result, middle, 0));
        if (at == device)
            return true;
        if (at < device)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}

static void on_logs_written(void *arg, const char *err, const PGresult *result)
{
    struct ingest *ingest = arg;
    bool give_up, done = pace_end(&ingest->logs.pace, err, result, &give_up);
    if (give_up) {
        log_error("ingest: dropped a batch of device logs", LOG_INT("lines", ingest->logs.sent));
        ingest->refused->value += (double)ingest->logs.sent;
    }
    for (; (done || give_up) && ingest->logs.sent > 0; ingest->logs.sent--) {
        const struct log_line *line = ingest->logs.first;
        if (done && exists(result, line->device))
            ingest_news_log(ingest, line);
        drop_line(ingest);
    }
    ingest->logs.sent = 0;
    if (ingest->logs.first != NULL)
        pace_want(ingest, &ingest->logs.pace);
    ingest_unpark(ingest);
}

static void on_logs_due(struct timer *timer)
{
    struct ingest *ingest = H2O_STRUCT_FROM_MEMBER(struct ingest, logs.pace.timer, timer);
    struct pg_array *column = ingest->logs.column;
    const char *values[LOG_COLUMNS];
    if (ingest->logs.pace.busy || ingest->logs.first == NULL)
        return;
    for (int i = 0; i < LOG_COLUMNS; i++)
        pg_array_begin(&column[i]);
    size_t sent = 0;
    for (struct log_line *line = ingest->logs.first; line != NULL && sent < LOG_ROWS;
         line = line->next, sent++) {
        pg_array_int(&column[0], line->device);
        pg_array_time(&column[1], line->at);
        pg_array_text(&column[2], line->level, strlen(line->level));
        pg_array_text(&column[3], line->message, line->len);
    }
    for (int i = 0; i < LOG_COLUMNS; i++) {
        pg_array_end(&column[i]);
        values[i] = column[i].text;
    }
    ingest->logs.sent = sent;
    pace_begin(&ingest->logs.pace);
    pg_query(ingest->options.pg, ingest->logs.statement, LOG_COLUMNS, values, on_logs_written, ingest);
}

void ingest_history_init(struct ingest *ingest)
{
    ingest->telemetry.statement = pg_statement(ingest->options.statements, "ingest_telemetry");
    ingest->telemetry.pace.timer.fire = on_telemetry_due;
    ingest->telemetry.tick.fire = on_tick;
    ingest->logs.statement = pg_statement(ingest->options.statements, "ingest_logs");
    ingest->logs.pace.timer.fire = on_logs_due;
    ingest->telemetry.pace.patience = ingest->logs.pace.patience = PATIENCE;
    ingest->logs.last = &ingest->logs.first;
    timer_set(ingest->options.worker->timers, &ingest->telemetry.tick, TICK);
}

void ingest_history_free(struct ingest *ingest)
{
    struct timers *timers = ingest->options.worker->timers;
    timer_cancel(timers, &ingest->telemetry.tick);
    timer_cancel(timers, &ingest->telemetry.pace.timer);
    timer_cancel(timers, &ingest->logs.pace.timer);
    while (ingest->logs.first != NULL)
        drop_line(ingest);
    for (int i = 0; i < TELEMETRY_COLUMNS; i++)
        pg_array_free(&ingest->telemetry.column[i]);
    for (int i = 0; i < LOG_COLUMNS; i++)
        pg_array_free(&ingest->logs.column[i]);
}

/* The walk starts over, for entries behind the cursor have open windows too. */
void ingest_history_stop(struct ingest *ingest)
{
    ingest->telemetry.pace.earliest = ingest->logs.pace.earliest = 0;
    walk(ingest);
    if (ingest->logs.first != NULL)
        pace_want(ingest, &ingest->logs.pace);
}

bool ingest_history_idle(const struct ingest *ingest)
{
    return !ingest->telemetry.walking && ingest->telemetry.open == 0 && !ingest->telemetry.pace.busy &&
           ingest->logs.first == NULL && !ingest->logs.pace.busy;
}
