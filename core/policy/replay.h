/* Recorded decisions once more, with another source: what would differ. Reads what the driver of rollouts
 * kept in table decisions; no I/O and no clock. One thread; in service, in the process of policies
 * (host_replay).
 *
 * Request, JSON: rollouts [{id, name, firmware, params, stages [{name, share, soak}], created_at (Unix
 * seconds)}], which the decisions belong to; most: differences to list, 20.
 * Decisions, JSON objects, oldest first: {id, at, rollout_id, device_id (or null), verdict, reason, line,
 * inputs}; inputs {device, now, stage (an index)} of a device, {stats, rollout, now} of a stage. Those
 * without were the server's own, or a person's, and are only counted.
 *
 * Answer, JSON: decisions, asked; same, differing (another verdict), reworded (another reason alone), failed
 * (calls of the source that did); differences, the first of them, [{id, at, rollout_id, device_id, was, is}]
 * with {verdict, reason, line, file}; changes, those that are alike together, [{was, is, count, stages (how
 * many of them are on a stage), device_ids (the first 10)}], up to 100 kinds; now_offered and
 * no_longer_offered {count, device_ids (the first 200)}: devices for whose last decision that holds. Or
 * problems, as host_load() has them.
 */
#pragma once
#include "base/buffer.h"
#include "policy/policy.h"
#include <stdbool.h>

/* `other`: compare with what that source says instead of what was recorded; or NULL. False: the answer has
 * problems. Appends it. */
bool replay_run(struct policies *policies, const struct policy_source *source,
                const struct policy_source *other, struct policy_text request,
                const struct policy_text *decisions, size_t count, struct buffer *json);
