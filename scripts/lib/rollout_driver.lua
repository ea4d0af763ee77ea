-- One look at every rollout that is running or rolling back: what happened, whom to offer the firmware now, and whether
-- its stage is over.

local news = require "lib.rollout_news"
local policy = require "lib.policy_source"
local update = require "lib.update"

local LEASE, RENEW = 3, 1      -- seconds
local BATCH = 500              -- devices decided at once
local FOLD, ROUNDS = 2000, 20
local ENTERED, CANCELLED = 5000, 2000
local FIRST_LOOK, LOOK = 1000, 50000 -- offers after which the planner looks at what tables have become
local WATCH = 30               -- seconds between comparisons of updated devices with the others,
local WATCHED = 1000           -- and no more devices a second than these: each is looked at
local TICK = 5                 -- seconds after which other rollouts have their turn

local UNDER_WAY = { pending = true, offered = true, downloading = true, installing = true }

local driver = {}

-- The lease -------------------------------------------------------------------------------------------------------

-- Of all generations of scripts in this process one drives at a time: no task runs beside itself (lua/tasks).
local function drive()
  local row = db.one("rollout_drive", server.instance(), LEASE, server.ready().mqtt)
  return row and { fence = row.fence, at = now(), reports = row.reports, changes = row.changes }
end

local function keep(lease)
  if now() - lease.at < RENEW then return true end
  local renewed = drive()
  if not renewed or renewed.fence ~= lease.fence then return false end
  lease.at = renewed.at
  return true
end

-- What happened ---------------------------------------------------------------------------------------------------

-- Runs a statement that takes `most` at once until it finds fewer, or others shall have their turn. How many it found.
local function drain(lease, statement, most, ...)
  local all, ends = 0, now() + TICK
  repeat
    local part = db.one(statement, lease.fence, ...)
    if part.updates then events.updates(part.updates) end
    all = all + part.n
  until part.n < most or now() > ends or not keep(lease)
  return all
end

local function fold(lease)
  if lease.reports then drain(lease, "rollout_fold_reports", FOLD, FOLD) end
  if lease.changes then drain(lease, "rollout_fold_devices", FOLD, FOLD) end
end

-- Ends what aborted rollouts have under way.
local function cancel(lease)
  while update.end_aborted(lease.fence, CANCELLED) and keep(lease) do end
end

local function time_out(lease, rollout)
  local plan = rollout.plan
  for _ = 1, ROUNDS do
    local ended = db.all("rollout_time_out", lease.fence, rollout.id, plan.timeout or config["update.timeout"],
      plan.wait or config["update.offer_timeout"], BATCH)
    events.updates(ended)
    if #ended > 0 then offers.poke() end
    if #ended < BATCH then return end
  end
end

-- Has the planner look at what the tables have become: at each stage, and after ever more offers.
local unseen, seen_at = 0, FIRST_LOOK

local function look(offered)
  unseen = offered and unseen + offered or 0
  if not offered then
    seen_at = FIRST_LOOK
  elseif unseen < seen_at then
    return
  else
    unseen, seen_at = 0, math.min(seen_at * 4, LOOK)
  end
  db.run("rollout_analyze")
end

-- What a policy sees ----------------------------------------------------------------------------------------------

local function stage_of(rollout) return rollout.plan.stages[rollout.stage + 1] end

local function seen_rollout(rollout)
  local stage = stage_of(rollout)
  return {
    id = rollout.id, name = rollout.name, firmware = rollout.firmware, stage = stage and stage.name,
    soak = stage and stage.soak or 0, params = rollout.params, age = rollout.age,
    resumed = rollout.resumed,
  }
end

local function seen_stats(lease, rollout)
  local stats, succeeded, failed = rollouts.stats(rollout.plan, rollout.stage, rollout.stage_age or 0,
    rollout.counts or {}, rollout.known_succeeded, rollout.known_failed)
  if succeeded ~= rollout.known_succeeded or failed ~= rollout.known_failed then
    db.run("rollout_know", lease.fence, rollout.id, succeeded, failed)
  end
  stats.control = rollout.control.control or { devices = 0, vanished = 0 }
  stats.updated = rollout.control.updated or { devices = 0, vanished = 0 }
  return stats
