/* A rollout in virtual time: what a policy would do with a fleet. Goes by the same arithmetic as the driver
 * of rollouts (fleet/rollout.h) and by its rules: who is asked when, how much is offered, what is tried
 * again, when a stage is over. No I/O and no clock: the same request has the same answer, to the byte. One
 * thread; in service, in the process of policies (host_simulate).
 *
 * It differs from the driver in this: nothing else updates the devices, none joins or leaves, their tags and
 * telemetry (but for those made up) stay, the broker delivers within a second, and offline devices are
 * noticed at once. While nothing happens `advance` is called every 5 to 30 s instead of each second, and when
 * the soak of a stage ends.
 *
 * Request, JSON; all is optional:
 *   seed      of the world; 1
 *   start     Unix seconds of the beginning, for ctx.now; 1767603600, a Monday, 9:00 UTC
 *   days      after which it ends in any case; 14
 *   resumes   how many pauses somebody resumes, at once; 0
 *   rollout   {id, name, params, firmware {id, version, chip, size}}: as policies see it. The id fixes which
 *             devices a share takes; the seed, where there is none
 *   defaults  {timeout, wait, vanish_after}: seconds, of the configuration; 900, 604800, 120
 *   fleet     a made-up one, where no devices are given: {devices: 1000, offline_share: 0, sleeping_share: 0,
 *             sleep_period_s: 86400, sleep_awake_s: 600, battery_share: 0.25 of devices that have a battery,
 *             which goes from 100 % to between battery_low: 10 and 100 and back each day, chips: {name:
 * share}, versions: {name: share}, tags: {name: [values]}, telemetry: {name: [from, to]}, drawn anew each
 * hour} assume    {failure_rate: share of devices on which the firmware does not work, rejected_rate: that
 * refuse it, vanish_rate: that fall silent once updated; cut_rate, hang_rate: shares of attempts that break
 * off or fall silent; duration_s: 60, median of an update; durations: measured ones instead}
 *
 * Answer, JSON: outcome (completed, paused, aborted, rolled_back; running: not over by then; reverted: the
 * policy's calls fail), at_s, stage, reason, line, file; timeline and stages: [{at_s, stage, targeted,
 * offered, under_way, succeeded, failed, failure_low, failure_high, verdict, reason, line}], decisions on
 * stages, and how each stage was left, with entered_s, share, soak_s; devices, targeted, counts {state:
 * devices}; excluded and held [{reason, count}]; calls {admit, advance}; seed. Or problems, as host_load()
 * has them. */
#pragma once
#include "base/buffer.h"
#include "policy/policy.h"
#include <stdbool.h>

/* `devices`: JSON objects as policies see them, with "excluded" (why) where they cannot have the firmware;
 * NULL: the request describes a fleet. False: the answer has problems. Appends it. */
bool simulate_run(struct policies *policies, const struct policy_source *source, struct policy_text request,
                  const struct policy_text *devices, size_t count, struct buffer *json);
