-- Policies as they are in force, and what they declare. PostgreSQL has the sources; each generation of scripts keeps
-- those it has used.

local source = {}

local MOST_FAILED, SAMPLE, SPAN = 0.2, 20, 60 -- a revision is reverted when more of its calls fail, within seconds

local REGROUPED = 5000 -- devices at once
local MOST_KEPT = 64 -- sources come from editors, too

local declared, kept = {}, 0 -- by revision: {name, revision, source, plan} or {problems}
local calls = {}             -- by revision: {at, all, failed, reason}

-- name, revision, source, ... of what is in force; nil: there is no such policy.
function source.active(name)
  return db.one("policy_active", name)
end

-- What the policy declares, defaults filled in; or nil and its problems.
function source.plan(policy)
  local known = declared[policy.revision]
  if not known then
    local loaded = policies.load(policy.name, policy.source)
    local plan = loaded.declaration
    if plan == json.null then plan = nil end
    for name, value in pairs(plan or {}) do
      if value == json.null then plan[name] = nil end
    end
    known = { name = policy.name, revision = policy.revision, source = policy.source, problems = loaded.problems,
      plan = plan }
    if kept == MOST_KEPT then declared, kept = {}, 0 end
    declared[policy.revision], kept = known, kept + 1
  end
  return known.plan, known.problems
end

-- Whether the policy of a rollout can be asked; brings the rollout to the revision in force.
function source.ready(lease, rollout)
  local known = declared[rollout.active]
  if not known then
    local policy = source.active(rollout.policy)
    if not policy or policy.revision ~= rollout.active then return false end -- it changes now: the next tick
    source.plan(policy)
    known = declared[rollout.active]
  end
  if not known.plan then
    log.warn("policy does not load", { policy = rollout.policy, revision = rollout.active,
      problem = known.problems[1] and known.problems[1].message })
    return false
  end
  if rollout.revision ~= rollout.active then
    local spread, part = known.plan.spread, nil
    repeat
      part = db.one("rollout_regroup", lease.fence, rollout.id, part and part.last or 0, REGROUPED, spread and spread.tag)
    until part.n < REGROUPED
    db.run("rollout_replan", lease.fence, rollout.id, rollout.active, known.plan)
    rollout.revision, rollout.plan = rollout.active, known.plan
    rollout.stage = math.min(rollout.stage, #known.plan.stages - 1)
  end
  rollout.source = known.source
  return true
end

-- Reverts a revision whose calls fail: nothing is offered while they do, and nobody may be looking.
local function count(rollout, all, failed, reason)
  local seen = calls[rollout.revision]
  if not seen or now() - seen.at > SPAN then
    seen = { at = now(), all = 0, failed = 0 }
    calls[rollout.revision] = seen
  end
  seen.all, seen.failed = seen.all + all, seen.failed + failed
  if seen.failed < SAMPLE or seen.failed <= MOST_FAILED * seen.all then return end
  local note = ("reverted: %d of %d calls failed: %s"):format(seen.failed, seen.all, reason)
  local back = db.one("policy_back", rollout.policy, rollout.revision, note)
  if back then
    log.error("policy reverted", { policy = rollout.policy, from = rollout.revision, to = back.revision,
      reason = reason })
  end
  calls[rollout.revision] = nil
end

-- A verdict for each device: {verdict, reason, again?, line?, failed}. devices: JSON texts.
function source.admit(rollout, seen, at, devices)
  local verdicts = policies.admit(rollout.policy, rollout.source, json.encode(seen), at, devices)
  local failed, reason = 0, nil
  for _, verdict in ipairs(verdicts) do
    if verdict.failed then failed, reason = failed + 1, verdict.reason end
  end
  count(rollout, #verdicts, failed, reason)
  return verdicts
end

function source.advance(rollout, seen, at, stats)
  local verdict = policies.advance(rollout.policy, rollout.source, json.encode(seen), at, json.encode(stats))
  count(rollout, 1, verdict.failed and 1 or 0, verdict.reason)
  return verdict
end

return source
