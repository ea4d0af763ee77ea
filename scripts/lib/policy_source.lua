-- Policies as they are in force, and what they declare. PostgreSQL has the sources; each generation of scripts keeps
-- those it has used.

local source = {}

local MOST_FAILED, SAMPLE, SPAN = 0.2, 20, 60 -- a revision is reverted when more of its calls fail, within seconds

local KEPT = 100 -- declarations: sources that are only simulated pass through here, too
local REGROUPED = 5000 -- devices at once

local declared, kept = {}, 0 -- by revision: {source, plan}; of those that load
local calls = {}             -- by revision: {at, all, failed, reason}

local DESCRIBED = 500 -- characters

-- What the comment at the top of a source says, up to its first empty line; nil: there is none.
function source.description(text)
  local lines = {}
  for line in text:gmatch("[^\n]*") do
    local said = line:gsub("^%-+", "")
    if line:sub(1, 2) ~= "--" or not said:find("%S") or said:find("^%[=*%[") then break end
    lines[#lines + 1] = said
  end
  local words = table.concat(lines, " "):gsub("`", ""):gsub("%s+", " "):gsub("^ ", ""):gsub(" $", "")
  local cut = utf8.offset(words, DESCRIBED + 1)
  if cut and cut <= #words then return words:sub(1, cut - 1) .. "…" end
  return words ~= "" and words or nil
end

-- name, revision, source, ... of what is in force; nil: there is no such policy.
function source.active(name)
  return db.one("policy_active", name)
end

-- What the policy declares, defaults filled in; or nil and its problems. Those are not kept: a busy machine is one, too.
function source.plan(policy)
  local known = declared[policy.revision]
  if known then return known.plan, {} end
  local loaded = policies.load(policy.name, policy.source)
  local plan = loaded.declaration
  if plan == json.null then return nil, loaded.problems end
  for name, value in pairs(plan) do
    if value == json.null then plan[name] = nil end
  end
  if kept >= KEPT then declared, kept = {}, 0 end
  if not declared[policy.revision] then kept = kept + 1 end
  declared[policy.revision] = { source = policy.source, plan = plan }
  return plan, loaded.problems
end

-- Whether the policy of a rollout can be asked; brings the rollout to the revision in force. Else the problem, where
-- it is one.
function source.ready(lease, rollout)
  local known = declared[rollout.active]
  if not known then
    local policy = source.active(rollout.policy)
    if not policy or policy.revision ~= rollout.active then return false end -- it changes now: the next tick
    local plan, problems = source.plan(policy)
    if not plan then return false, problems[1] end
    known = declared[rollout.active]
  end
  if rollout.revision ~= rollout.active then
    local part
    repeat
      part = db.one("rollout_regroup", lease.fence, rollout.id, part and part.last or 0, REGROUPED, known.plan)
    until part.n < REGROUPED
    db.run("rollout_replan", lease.fence, rollout.id, rollout.active, known.plan)
    rollout.revision, rollout.plan = rollout.active, known.plan
    rollout.stage = math.min(rollout.stage, #known.plan.stages - 1)
  end
  rollout.source = known.source
  return true
end

-- The rollout as a policy sees it.
function source.seen(rollout)
  local stage = rollout.plan.stages[rollout.stage + 1]
  return {
    id = rollout.id, name = rollout.name, firmware = rollout.firmware, stage = stage and stage.name,
    soak = stage and stage.soak or 0, params = rollout.params, age = rollout.age,
    resumed = rollout.resumed,
  }
end

-- Reverts a revision whose calls fail: nothing is offered while they do, and nobody may be looking.
local function count(lease, rollout, all, failed, reason)
  local seen = calls[rollout.revision]
  if not seen or now() - seen.at > SPAN then
    seen = { at = now(), all = 0, failed = 0 }
    calls[rollout.revision] = seen
  end
  seen.all, seen.failed = seen.all + all, seen.failed + failed
  if seen.failed < SAMPLE or seen.failed <= MOST_FAILED * seen.all then return end
  calls[rollout.revision] = nil
  local note = ("%d of %d calls failed: %s"):format(seen.failed, seen.all, reason)
  local back = db.one("rollout_revert", lease.fence, rollout.policy, rollout.revision, note)
  if back then
    log.error(back.parent and "policy reverted" or "policy holds everything", { policy = rollout.policy,
      from = rollout.revision, to = back.parent, reason = back.note })
  end
end

-- A verdict for each device: {verdict, reason, again?, line?, failed}. devices: JSON texts.
function source.admit(lease, rollout, seen, at, devices)
  if rollout.held then
    local verdicts = {}
    for i = 1, #devices do verdicts[i] = { verdict = "hold", reason = rollout.held } end
    return verdicts
  end
  local verdicts = policies.admit(rollout.policy, rollout.source, json.encode(seen), at, devices)
  local failed, reason = 0, nil
  for _, verdict in ipairs(verdicts) do
    if verdict.failed then failed, reason = failed + 1, verdict.reason end
  end
  count(lease, rollout, #verdicts, failed, reason)
  return verdicts
end

function source.advance(lease, rollout, seen, at, stats)
  if rollout.held then return { verdict = "hold", reason = rollout.held } end
  local verdict = policies.advance(rollout.policy, rollout.source, json.encode(seen), at, json.encode(stats))
  count(lease, rollout, 1, verdict.failed and 1 or 0, verdict.reason)
  return verdict
end

return source
