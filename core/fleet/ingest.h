/* From what devices say to what the database holds: one ingest a worker, for the devices that are its.
 *
 * Messages are coalesced per device and written by one set-based statement each flush_interval, later when
 * the database is slow: the pause is four times what the last write took, so that writes never take more than
 * a fifth of the database's time, and the longer the pause the more messages each write covers. Numeric
 * telemetry is summed up over windows and written once a window; log lines are written in batches.
 *
 * A write that fails is made again until it succeeds; meanwhile what devices say goes on being coalesced.
 * What does not fit (more devices than the table takes, more log lines than the buffer) is parked without
 * mqtt_message_done(), the worker's queue fills, and Paho's thread waits: TCP holds the broker back.
 *
 * All calls and hooks on the worker's thread. */
#pragma once
#include "base/metrics.h"
#include "fleet/feed.h"
#include "fleet/status.h"
#include "io/mqtt.h"
#include "io/pg.h"

struct ingest;

enum ingest_what { INGEST_ONLINE = 1, INGEST_VERSION = 2, INGEST_OTA = 4 };

/* What users can see of a device has changed, and stands in the database. Valid until ingest_change_done().
 */
struct ingest_change {
    int32_t device;
    unsigned what; /* of ingest_what: which of the following are new */
    bool online;
    const char *firmware_version;
    struct {
        int32_t update_id;
        const char *state;
        int progress;      /* -1: not told */
        const char *error; /* or NULL */
    } ota;
};

struct ingest_options {
    struct worker *worker;
    struct pg *pg; /* best one of its own with one connection: its writes hold up what is behind them */
    const struct pg_statements *statements;
    struct metrics *metrics;
    struct feed *feed;               /* hears of status and logs; or NULL */
    uint64_t flush_interval, window; /* ms */
    size_t devices;                  /* most remembered at once */
    /* Each change once, one at a time per device and 256 at a time in all; answered by ingest_change_done(),
     * from within or later. An OTA block comes when it differs from the last one taken, and again each 30 s
     * while the device repeats it. NULL: nobody wants to know. */
    void (*on_change)(void *arg, struct ingest_change *change);
    void *arg;
};

struct ingest *ingest_new(const struct ingest_options *options);
/* After pg_free(), with no change unanswered. What was not written is lost. */
void ingest_free(struct ingest *ingest);

/* Takes the message over. Wire it to mqtt_options.on_message. */
void ingest_message(struct ingest *ingest, struct mqtt_message *message);

/* `ok` false: what it told is owed still, and comes again with the device's next message, or some minutes
 * later. Frees it. */
void ingest_change_done(struct ingest_change *change, bool ok);

/* The sweep made this device offline: hands the change on. `owner` 0: nobody. */
void ingest_swept(struct ingest *ingest, int32_t device, int32_t owner);

/* Writes at once whatever is left, open windows too; ingest_idle() says when nothing is left. */
void ingest_stop(struct ingest *ingest);
bool ingest_idle(const struct ingest *ingest);
