/* Counters, gauges and histograms in Prometheus' text form.
 *
 * Each worker counts in a `struct metrics` of its own, without locks; a scrape asks each worker by letter to
 * add what it has to one sum, which is then printed. Series are found once and kept by pointer on hot paths;
 * a series pointer stays good as long as its metrics. */
#pragma once
#include <stddef.h>
#include <stdint.h>

struct metrics;

enum metrics_kind { METRICS_COUNTER, METRICS_GAUGE, METRICS_HISTOGRAM };

enum { METRICS_BUCKETS = 12 };
extern const double metrics_bounds[METRICS_BUCKETS]; /* seconds, 0.5 ms to 10 s; the last is infinity */

struct metrics_series {
    double value;                      /* counter, gauge; histogram: sum */
    uint64_t buckets[METRICS_BUCKETS]; /* histogram: not cumulative */
};

struct metrics *metrics_new(void);
void metrics_free(struct metrics *metrics);
/* `labels` as printed between the braces, e.g. `code="200",method="GET"`; "" for none. `help` may be "". All
 * three texts are copied. */
struct metrics_series *metrics_series(struct metrics *metrics, enum metrics_kind kind, const char *name,
                                      const char *labels, const char *help);
void metrics_observe(struct metrics_series *series, double seconds);
void metrics_add(struct metrics *into, const struct metrics *from);
char *metrics_print(const struct metrics *metrics, size_t *len); /* owned by the caller */