end

-- Whom to offer it ------------------------------------------------------------------------------------------------

local function no_room()
  return "hold", "the device is offline, and as many offers as may be wait for such already", 600, true
end

-- A verdict of the driver itself, before any policy is asked; nil where there is none.
local function refusal(device)
  if device.other_update then
    return "hold", ("update %d of the device is under way"):format(device.other_update), 10
  end
  if device.other_rollout then
    return "hold", ("rollout %d, which comes first, wants the device"):format(device.other_rollout), 30
  end
  if device.via and not device.step then
    return "hold", ("the policy updates by way of version %s, which is not here"):format(device.via), 60
  end
  if device.via and not device.firmware_version then
    return "hold", "the policy updates in steps, and the device has not told its version", 600, true
  end
  if device.no_room then return no_room() end
end

-- Decisions on the candidates, and those among them that are offers: {device, decision}.
local function ask(lease, rollout, candidates)
  local decisions, asked, texts, offered = {}, {}, {}, {}
  for _, device in ipairs(candidates) do
    local verdict, reason, again, asleep = refusal(device)
    if verdict then
      decisions[#decisions + 1] = {
        device_id = device.id, verdict = verdict, reason = reason, again = again, asleep = asleep,
      }
    else
      asked[#asked + 1], texts[#texts + 1] = device, device.device
    end
  end
  if #asked == 0 then return decisions, offered end
  local at = math.floor(now())
  local answers = policy.admit(lease, rollout, seen_rollout(rollout), at, texts)
  for i, device in ipairs(asked) do
    local answer = answers[i]
    local decision = {
      device_id = device.id, verdict = answer.verdict, reason = answer.reason, line = answer.line,
      file = answer.file, device = device.device, at = at,
    }
    if answer.verdict == "hold" then
      local same = device.verdict == answer.verdict and device.reason == answer.reason
      decision.again = answer.again or rollouts.ask_again(same and device.asked or 0)
    elseif answer.verdict == "offer" then
      decision.asleep = not device.online
      offered[#offered + 1] = { device = device, decision = decision, image = device.step or rollout.image }
    end
    decisions[#decisions + 1] = decision
  end
  return decisions, offered
end

-- Where devices are to go back to. One whose image before is not in the store has to stay as it is.
local function ask_back(_, rollout, candidates)
  local ids, previous, decisions, offered = {}, {}, {}, {}
  for i, device in ipairs(candidates) do ids[i] = device.id end
  for _, row in ipairs(db.all("rollout_previous", rollout.id, json.array(ids))) do previous[row.device_id] = row end
  for _, device in ipairs(candidates) do
    local decision = { device_id = device.id, verdict = "offer", reason = "the rollout is rolled back" }
    local back = previous[device.id]
    if device.other_update then
      decision.verdict, decision.again = "hold", 10
      decision.reason = ("update %d of the device is under way"):format(device.other_update)
    elseif not (back and back.image) then
      decision.verdict = "skip"
      decision.reason = ("the image it ran before%s is not known here"):format(
        back and back.from_version and ", version " .. back.from_version .. "," or "")
    elseif device.no_room then
      decision.verdict, decision.reason, decision.again, decision.asleep = no_room()
    else
      decision.asleep = not device.online
      offered[#offered + 1] = { device = device, decision = decision, image = back.image, action = "rollback" }
    end
    decisions[#decisions + 1] = decision
  end
  return decisions, offered
end

-- Gives each decision to offer its update with the signed offer.
local function sign(rollout, offered)
  for i, row in ipairs(db.all("update_ids", #offered)) do
    local device, decision, image = offered[i].device, offered[i].decision, offered[i].image
    local action = offered[i].action or "install"
    local payload, expires = update.offer(row.id, device.id, image, action)
    decision.retry_after = rollouts.retry(rollout.plan, device.attempts + 1)
    decision.update = {
      id = row.id, action = action, firmware_id = image.id, version = image.version,
      from_version = device.firmware_version, from_elf_sha256 = device.elf_sha256, payload = payload,
      expires_at = expires,
    }
  end
end

local images = {} -- by firmware's id: what an offer says of it never changes

local function image_of(rollout)
  local id = rollout.firmware_id
  images[id] = images[id] or db.all("update_firmware", id, nil, nil)[1]
  return images[id]
end

local function under_way(rollout)
  local n, asleep = 0, 0
  for _, count in ipairs(rollout.counts or {}) do
    if UNDER_WAY[count[2]] then
      n = n + count[6]
      if count[4] then asleep = asleep + count[6] end
    end
  end
  return n, asleep
end

-- The candidates that can still have the firmware; of the others the next tick takes in what happened.
local function sound(lease, candidates)
  local fit, unfit = {}, {}
  for _, device in ipairs(candidates) do
    if device.unfit then unfit[#unfit + 1] = device.id else fit[#fit + 1] = device end
  end
  if #unfit > 0 then db.run("rollout_look_again", lease.fence, json.array(unfit)) end
  return fit
end

-- Offers as much as rate and concurrency allow, a batch at a time.
local function offer(lease, rollout)
  local plan, busy, asleep = rollout.plan, under_way(rollout)
  local credit, elapsed, free = rollout.credit, rollout.uncredited, 0
  local ends = now() + TICK
  rollout.image = rollout.state == "running" and image_of(rollout)
  repeat
    free, credit = rollouts.budget(plan, rollout.stage, elapsed, busy, credit)
    elapsed = 0
    if free == 0 then return end
    local sleepers = plan.concurrency and math.max(plan.concurrency // 2 - asleep, 0) or BATCH
    local candidates = db.all("rollout_candidates", rollout.id, math.min(free, BATCH), plan.spread and
      plan.spread.concurrency, sleepers)
    if #candidates == 0 then return end
    candidates = sound(lease, candidates)
    local decisions, offered = (rollout.state == "running" and ask or ask_back)(lease, rollout, candidates)
    sign(rollout, offered)
    table.sort(decisions, function(a, b) return a.device_id < b.device_id end)
    local left = plan.rate and credit - #offered or credit
    local written = db.one("rollout_apply", lease.fence, rollout.id, rollout.state, left, rollout.policy,
      rollout.revision, json.array(decisions), events.wanted())
    if written.driven == 0 then return end
    news.decided(written.decisions or {})
    if written.offered > 0 then
      events.updates(written.updates)
      offers.poke()
      look(written.offered)
    end
    busy, credit = busy + written.offered, left
  until #candidates < BATCH or now() > ends or not keep(lease)
end

-- Whether its stage is over -----------------------------------------------------------------------------------------

local BECOMES = { pause = "paused", abort = "aborted", rollback = "rolling_back" }

local function enter(lease, rollout, reason)
  local stage = rollout.plan.stages[rollout.stage + 2]
  db.run("rollout_enter_stage", lease.fence, rollout.id, rollout.stage, stage.share, reason)
  drain(lease, "rollout_enter_devices", ENTERED, rollout.id, ENTERED)
  look()
end

local function decide(lease, rollout, answer, inputs, state)
  news.decided(db.all("rollout_decide", lease.fence, rollout.id, rollout.state, rollout.stage, answer.verdict, answer.reason,
    answer.line, rollout.policy, rollout.revision, inputs, state, answer.file))
  if state == "aborted" then cancel(lease) end
end

local function advance(lease, rollout)
  local stats, seen, at = seen_stats(lease, rollout), seen_rollout(rollout), math.floor(now())
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
    drain(lease, "rollout_turn_back", CANCELLED, rollout.id, CANCELLED)
    offers.poke()
  elseif rollout.stage < 0 then
    enter(lease, rollout, "begins")
  elseif drain(lease, "rollout_enter_devices", ENTERED, rollout.id, ENTERED) == 0 then -- else its counts are no more so
    if (rollout.control_age or math.huge) >= watch_every(rollout) then
      db.run("rollout_watch", lease.fence, rollout.id, rollout.plan.vanish_after)
    end
    offer(lease, rollout);
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
    if not keep(lease) then break end
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
  local lease = drive()
  if not lease then return end
  local ok, failed = pcall(drive_all, lease)
  if not ok or failed then db.run("rollout_leave", lease.fence) end
  if not ok then error(failed, 0) end
end

return driver
