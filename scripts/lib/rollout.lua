-- Rollouts as the API shows them.

local rollout = {}

local UNDER_WAY = { "pending", "offered", "downloading", "installing" }
local STATES = {
  "waiting", "held", "pending", "offered", "downloading", "installing", "succeeded", "vanished", "failed", "rolled_back",
  "rejected", "timed_out", "cancelled", "skipped",
}

local SHOWN = json.record("id", "name", "state", "policy", "revision", "firmware", "target", "params", "priority", "stage",
  "counts", "reason", "starts_at", "created_at", "updated_at")
local FIRMWARE = json.record("id", "version", "chip", "project", "size")
local STAGE = json.record("index", "name", "share", "of", "entered_at")
local COUNTS = json.record("targeted", "excluded", "under_way", table.unpack(STATES))
local RATES = { "ended", "succeeded", "failed", "failure_rate", "failure_low", "failure_high" }
local SINCE = json.record(table.unpack(RATES))
local STATS = json.record("ended", "succeeded", "failed", "failure_rate", "failure_low", "failure_high", "since_resume")

-- Each device is in exactly one state; `targeted` are all but those excluded.
local function counts(found)
  local shown = COUNTS { targeted = 0, excluded = found.excluded or 0, under_way = 0 }
  for _, state in ipairs(STATES) do
    shown[state] = found[state] or 0
    shown.targeted = shown.targeted + shown[state]
  end
  for _, state in ipairs(UNDER_WAY) do shown.under_way = shown.under_way + shown[state] end
  return shown
end

-- row: of rollout_by_id or rollouts_list
function rollout.shown(row)
  local stages = row.plan.stages
  local stage = stages[row.stage + 1]
  return SHOWN {
    id = row.id, name = row.name, state = row.state, policy = row.policy, revision = row.revision,
    firmware = FIRMWARE(row.firmware), target = row.target, params = row.params, priority = row.priority,
    stage = stage and STAGE {
      index = row.stage, name = stage.name, share = stage.share, of = #stages, entered_at = row.stage_entered_at,
    },
    counts = counts(row.counts or {}), reason = row.reason, starts_at = row.starts_at,
    created_at = row.created_at, updated_at = row.updated_at,
  }
end

-- What a policy sees of the rollout's updates; and how many had succeeded and failed when somebody resumed it.
-- row: of rollouts_driven or rollout_measured
function rollout.stats(row)
  return rollouts.stats(row.plan, row.stage, row.stage_age or 0, row.counts or {}, row.known_succeeded, row.known_failed)
end

-- row: of rollout_measured
function rollout.shown_stats(row)
  local stats = rollout.stats(row)
  local shown = STATS { since_resume = SINCE(stats.since_resume) }
  for _, name in ipairs(RATES) do shown[name] = stats[name] end
  return shown
end

return rollout
