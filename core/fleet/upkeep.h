/* What is done now and then, on worker 0: the sweep for silent devices, partitions of the history, the gauge
 * of devices. Every instance does it; the statements bear that.
 *
 * A device counts as silent only while it could have been heard: the sweep waits for `offline_after` after
 * the start, and after the broker or the database was away. */
#pragma once
#include "fleet/ingest.h"

struct upkeep;

struct upkeep_options {
    struct worker *worker;
    struct pg *pg;
    const struct pg_statements *statements;
    struct metrics *metrics; /* otad_devices{status} */
    struct ingest *ingest;   /* whose hook hears of devices gone silent */
    struct feed *feed;       /* hears of otad_devices each second while somebody listens; or NULL */
    const struct mqtt *mqtt;
    uint64_t offline_after; /* ms */
    int telemetry_days, log_days, decision_days;
};

struct upkeep *upkeep_new(const struct upkeep_options *options);
/* Before pg_free() and ingest_free(); what it asked the database is forgotten. */
void upkeep_free(struct upkeep *upkeep);
