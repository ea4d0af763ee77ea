/* The statement that writes what devices said. One at a time; its rows are in order of device ids, so that
 * instances that write the same devices lock them in the same order. A batch that PostgreSQL refuses for its
 * data is halved until the one device that is to blame stands alone; what that one said is dropped. */
#include "base/log.h"
#include "fleet/ingest_private.h"
#include <stdlib.h>
#include <string.h>

enum column {
    C_ID,
    C_AT,
    C_STATUS,
    C_SESSION,
    C_WILL,
    C_WILL_AT,
    C_VERSION,
    C_CHIP,
    C_ELF,
    C_TELEMETRY,
    C_WANTED
};

static void put_cell(struct pg_array *column, const struct entry *entry, const struct cell *cell)
{
    if (entry_pending(entry, cell->seq))
        pg_array_text(column, cell->s, cell->len);
    else
        pg_array_null(column);
}

static void put_telemetry(struct pg_array *column, const struct entry *entry)
{
    bool any = false;
    for (unsigned i = 0; i < entry->samples; i++) {
        const struct sample *sample = entry->sample[i];
        if (!entry_pending(entry, sample->value.seq))
            continue;
        if (!any)
            pg_array_open(column);
        pg_array_piece(column, any ? ",\"" : "{\"", 2);
        pg_array_piece(column, sample->name, sample->name_len);
        pg_array_piece(column, "\":", 2);
        pg_array_piece(column, sample->value.s, sample->value.len);
        any = true;
    }
    if (any) {
        pg_array_piece(column, "}", 1);
        pg_array_close(column);
    } else {
        pg_array_null(column);
    }
}

/* `watched`: the feed wants to know whose the device is. */
static void put_entry(struct pg_array *column, struct entry *entry, bool watched)
{
    bool will = entry_pending(entry, entry->will.seq);
    pg_array_int(&column[C_ID], entry->device);
    if (entry_pending(entry, entry->at_seq))
        pg_array_time(&column[C_AT], entry->at);
    else
        pg_array_null(&column[C_AT]);
    if (entry_pending(entry, entry->status_seq))
        pg_array_text(&column[C_STATUS], entry->online ? "online" : "offline", entry->online ? 6 : 7);
    else
        pg_array_null(&column[C_STATUS]);
    put_cell(&column[C_SESSION], entry, &entry->session);
    put_cell(&column[C_WILL], entry, &entry->will);
    if (will)
        pg_array_time(&column[C_WILL_AT], entry->will_at);
    else
        pg_array_null(&column[C_WILL_AT]);
    put_cell(&column[C_VERSION], entry, &entry->version);
    put_cell(&column[C_CHIP], entry, &entry->chip);
    put_cell(&column[C_ELF], entry, &entry->elf_sha256);
    put_telemetry(&column[C_TELEMETRY], entry);
    pg_array_bool(&column[C_WANTED],
                  entry->owed != 0 || ingest_changes_ota_due(entry) || (watched && entry->owner == 0));
}

static int by_device(const void *a, const void *b)
{
    int32_t x = (*(struct entry *const *)a)->device, y = (*(struct entry *const *)b)->device;
    return (x > y) - (x < y);
}

static void append_dirty(struct ingest *ingest, struct entry *entry)
{
    entry->dirty = true;
    entry->next_dirty = NULL;
    *ingest->devices.last_dirty = entry;
    ingest->devices.last_dirty = &entry->next_dirty;
}

/* What failed goes first again: halving then closes in on the one to blame. */
static void prepend_dirty(struct ingest *ingest, struct entry *entry)
{
    entry->next_dirty = ingest->devices.dirty;
    if (ingest->devices.dirty == NULL)
        ingest->devices.last_dirty = &entry->next_dirty;
    ingest->devices.dirty = entry;
}

void ingest_write_want(struct ingest *ingest, struct entry *entry)
{
    if (entry->dirty)
        return;
    append_dirty(ingest, entry);
    pace_want(ingest, &ingest->devices.pace);
}

/* One row: id, status and firmware_version where they are new, null where they are not; or "old" will; then
 * owner and status. */
static void on_row(struct ingest *ingest, const PGresult *result, int row)
{
    struct entry *entry = table_find(ingest->table, (int32_t)atol(PQgetvalue(result, row, 0)));
    unsigned owed = 0;
    if (!PQgetisnull(result, row, 3)) {
        ingest->old_wills->value++;
        return;
    }
    if (entry == NULL)
        return;
    entry->owner = PQgetisnull(result, row, 4) ? -1 : (int32_t)atol(PQgetvalue(result, row, 4));
    entry->shown_online = strcmp(PQgetvalue(result, row, 5), "online") == 0;
    entry->changed = !PQgetisnull(result, row, 1);
    if (entry->changed)
        owed |= INGEST_ONLINE;
    if (!PQgetisnull(result, row, 2))
        owed |= INGEST_VERSION;
    if (ingest_changes_ota_due(entry))
        owed |= INGEST_OTA;
    ingest_changes_owe(ingest, entry, owed);
}

