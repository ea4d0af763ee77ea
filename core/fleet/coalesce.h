/* What devices said since it was last committed, one entry a device: newest values only, so that memory and
 * writes depend on the number of devices, not of messages. Plain data without I/O; one owner, a worker.
 *
 * Each accepted message counts the entry's `seq` up and stamps what it set. What has a stamp above
 * `committed` is still to be written. A write notes `sent` = `seq`; once it is committed, `committed` =
 * `sent`; one that failed needs nothing undone. */
#pragma once
#include "fleet/status.h"

/* Telemetry fields remembered of a device. Beyond COALESCE_FIELDS a new name takes the place of the one that
 * was told least recently, if all is written that was said of it; else up to COALESCE_MOST are remembered.
 * Within an hour no more than COALESCE_NEW names are new: whoever makes them up fills no history. */
enum { COALESCE_FIELDS = 64, COALESCE_MOST = 128, COALESCE_NEW = 256 };

struct cell { /* a short text and its stamp */
    char *s;  /* NUL-terminated; NULL: never set */
    uint64_t seq;
    uint16_t len, room;
};

struct sample {        /* a telemetry field: newest value, and what the open window saw of it */
    struct cell value; /* as JSON */
    double count, min, max, sum;
    uint16_t name_len;
    char name[];
};

struct entry_ota {
    uint64_t seq;   /* of the first message with this content */
    uint64_t again; /* of the last */
    int32_t update_id;
    enum status_ota_state state;
    int progress;
    char *error;    /* or NULL */
    uint64_t print; /* of the content; 0: never set */
};

struct entry {
    int32_t device;
    uint64_t seq, committed, sent;
    double sent_at;      /* `first_at` of what was sent */
    double at, first_at; /* Unix s: newest accepted message; oldest not yet committed (0: none) */
    uint64_t at_seq;     /* 0 in `at`'s place: only a conditional will is pending */
    bool online;
    uint64_t status_seq;
    struct cell session, version, chip, elf_sha256;
    uint64_t version_since; /* stamp of the first message with this version */
    struct cell will;       /* offline, if the database holds this session or none */
    double will_at;
    struct entry_ota ota;
    unsigned samples;
    struct sample **sample;
    double window; /* Unix s: start of the open window; 0: nothing sampled */
    double hour;   /* Unix s: since when `fresh` names were new */
    unsigned fresh;

    /* the owner's */
    struct entry *next_dirty;
    bool dirty;           /* in that list, or being written */
    bool existed;         /* in the database, at the last write that told */
    bool queued, handing; /* to the hook */
    unsigned owed;        /* what the hook has not yet taken */
    bool shown_online;    /* as committed */
    bool changed;         /* with the last write: whether it is online */
    int32_t owner;        /* account; 0: not known yet, -1: nobody's */
    uint64_t told;        /* print of the OTA block the hook took last */
    uint64_t told_at;     /* ms, monotonic */
};

enum coalesce_result {
    COALESCE_TAKEN,
    COALESCE_OLD_WILL, /* of an older session: nothing changed */
};

/* `surplus` is increased by telemetry fields that got no place, or lost it before they were written. `window`
 * is the length of a window in seconds. */
enum coalesce_result entry_apply(struct entry *entry, const struct status *status, double at, double window,
                                 unsigned *surplus);
static inline bool entry_pending(const struct entry *entry, uint64_t seq)
{
    return seq > entry->committed;
}
void entry_close_window(struct entry *entry);

/* Entries by device id: open addressing, grown up to `most`. */
struct table;
struct table *table_new(size_t most);
void table_free(struct table *table);
struct entry *table_find(const struct table *table, int32_t device);
struct entry *table_add(struct table *table, int32_t device); /* found or made; NULL: full */
size_t table_count(const struct table *table);
/* Walks: start with *cursor 0; NULL at the end. Adding and evicting in between may repeat or skip entries. */
struct entry *table_next(const struct table *table, size_t *cursor);
/* Frees the entries that `idle` says may go; returns how many. */
size_t table_evict(struct table *table, bool (*idle)(const struct entry *entry, void *arg), void *arg);
