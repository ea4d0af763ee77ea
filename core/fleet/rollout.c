#include "fleet/rollout.h"
#include <limits.h>
#include <math.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MINIMUM_SAMPLES = 20 };

const char *const rollout_device_states[ROLLOUT_DEVICE_STATES] = {"waiting",     "held",        "pending",
                                                                  "offered",     "downloading", "installing",
                                                                  "succeeded",   "vanished",    "failed",
                                                                  "rolled_back", "rejected",    "timed_out",
                                                                  "cancelled",   "skipped",     "excluded"};

int rollout_device_state(const char *name)
{
    for (int i = 0; i < ROLLOUT_DEVICE_STATES; i++) {
        if (strcmp(rollout_device_states[i], name) == 0)
            return i;
    }
    return -1;
}

void rollout_count(struct rollout_tally *tally, enum rollout_device_state state, bool in_stage, bool asleep,
                   bool retry, int n)
{
    bool under_way = state >= ROLLOUT_PENDING && state <= ROLLOUT_INSTALLING;
    tally->all[state] += n;
    if (state == ROLLOUT_TIMED_OUT && asleep && !retry)
        tally->unheard += n;
    if (!in_stage)
        return;
    tally->stage[state] += n;
    if (retry)
        tally->retries += n;
    if (state == ROLLOUT_HELD || (asleep && (under_way || retry)))
        tally->idle += n;
}

enum { RANKS = 6 };

/* How many numbers the version begins with. */
static int rank_version(const char *version, long ranks[RANKS])
{
    int n = 0;
    for (version += *version == 'v'; n < RANKS && *version >= '0' && *version <= '9'; n++) {
        char *end;
        ranks[n] = strtol(version, &end, 10);
        if (*end != '.')
            return n + 1;
        version = end + 1;
    }
    return n;
}

int rollout_compare_versions(const char *a, const char *b)
{
    long first[RANKS], second[RANKS];
    int n = rank_version(a, first), m = rank_version(b, second);
    if (n == 0 || m == 0)
        return INT_MIN;
    for (int i = 0; i < n && i < m; i++) {
        if (first[i] != second[i])
            return first[i] < second[i] ? -1 : 1;
    }
    return (n > m) - (n < m);
}

uint32_t rollout_bucket(int64_t rollout, int64_t device)
{
    char text[48];
    unsigned char hash[crypto_hash_sha256_BYTES];
    int len = snprintf(text, sizeof(text), "%lld:%lld", (long long)rollout, (long long)device);
    crypto_hash_sha256(hash, (const unsigned char *)text, (unsigned long long)len);
    return (uint32_t)hash[0] << 24 | (uint32_t)hash[1] << 16 | (uint32_t)hash[2] << 8 | hash[3];
}

void rollout_wilson(int hits, int n, double *low, double *high)
{
    static const double z = 1.959963984540054;
    if (n <= 0) {
        *low = 0;
        *high = 1;
        return;
    }
    double p = (double)hits / n, zz = z * z / n;
    double middle = (p + zz / 2) / (1 + zz);
    double half = z * sqrt(p * (1 - p) / n + zz / (4 * n)) / (1 + zz);
    *low = hits == 0 ? 0 : fmax(middle - half, 0);
    *high = hits == n ? 1 : fmin(middle + half, 1);
}

static int sum(const int *counts, enum rollout_device_state from, enum rollout_device_state to)
{
    int n = 0;
    for (int i = (int)from; i <= (int)to; i++)
        n += counts[i];
    return n;
}

int rollout_under_way(const struct rollout_tally *tally)
{
    return sum(tally->all, ROLLOUT_PENDING, ROLLOUT_INSTALLING);
}

static bool stage_done(const struct rollout_plan *plan, int stage, double stage_age,
                       const struct rollout_tally *tally, int targeted)
{
    int open = sum(tally->stage, ROLLOUT_WAITING, ROLLOUT_INSTALLING) + tally->retries;
    if (stage < 0)
        return false;
    if (open == 0)
        return true;
    return stage < plan->stage_count - 1 && stage_age >= plan->stages[stage].soak && open == tally->idle &&
           open * 2 <= targeted - tally->stage[ROLLOUT_SKIPPED];
}

