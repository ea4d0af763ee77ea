/* What the files of ingest share: ingest.c (messages), ingest_write.c (devices), ingest_history.c (telemetry,
 * logs) and ingest_changes.c (the hook). */
#pragma once
#include "fleet/coalesce.h"
#include "fleet/ingest.h"
#include "io/pg_array.h"
#include "net/timer.h"

enum { DEVICE_COLUMNS = 11, TELEMETRY_COLUMNS = 3, LOG_COLUMNS = 4, DEVICE_ROWS = 4096, MALFORMED = 1024 };

/* When to write next: one write at a time, with pauses in proportion to what writes take. */
struct pace {
    struct timer timer;
    bool busy;
    uint64_t started, earliest; /* ms */
    unsigned refusals;          /* in a row */
    unsigned patience;          /* refusals by a table's constraints that are borne */
};

struct log_line {
    struct log_line *next;
    int32_t device;
    double at;
    const char *level;
    size_t len;
    char message[];
};

struct handover {
    struct ingest_change change; /* first: ingest_change_done casts */
    struct ingest *ingest;
    struct entry *entry; /* NULL: of the sweep */
    struct handover *next;
    char *version, *error;
};

struct ingest {
    struct ingest_options options;
    struct table *table;
    bool stopping;
    uint64_t last_evicted; /* ms, monotonic */
    struct mqtt_message *parked, **last_parked;
    struct flatjson doc; /* the message being parsed */
    struct buffer news;  /* the event being written */

    struct { /* ingest_write.c */
        struct pace pace;
        const struct pg_statement *statement;
        struct entry *dirty, **last_dirty;
        struct entry *batch[DEVICE_ROWS];
        size_t count, limit;
        struct pg_array column[DEVICE_COLUMNS];
    } devices;

    struct { /* ingest_history.c */
        struct pace pace;
        const struct pg_statement *statement;
        bool walking, held;  /* through the table; rows built and not yet written */
        size_t cursor, open; /* windows */
        struct timer tick;
        struct pg_array column[TELEMETRY_COLUMNS];
    } telemetry;

    struct {
        struct pace pace;
        const struct pg_statement *statement;
        struct log_line *first, **last;
        size_t count, bytes, sent; /* lines; of all; lines under way */
        struct pg_array column[LOG_COLUMNS];
    } logs;

    struct { /* ingest_changes.c */
        struct handover *first, **last;
        size_t handing;
        bool pumping;
    } changes;

    struct malformed {
        int64_t minute; /* Unix min of the last line logged for the devices of this place */
    } malformed[MALFORMED];
    struct metrics_series *messages[3]; /* by enum mqtt_kind */
    struct metrics_series *lag, *surplus, *nested, *outside, *old_wills, *refused;
};

/* ingest.c */
void pace_want(struct ingest *ingest, struct pace *pace); /* there is something to write */
void pace_begin(struct pace *pace);
/* True: it stands. False: make it again, or, with *give_up, it is the data that is refused. */
bool pace_end(struct pace *pace, const char *err, const PGresult *result, bool *give_up);
void ingest_reject(struct ingest *ingest, const char *reason);
void ingest_unpark(struct ingest *ingest); /* there may be room again */
void ingest_forget_idle(struct ingest *ingest);

/* ingest_write.c */
void ingest_write_init(struct ingest *ingest);
void ingest_write_free(struct ingest *ingest);
void ingest_write_want(struct ingest *ingest, struct entry *entry);

/* ingest_history.c */
void ingest_history_init(struct ingest *ingest);
void ingest_history_free(struct ingest *ingest);
void ingest_history_stop(struct ingest *ingest);
bool ingest_history_idle(const struct ingest *ingest);
bool ingest_log_room(const struct ingest *ingest);
void ingest_log_add(struct ingest *ingest, int32_t device, double at, const struct status_log *log);

/* ingest_news.c */
bool ingest_news_wanted(const struct ingest *ingest);
void ingest_news_status(struct ingest *ingest,
                        struct entry *entry); /* before its write is noted as committed */
void ingest_news_swept(struct ingest *ingest, int32_t device, int32_t owner);
void ingest_news_log(struct ingest *ingest, const struct log_line *line);

/* ingest_changes.c */
void ingest_changes_free(struct ingest *ingest);
/* The entry's write stands; `owed` is what users can see of it. */
void ingest_changes_owe(struct ingest *ingest, struct entry *entry, unsigned owed);
void ingest_changes_retry(struct ingest *ingest); /* what is owed still, of devices that may say no more */
void ingest_changes_pump(struct ingest *ingest);  /* after the commit was noted */
/* Whether the hook should hear of the entry's OTA block. */
bool ingest_changes_ota_due(const struct entry *entry);
