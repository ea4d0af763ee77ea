/* What a simulation is asked for: the fleet to be made up, and what is assumed of updates. Read from the
 * request, each number checked, defaults filled in. policy/simulate.h says what the fields mean. */
#pragma once
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { WISHES_MOST_DEVICES = 200000 };

struct wishes {
    size_t devices;
    double offline_share, sleeping_share;
    int32_t sleep_period, sleep_awake;
    double battery_share, battery_low;
    json_t *chips, *versions; /* {name: share}, or NULL; borrowed from the request */
    json_t *tags;             /* {name: [values]}; NULL: none; borrowed */
    json_t *telemetry;        /* {name: [from, to]}; borrowed, or its own */
    json_t *own_telemetry;
    double failure_rate, rejected_rate, cut_rate, hang_rate, vanish_rate;
    double duration;   /* the median */
    double *durations; /* measured ones, ascending, instead */
    size_t duration_count;
};

/* False and *error (the caller's). `given`: there is a list of devices, `fleet` is not looked at. */
bool wishes_read(struct wishes *wishes, json_t *fleet, json_t *assume, bool given, char **error)
    __attribute__((warn_unused_result));
void wishes_free(struct wishes *wishes);

/* Reads the number `name` of the object, or `otherwise`. False and *error: it is none, or outside. `path`
 * stands before the name in the error. */
bool wishes_number(json_t *object, const char *path, const char *name, double least, double most,
                   double otherwise, double *value, char **error) __attribute__((warn_unused_result));
