-- Whom a rollout offers its firmware now: what its policy says of each, and the offers themselves.

local leases = require "lib.rollout_lease"
local news = require "lib.rollout_news"
local policy = require "lib.policy_source"
local update = require "lib.update"

local BATCH = 500                    -- devices decided at once
local FIRST_LOOK, LOOK = 1000, 50000 -- offers after which the planner looks at what tables have become

local UNDER_WAY = { pending = true, offered = true, downloading = true, installing = true }

local offering = {}

-- Has the planner look at what the tables have become: at each stage, and after ever more offers.
local unseen, seen_at = 0, FIRST_LOOK

function offering.look(offered)
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
  local answers = policy.admit(lease, rollout, policy.seen(rollout), at, texts)
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

-- A batch of decisions on whom to ask next, ready to be written; nil where there is nobody, or no room. room: how many
-- have an offer, and of them how many asleep; credit of the rate, seconds since it was counted; the last that was asked.
local function prepare(lease, rollout, room)
  local plan, free = rollout.plan, 0
  free, room.credit = rollouts.budget(plan, rollout.stage, room.elapsed, room.busy, room.credit)
  room.elapsed = 0
  if free == 0 then return end
  local most = math.min(free, BATCH)
  local sleepers = plan.concurrency and math.max(plan.concurrency // 2 - room.asleep, 0) or BATCH
  local candidates = db.all("rollout_candidates", rollout.id, most, plan.spread and plan.spread.concurrency, sleepers,
    room.last.ask_at, room.last.bucket)
  if #candidates == 0 then return end
  room.last = candidates[#candidates]
  local decisions, offered = (rollout.state == "running" and ask or ask_back)(lease, rollout, sound(lease, candidates))
  sign(rollout, offered)
  table.sort(decisions, function(a, b) return a.device_id < b.device_id end)
  room.busy = room.busy + #offered
  for _, offer in ipairs(offered) do
    if offer.decision.asleep then room.asleep = room.asleep + 1 end
  end
  if plan.rate then room.credit = room.credit - #offered end
  return { decisions = decisions, credit = room.credit, is_last = #candidates < BATCH }
end

-- In a transaction, which has a connection of its own: on another one the next batch is read meanwhile.
local function write(lease, rollout, batch)
  local written = db.transaction(function(tx)
    return tx.one("rollout_apply", lease.fence, rollout.id, rollout.state, batch.credit, rollout.policy, rollout.revision,
      json.array(batch.decisions), events.wanted())
  end)
  if written.driven == 0 then return false end
  news.decided(written.decisions or {})
  if written.offered > 0 then
    events.updates(written.updates)
    offers.poke()
    offering.look(written.offered)
  end
  return true
end

local function in_turn(first, second)
  first()
  second()
end

-- Offers as much as rate and concurrency allow. While a batch is written the next one is decided; but how much room
-- groups have is known only once it has been.
function offering.offer(lease, rollout)
  local busy, asleep = under_way(rollout)
  local room = { busy = busy, asleep = asleep, credit = rollout.credit, elapsed = rollout.uncredited,
    last = { ask_at = "-infinity", bucket = -1 } }
  local ends, both = now() + leases.TICK, rollout.plan.spread and in_turn or concurrently
  rollout.image = rollout.state == "running" and image_of(rollout)
  local batch = prepare(lease, rollout, room)
  while batch do
    local goes_on, following
    both(function() goes_on = write(lease, rollout, batch) end, function()
      if not batch.is_last and now() < ends and leases.keep(lease) then following = prepare(lease, rollout, room) end
    end)
    batch = goes_on and following
  end
end

return offering
