-- What the live feed hears of rollouts. Costs nothing while nobody listens.

local rollout = require "lib.rollout"

local news = {}

local DECISION = json.record("id", "at", "rollout_id", "device_id", "verdict", "reason", "policy", "revision", "line", "file")

local told = {} -- by rollout's id: how it stood when it was told last

local function topics_of(id) return { "rollout:" .. id, "rollouts" } end

-- How the rollout stands. unless_told: only where that has changed since the last time.
function news.stands(id, unless_told)
  local topics = topics_of(id)
  local row = events.wanted(topics) and db.one("rollout_by_id", id)
  if not row then
    told[id] = nil
    return
  end
  local shown = rollout.shown(row)
  local stands = json.encode { shown.state, row.stage, shown.reason or "", shown.counts }
  if unless_told and told[id] == stands then return end
  told[id] = unless_told and stands or nil
  events.publish("rollout", topics, shown)
end

-- Forgets what was told of rollouts that are not among these.
function news.keep(rollouts)
  local kept = {}
  for _, row in ipairs(rollouts) do kept[row.id] = told[row.id] end
  told = kept
end

-- Decisions that were kept: of the table `decisions`.
function news.decided(list)
  for _, decision in ipairs(list) do
    local topics = { "rollout:" .. decision.rollout_id }
    if decision.device_id and decision.device_id ~= json.null then topics[2] = "device:" .. decision.device_id end
    events.publish("decision", topics, DECISION {
      id = decision.id, at = decision.at, rollout_id = decision.rollout_id, device_id = decision.device_id,
      verdict = decision.verdict, reason = decision.reason, policy = decision.policy, revision = decision.revision,
      line = decision.line, file = decision.file,
    })
  end
end

return news
