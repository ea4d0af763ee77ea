-- Jobs: one action on many devices, in parts. A part and how far the job is by it are one transaction, so that whoever
-- goes on, after a crash too, does nothing twice. A job does what its account may do by the time of each part.

local device = require "lib.device"
local update = require "lib.update"

local job = {}

local PART = { tag = 1000, update = 500, cancel = 500, delete = 500 } -- devices at once
local MOST_REASONS = 50

local GONE = "there is no such device"
local UNDER_WAY = "an update of the device is under way already"

local SHOWN = json.record("id", "action", "state", "total", "done", "changed", "problems", "created_by", "created_at",
  "updated_at")
local PROBLEM = json.record("reason", "count")

function job.shown(row)
  local problems = json.array {}
  for reason, count in pairs(row.problems) do
    problems[#problems + 1] = PROBLEM { reason = reason, count = count }
  end
  table.sort(problems, function(a, b)
    if a.count ~= b.count then return a.count > b.count end
    return a.reason < b.reason
  end)
  return SHOWN {
    id = row.id, action = row.action, state = row.state, total = row.total, done = row.done, changed = row.changed,
    problems = problems, created_by = row.created_by, created_at = row.created_at, updated_at = row.updated_at,
  }
end

-- What is done with the devices `ids` of a part. problem(reason, count) tells with how many nothing was. Returns the ids of
-- those that were changed, and the updates to be told of.
local work = {}

function work.tag(tx, row, ids, problem)
  local most = device.tags.max
  local done = tx.one("job_tag", ids, row.arguments.set or {}, row.arguments.remove or json.array {}, most)
  problem(("the device would have more than %d tags"):format(most), done.too_many)
  return done.ids, {}
end

function work.update(tx, row, ids, problem)
  local image = tx.all("update_firmware", row.arguments.firmware_id, nil, nil)[1]
  if not image then
    problem("the firmware was deleted", #ids)
    return {}, {}
  end
  local found, fit = tx.all("job_update_devices", ids), {}
  problem(GONE, #ids - #found)
  for _, target in ipairs(found) do
    local refusal = update.refusal(target, image)
    if update.runs(target, image) then
      problem("the device runs this image already", 1)
    elseif target.under_way then
      problem(UNDER_WAY, 1)
    elseif refusal then
      problem("the firmware " .. refusal, 1)
    else
      fit[#fit + 1] = target
    end
  end
  if #fit == 0 then return {}, {} end
  local made, violation = update.create(fit, image, tx)
  if not made then error("updates were not made: " .. violation) end -- the firmware is gone: the next try sees that
  problem(UNDER_WAY, #fit - #made)
  local changed = {}
  for i, new in ipairs(made) do changed[i] = new.device_id end
  return changed, made
end

function work.cancel(tx, _, ids, problem)
  local ended, changed = tx.all("job_cancel", ids, "cancelled on request"), {}
  problem("no update of the device is under way", #ids - #ended)
  for i, update_ended in ipairs(ended) do changed[i] = update_ended.device_id end
  return changed, ended
end

function work.delete(tx, _, ids, problem)
  local changed = {}
  for i, gone in ipairs(tx.all("job_delete", ids)) do changed[i] = gone.id end
  problem(GONE, #ids - #changed)
  return changed, {}
end

-- Counts a problem. Reasons name chips and versions, so there may be many.
local function counter(problems)
  local known = 0
  for _ in pairs(problems) do known = known + 1 end
  return function(reason, count)
    if count <= 0 then return end
    if not problems[reason] then
      if known >= MOST_REASONS then reason = "other reasons" end
      known = known + 1
    end
    problems[reason] = (problems[reason] or 0) + count
  end
end

-- Does the next part of a claimed job. Returns the updates to be told of.
local function do_part(tx, row)
  local problems = row.problems
  local problem = counter(problems)
  if not row.account then
    problem("the account that asked for this was deleted", row.total - row.done)
    tx.run("job_advance", row.id, nil, row.total - row.done, 0, problems, true)
    return {}
  end
  tx.one("actor", { user = row.account, via = "http", address = row.address, request_id = row.request_id })
  local most, part = PART[row.action], nil
  if row.filter then
    part = tx.one("job_part_found", row.filter, row.account, row.operator, row.last, row.newest, most)
  else
    part = tx.one("job_part_listed", row.id, row.account, row.operator, row.last, most)
  end
  problem(GONE, part.n - #part.ids)
  local changed, updates = {}, {}
  if #part.ids > 0 then changed, updates = work[row.action](tx, row, part.ids, problem) end
  tx.run("job_advance", row.id, part.last, part.n, #changed, problems, part.n < most)
  return updates
end

-- Does a part of the job whose turn it is. Whether there was one.
function job.go_on()
  local claimed
  local ok, updates = pcall(db.transaction, function(tx)
    claimed = tx.one("job_claim")
    return claimed and do_part(tx, claimed)
  end)
  if not ok then
    if claimed then db.run("job_wait", claimed.id) end
    error(updates, 0)
  end
  if not claimed then return false end
  update.tell(updates)
  if claimed.action == "delete" then offers.poke() end
  return true
end

return job
