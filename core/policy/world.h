/* The devices of a simulated rollout: who they are, when they are online, and how an update ends on each.
 * Nothing of it depends on what the policy does or when: each draw is a hash of the seed, the device and what
 * is drawn. So two policies meet the same world, and the same seed gives the same world.
 *
 * Times are whole seconds since the simulation began; WORLD_NEVER is later than all of them.
 *
 * - A device that is offline, and does not sleep by plan, comes back: one that has been silent for s seconds
 *   is still silent t seconds later with probability s / (s + t).
 * - One that sleeps is awake for `sleep_awake_s` in each `sleep_period_s`, and stays awake for an update.
 * - The new firmware works on a device or it does not: `failure_rate` of them boot it and go back, each time.
 *   Downloads that break off (`cut_rate`) or hang (`hang_rate`) are a matter of the attempt. */
#pragma once
#include "base/buffer.h"
#include "fleet/rollout.h"
#include "policy/plan.h"
#include "policy/policy.h"
#include <jansson.h>

#define WORLD_NEVER INT32_MAX

struct world;

struct world_firmware {
    const char *version, *chip;
};

struct world_attempt {
    enum rollout_device_state ends; /* succeeded, failed, rolled_back, rejected; timed_out: falls silent */
    int32_t takes;                  /* seconds from taking the offer; of no meaning for timed_out */
    bool vanishes;                  /* falls silent for good once it has succeeded */
};

/* `fleet` and `assume` are those of the request (policy/simulate.h). `devices` are JSON objects as policies
 * see them, with "excluded" (why it cannot have the firmware) where they are; NULL: a made-up fleet. All of
 * them are borrowed. NULL and *error (the caller's): something is wrong with them. */
struct world *world_new(uint64_t seed, json_t *fleet, json_t *assume, const struct policy_text *devices,
                        size_t count, const struct plan *plan, const struct world_firmware *firmware,
                        char **error) __attribute__((warn_unused_result));
void world_free(struct world *world);

size_t world_count(const struct world *world);
int64_t world_id(const struct world *world, size_t device);
int world_group(const struct world *world, size_t device); /* of those the plan spreads over: 0.. */
int world_groups(const struct world *world);
const char *world_excluded(const struct world *world, size_t device); /* why; NULL: it is not */

int32_t world_wakes(const struct world *world, size_t device, int32_t at);  /* online first, from `at` on */
int32_t world_sleeps(const struct world *world, size_t device, int32_t at); /* offline first */
int32_t world_silent(const struct world *world, size_t device, int32_t at); /* for how long */
void world_vanish(struct world *world, size_t device, int32_t at);

/* How the n-th attempt (from 1) to update it ends; or to bring its firmware before back. */
struct world_attempt world_attempt(const struct world *world, size_t device, int n, bool back);

/* Appends the device as policies see it. */
void world_put_device(const struct world *world, size_t device, int32_t at, int attempts,
                      struct buffer *json);
