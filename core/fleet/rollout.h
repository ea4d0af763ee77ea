/* The arithmetic of rollouts, the same for the server and for `otad simulate`: who is in a share, how many
 * may be offered now, what the counts say, what happens where a policy does not say. No state, no clock, no
 * I/O.
 *
 * Times are seconds, shares and rates 0..1. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ROLLOUT_MOST_STAGES = 100, ROLLOUT_STAGE_NAME_LEN = 64 }; /* as policies may declare */

struct rollout_plan { /* what a policy declares, defaults filled in */
    struct rollout_stage {
        char name[ROLLOUT_STAGE_NAME_LEN + 1];
        double share, soak;
    } stages[ROLLOUT_MOST_STAGES];
    int stage_count;
    double per_minute, growth; /* offers; per_minute 0: no limit */
    int concurrency;           /* 0: no limit */
    double timeout;            /* silence once a device took its offer */
    double wait;               /* how long an offer waits to be taken */
    int retry_max;
    double retry_after; /* doubles with each */
    double max_failure; /* of the default advance */
    double vanish_after;
};

enum rollout_device_state {
    ROLLOUT_WAITING,
    ROLLOUT_HELD,
    ROLLOUT_PENDING, /* .. INSTALLING: under way */
    ROLLOUT_OFFERED,
    ROLLOUT_DOWNLOADING,
    ROLLOUT_INSTALLING,
    ROLLOUT_SUCCEEDED,
    ROLLOUT_VANISHED,
    ROLLOUT_FAILED,
    ROLLOUT_ROLLED_BACK,
    ROLLOUT_REJECTED,
    ROLLOUT_TIMED_OUT,
    ROLLOUT_CANCELLED,
    ROLLOUT_SKIPPED,
    ROLLOUT_EXCLUDED,
    ROLLOUT_DEVICE_STATES
};
extern const char *const rollout_device_states[ROLLOUT_DEVICE_STATES];
/* -1: no such state */
int rollout_device_state(const char *name);

struct rollout_tally {                                            /* how many devices are in each state */
    int all[ROLLOUT_DEVICE_STATES], stage[ROLLOUT_DEVICE_STATES]; /* of the rollout; of its stage's share */
    int retries; /* of the stage: ended badly, will be asked again */
    int idle;    /* of the stage, among what is not done: held, also when tried again, or with an offer that
                    waits because they are offline */
    int unheard; /* of the rollout, among timed_out: never took the offer, which says nothing of the firmware
                  */
};

/* Adds `n` devices of one kind (a row of rollout_counts). `retry`: ended badly, will be asked again; `asleep`
 * with it: the policy holds it. */
void rollout_count(struct rollout_tally *tally, enum rollout_device_state state, bool in_stage, bool asleep,
                   bool retry, int n);
int rollout_under_way(const struct rollout_tally *tally); /* of the rollout */

/* What a person knew who resumed the rollout: how many had succeeded and failed by then. Zero: nobody did;
 * below zero: somebody just has, and the next rollout_stats() says how many. */
struct rollout_known {
    int succeeded, failed;
};

struct rollout_stats { /* `stats` of a policy's advance */
    int targeted;      /* in the stage's share, without those excluded */
    int offered, under_way, ended, succeeded, failed, vanished;
    double failure_rate, failure_low, failure_high;
    struct {
        int ended, succeeded, failed; /* ended: those two */
        double failure_rate, failure_low, failure_high;
    } since_resume; /* what ended since; all, where nobody resumed the rollout */
    bool stage_done;
};

/* Compares versions as version_rank in SQL does: by up to six numbers at the beginning. INT_MIN: one of them
 * does not begin like a version. */
int rollout_compare_versions(const char *a, const char *b);

/* Position of a device in its rollout: the first 32 bits of SHA-256 of "<rollout>:<device>" (as function
 * rollout_bucket in SQL). A share takes the devices with the smallest ones. */
uint32_t rollout_bucket(int64_t rollout, int64_t device);

/* The bounds of the Wilson score interval at 95 % for `hits` of `n` (E. B. Wilson, JASA 22, 1927). n = 0: 0
 * and 1. */
void rollout_wilson(int hits, int n, double *low, double *high);

/* `stage_age`: seconds. A stage is done when none of its devices waits, is held, is under way, or will be
 * tried again. But after its soak a stage waits no longer for devices that are held or asleep, once at least
 * half of those not skipped have ended; these are asked on, beside later stages. The last stage is the whole
 * rollout and waits for all.
 *
 * `known` follows: one that had failed and is tried again is no longer known to have failed. */
void rollout_stats(const struct rollout_plan *plan, int stage, double stage_age,
                   const struct rollout_tally *tally, struct rollout_known *known,
                   struct rollout_stats *stats);

/* Adds to `credit` what `elapsed` seconds allow in `stage`, and returns how many may be offered now. The
 * caller takes what it offered from the credit. Credit is never more than that of five seconds, but one offer
 * at least. */
int rollout_budget(const struct rollout_plan *plan, int stage, double elapsed, int under_way, double *credit);

/* Seconds until a device that ended badly after `attempts` offers is asked again; below 0: not again. */
double rollout_retry(const struct rollout_plan *plan, int attempts);

/* Seconds after its update ended well in `stage` within which a device must fall silent to count as vanished:
 * the soak, but an hour at least. Later on it may be switched off, or sleep, as others do. */
double rollout_watched(const struct rollout_plan *plan, int stage);

/* Seconds until a device whose verdict "hold" was given `asked` times in a row is asked again. */
double rollout_ask_again(int asked);

/* What happens where the policy has no `advance` of its own: pause above max_failure (by what ended since
 * somebody resumed the rollout), go on when done and soaked. Returns the verdict, a constant; `reason` gets
 * words. */
const char *rollout_default_advance(const struct rollout_plan *plan, const struct rollout_stats *stats,
                                    int stage, double stage_age, char *reason, size_t size);