static void on_committed(struct ingest *ingest, const PGresult *result)
{
    double now = clock_unix();
    bool watched = ingest_news_wanted(ingest);
    /* Rows first: what is due is judged by what was pending. */
    for (int row = 0; row < PQntuples(result); row++)
        on_row(ingest, result, row);
    for (size_t i = 0; i < ingest->devices.count; i++) {
        struct entry *entry = ingest->devices.batch[i];
        if (entry->sent_at != 0)
            metrics_observe(ingest->lag, now > entry->sent_at ? now - entry->sent_at : 0);
        if (watched)
            ingest_news_status(ingest, entry);
        entry->committed = entry->sent;
    }
    ingest_changes_pump(ingest);
}

static void on_written(void *arg, const char *err, const PGresult *result)
{
    struct ingest *ingest = arg;
    bool give_up, done = pace_end(&ingest->devices.pace, err, result, &give_up);
    size_t count = ingest->devices.count;

    if (done) {
        on_committed(ingest, result);
    } else if (give_up && count == 1) {
        log_error("ingest: dropped what a device said", LOG_INT("device", ingest->devices.batch[0]->device));
        ingest->refused->value++;
        ingest->devices.batch[0]->committed = ingest->devices.batch[0]->sent;
        done = true;
    }
    if (done)
        ingest->devices.limit =
            ingest->devices.limit * 2 < DEVICE_ROWS ? ingest->devices.limit * 2 : DEVICE_ROWS;
    else if (give_up)
        ingest->devices.limit = (count + 1) / 2;
    if (give_up)
        ingest->devices.pace.earliest = 0;

    ingest->devices.count = 0;
    while (count-- > 0) {
        struct entry *entry = ingest->devices.batch[count];
        if (!done) {
            if (entry->sent_at != 0)
                entry->first_at = entry->sent_at;
            prepend_dirty(ingest, entry);
        } else if (entry->seq != entry->committed) {
            append_dirty(ingest, entry);
        } else {
            entry->dirty = false;
        }
    }
    if (ingest->devices.dirty != NULL)
        pace_want(ingest, &ingest->devices.pace);
    if (done)
        ingest_unpark(ingest);
}

/* Entries of the batch leave the list but stay marked: what comes while they are under way is seen
 * afterwards. */
static void on_due(struct timer *timer)
{
    struct ingest *ingest = H2O_STRUCT_FROM_MEMBER(struct ingest, devices.pace.timer, timer);
    if (ingest->devices.pace.busy || ingest->devices.dirty == NULL)
        return;
    size_t count = 0;
    while (ingest->devices.dirty != NULL && count < ingest->devices.limit) {
        struct entry *entry = ingest->devices.dirty;
        ingest->devices.dirty = entry->next_dirty;
        ingest->devices.batch[count++] = entry;
    }
    if (ingest->devices.dirty == NULL)
        ingest->devices.last_dirty = &ingest->devices.dirty;
    qsort(ingest->devices.batch, count, sizeof(struct entry *), by_device);

    const char *values[DEVICE_COLUMNS];
    bool watched = ingest_news_wanted(ingest);
    for (int i = 0; i < DEVICE_COLUMNS; i++)
        pg_array_begin(&ingest->devices.column[i]);
    for (size_t i = 0; i < count; i++) {
        struct entry *entry = ingest->devices.batch[i];
        put_entry(ingest->devices.column, entry, watched);
        entry->sent = entry->seq;
        entry->sent_at = entry->first_at;
        entry->first_at = 0;
    }
    for (int i = 0; i < DEVICE_COLUMNS; i++) {
        pg_array_end(&ingest->devices.column[i]);
        values[i] = ingest->devices.column[i].text;
    }
    ingest->devices.count = count;
    pace_begin(&ingest->devices.pace);
    pg_query(ingest->options.pg, ingest->devices.statement, DEVICE_COLUMNS, values, on_written, ingest);
}

void ingest_write_init(struct ingest *ingest)
{
    ingest->devices.statement = pg_statement(ingest->options.statements, "ingest_devices");
    ingest->devices.limit = DEVICE_ROWS;
    ingest->devices.last_dirty = &ingest->devices.dirty;
    ingest->devices.pace.timer.fire = on_due;
}

void ingest_write_free(struct ingest *ingest)
{
    timer_cancel(ingest->options.worker->timers, &ingest->devices.pace.timer);
    for (int i = 0; i < DEVICE_COLUMNS; i++)
        pg_array_free(&ingest->devices.column[i]);
}
