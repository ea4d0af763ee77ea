/* Lines in the broker's log, at most a few a minute of each kind: a fleet that is turned away must not fill
 * the disk. What was held back is counted in the next line of that kind. Never pass a password or hash. */
#pragma once
#include <stdint.h>

struct report {
    uint64_t minute_ends; /* ms */
    unsigned lines, held_back;
};

uint64_t report_clock(void); /* ms, monotonic */

/* `level` is one of MOSQ_LOG_*. */
void report(struct report *kind, int level, const char *format, ...) __attribute__((format(printf, 3, 4)));