/* What is known by now of `known`; returns how many of `n` are not. */
static int beyond(int *known, int n)
{
    if (*known < 0 || *known > n)
        *known = n;
    return n - *known;
}

static double rate_of(int failed, int ended)
{
    return ended > 0 ? (double)failed / ended : 0;
}

void rollout_stats(const struct rollout_plan *plan, int stage, double stage_age,
                   const struct rollout_tally *tally, struct rollout_known *known,
                   struct rollout_stats *stats)
{
    const int *all = tally->all;
    stats->targeted = sum(tally->stage, ROLLOUT_WAITING, ROLLOUT_SKIPPED);
    stats->under_way = rollout_under_way(tally);
    stats->succeeded = all[ROLLOUT_SUCCEEDED];
    stats->vanished = all[ROLLOUT_VANISHED];
    stats->failed = stats->vanished + all[ROLLOUT_FAILED] + all[ROLLOUT_ROLLED_BACK] +
                    all[ROLLOUT_TIMED_OUT] - tally->unheard;
    stats->ended = sum(all, ROLLOUT_SUCCEEDED, ROLLOUT_CANCELLED);
    stats->offered = stats->under_way + stats->ended;
    int heard = stats->succeeded + stats->failed;
    stats->failure_rate = rate_of(stats->failed, heard);
    rollout_wilson(stats->failed, heard, &stats->failure_low, &stats->failure_high);
    int succeeded = beyond(&known->succeeded, stats->succeeded),
        failed = beyond(&known->failed, stats->failed);
    stats->since_resume.succeeded = succeeded;
    stats->since_resume.failed = failed;
    stats->since_resume.ended = succeeded + failed;
    stats->since_resume.failure_rate = rate_of(failed, succeeded + failed);
    rollout_wilson(failed, succeeded + failed, &stats->since_resume.failure_low,
                   &stats->since_resume.failure_high);
    stats->stage_done = stage_done(plan, stage, stage_age, tally, stats->targeted);
}

int rollout_budget(const struct rollout_plan *plan, int stage, double elapsed, int under_way, double *credit)
{
    int room = plan->concurrency > 0 ? plan->concurrency - under_way : INT32_MAX;
    if (plan->per_minute > 0) {
        double per_second = plan->per_minute / 60 * pow(plan->growth, stage > 0 ? stage : 0);
        *credit = fmin(*credit + elapsed * per_second, fmax(5 * per_second, 1));
        if (*credit < room)
            room = (int)*credit;
    }
    return room > 0 ? room : 0;
}

double rollout_retry(const struct rollout_plan *plan, int attempts)
{
    if (attempts > plan->retry_max)
        return -1;
    return plan->retry_after * pow(2, fmin(fmax(attempts - 1, 0), 10));
}

double rollout_watched(const struct rollout_plan *plan, int stage)
{
    return fmax(stage >= 0 && stage < plan->stage_count ? plan->stages[stage].soak : 0, 3600);
}

double rollout_ask_again(int asked)
{
    return fmin(60 * pow(2, fmin(asked, 4)), 900);
}

const char *rollout_default_advance(const struct rollout_plan *plan, const struct rollout_stats *stats,
                                    int stage, double stage_age, char *reason, size_t size)
{
    double soak = plan->stages[stage].soak;
    int ended = stats->since_resume.ended;
    if ((ended >= MINIMUM_SAMPLES || stats->stage_done) &&
        stats->since_resume.failure_low > plan->max_failure) {
        bool resumed = ended < stats->succeeded + stats->failed;
        snprintf(reason, size, "%d of %d failed%s: surely more than %g %%", stats->since_resume.failed, ended,
                 resumed ? " since it was resumed" : "", plan->max_failure * 100);
        return "pause";
    }
    if (!stats->stage_done) {
        snprintf(reason, size, "not all devices of the stage are done");
        return "hold";
    }
    if (stage_age < soak) {
        snprintf(reason, size, "all devices of the stage are done; it soaks");
        return "hold";
    }
    snprintf(reason, size, "all devices of the stage are done");
    return "advance";
}
