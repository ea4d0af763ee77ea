-- One look at every rollout that is running or rolling back: what happened, whom to offer the firmware now, and whether
-- its stage is over.

local leases = require "lib.rollout_lease"
local news = require "lib.rollout_news"
local offering = require "lib.rollout_offers"
local policy = require "lib.policy_source"
local standing = require "lib.rollout"
local update = require "lib.update"

local FOLD, ENTERED, CANCELLED = 2000, 5000, 2000 -- how many at once
local TIMED_OUT, ROUNDS = 500, 20
local WATCH = 30     -- seconds between comparisons of updated devices with the others,
local WATCHED = 1000 -- and no more devices a second than these: each is looked at

local driver = {}

-- What happened ---------------------------------------------------------------------------------------------------

local function fold(lease)
  if lease.reports then leases.drain(lease, "rollout_fold_reports", FOLD, FOLD) end
  if lease.changes then leases.drain(lease, "rollout_fold_devices", FOLD, FOLD) end
end

-- Ends what aborted rollouts have under way.
local function cancel(lease)
  while update.end_aborted(lease.fence, CANCELLED) and leases.keep(lease) do end
end

local function time_out(lease, rollout)
  local plan = rollout.plan
  for _ = 1, ROUNDS do
    local ended = db.all("rollout_time_out", lease.fence, rollout.id, plan.timeout or config["update.timeout"],
      plan.wait or config["update.offer_timeout"], TIMED_OUT)
    events.updates(ended)
    if #ended > 0 then offers.poke() end
    if #ended < TIMED_OUT then return end
  end
end

-- What a policy sees ----------------------------------------------------------------------------------------------

local function seen_stats(lease, rollout)
  local stats, succeeded, failed = standing.stats(rollout)
  if succeeded ~= rollout.known_succeeded or failed ~= rollout.known_failed then
    db.run("rollout_know", lease.fence, rollout.id, succeeded, failed)
  end
  stats.control = rollout.control.control or { devices = 0, vanished = 0 }
  stats.updated = rollout.control.updated or { devices = 0, vanished = 0 }
  return stats
end

-- Whether its stage is over -----------------------------------------------------------------------------------------

local BECOMES = { pause = "paused", abort = "aborted", rollback = "rolling_back" }

local function enter(lease, rollout, reason)
  local stage = rollout.plan.stages[rollout.stage + 2]
  db.run("rollout_enter_stage", lease.fence, rollout.id, rollout.stage, stage.share, reason)
  leases.drain(lease, "rollout_enter_devices", ENTERED, rollout.id, ENTERED)
  offering.look()
end

local function decide(lease, rollout, answer, inputs, state)
  news.decided(db.all("rollout_decide", lease.fence, rollout.id, rollout.state, rollout.stage, answer.verdict, answer.reason,
    answer.line, rollout.policy, rollout.revision, inputs, state, answer.file))
  if state == "aborted" then cancel(lease) end
end

local function advance(lease, rollout)
  local stats, seen, at = seen_stats(lease, rollout), policy.seen(rollout), math.floor(now())
  local answer = policy.advance(lease, rollout, seen, at, stats)
  if answer.verdict == "default" then answer = rollouts.advance(rollout.plan, stats, rollout.stage) end
  local is_last = rollout.stage + 1 >= #rollout.plan.stages
  local state = BECOMES[answer.verdict] or answer.verdict == "advance" and is_last and "completed" or rollout.state
  decide(lease, rollout, answer, { stats = stats, now = at,
    rollout = { stage = seen.stage, age = seen.age, resumed = seen.resumed } }, state)
  if answer.verdict == "advance" and not is_last then enter(lease, rollout, answer.reason) end
end

-- What is in force does not load, for want of a library file above all: the rollout stays as it is, and says why.
local function unsound(lease, rollout, problem)
  if rollout.state == "paused" then return end
  decide(lease, rollout, {
    verdict = "hold", line = problem.line > 0 and problem.line or nil,
    reason = ("revision %s of the policy does not load: %s"):format(rollout.active:sub(1, 12), problem.message),
  }, nil, rollout.state)
end

-- A rollback goes through the stages as well, each as soon as the one before is done.
local function advance_back(lease, rollout)
  local stats = rollouts.stats(rollout.plan, rollout.stage, math.huge, rollout.counts or {}) -- no stage soaks
  if not stats.stage_done then return end
  if rollout.stage + 1 < #rollout.plan.stages then
    enter(lease, rollout, "all devices of the stage are done")
  else
    decide(lease, rollout, { verdict = "advance", reason = "all devices are done" }, nil, "rolled_back")
  end
end

local function watch_every(rollout)
  local members = 0
  for _, count in ipairs(rollout.counts or {}) do members = members + count[6] end
  return math.max(WATCH, members / WATCHED)
end

local function run(lease, rollout)
  if not rollout.started then return end
  local ready, problem = policy.ready(lease, rollout)
  if problem then unsound(lease, rollout, problem) end
  if not ready then return end
  time_out(lease, rollout)
  if rollout.state == "paused" then return end
  if rollout.state == "rolling_back" and not rollout.turned then
    leases.drain(lease, "rollout_turn_back", CANCELLED, rollout.id, CANCELLED)
    offers.poke()
  elseif rollout.stage < 0 then
    enter(lease, rollout, "begins")
  elseif leases.drain(lease, "rollout_enter_devices", ENTERED, rollout.id, ENTERED) == 0 then -- else its counts are no more so
    if (rollout.control_age or math.huge) >= watch_every(rollout) then
      db.run("rollout_watch", lease.fence, rollout.id, rollout.plan.vanish_after)
    end
    offering.offer(lease, rollout);
    (rollout.state == "running" and advance or advance_back)(lease, rollout)
  end
end

local function drive_all(lease)
  local failed
  fold(lease)
  cancel(lease)
  local driven = db.all "rollouts_driven"
  news.keep(driven)
  for _, rollout in ipairs(driven) do
    if not leases.keep(lease) then break end
    local ok, problem = pcall(run, lease, rollout)
    if not ok then
      failed = true
      log.error("rollout cannot go on", { rollout_id = rollout.id, error = tostring(problem) })
    end
    news.stands(rollout.id, true)
  end
  return failed
end

-- A statement that failed for want of an answer may still be done, later than what the next look reads.
function driver.tick()
  local lease = leases.take()
  if not lease then return end
  local ok, failed = pcall(drive_all, lease)
  if not ok or failed then db.run("rollout_leave", lease.fence) end
  if not ok then error(failed, 0) end
end

return driver
