-- Says in words what a rollout makes of a device: the rule and its line, what it saw, when it is asked again, and what
-- an operator can do.

local rule = require "lib.rule"
local when = require "lib.when"

local STATES = {
  running = "is running", paused = "is paused", rolling_back = "is being rolled back", completed = "is completed",
  aborted = "was aborted", rolled_back = "was rolled back",
}

-- Why the target does not name the device: words, or nil.
local function not_named(row)
  local target = row.target
  if target.chip and row.chip ~= target.chip then
    return ("it wants the chip %s, and the device is %s"):format(target.chip, row.chip or "of unknown chip")
  end
  for name, value in pairs(target.tags or {}) do
    local own = row.tags[name]
    if own ~= value then
      return ("it wants the tag %s = %s, and the device has %s"):format(name, value, own or "no such tag")
    end
  end
  if target.versions then
    return ("it wants the versions %s, and the device runs %s"):format(
      table.concat(target.versions, ", "), row.firmware_version or "a version it has not told")
  end
  return "it is not among the devices that the target names"
end

local function number(value)
  return math.type(value) == "float" and ("%g"):format(value) or tostring(value)
end

-- What the policy saw of the device when it decided.
local function saw(row)
  local device = row.inputs and row.inputs.device
  if not device then return nil end
  local version = device.firmware_version
  if version == json.null then version = nil end -- it has not told
  local parts = { device.online and "online" or "offline", "version " .. (version or "unknown") }
  local names = {}
  for name in pairs(device.telemetry or {}) do names[#names + 1] = name end
  table.sort(names)
  for i = 1, math.min(#names, 8) do
    local value = device.telemetry[names[i]]
    if type(value) ~= "table" and value ~= json.null then parts[#parts + 1] = names[i] .. " " .. number(value) end
  end
  return "It saw the device " .. table.concat(parts, ", ") .. "."
end

local function because(row) return row.reason and (' It said "%s".'):format(row.reason) or "" end

local function next_time(row)
  if row.rollout_state ~= "running" then return nil end
  return row.ask_at and ("It is asked again at %s."):format(when.words(row.ask_at))
end

local SAY = {}

function SAY.waiting(row)
  if row.early then return ("The rollout begins at %s."):format(when.words(row.starts_at)) end
  if row.stage < 0 then return "The rollout is about to begin." end
  if not row.in_stage then
    local stage = row.plan.stages[row.stage + 1]
    return ('The device is not in the share of the stage "%s" (%g %%): its turn comes with a later stage.'):format(
      stage.name, stage.share * 100)
  end
  return "The device waits for its turn: rate and concurrency of the policy allow no more offers at the moment."
end

function SAY.held(row)
  local by = row.line and ("It is held back by %s.%s"):format(rule(row), because(row))
    or ("The device is held back: %s."):format(row.reason or "no reason was given")
  return by, row.asked > 1 and ("It has said so %d times since %s."):format(row.asked, when.words(row.since)) or nil, saw(row),
    next_time(row), "To have it updated all the same, update this device by itself, or change the policy."
end

function SAY.skipped(row)
  local by = row.line and ("It is left out by %s.%s"):format(rule(row), because(row))
    or ("The device is left out: %s."):format(row.reason or "no reason was given")
  return by, saw(row),
    "It is not asked again in this rollout; it can still be updated by itself."
end

function SAY.excluded(row)
  return ("The rollout leaves the device out: it %s."):format(row.reason or "does not fit"),
    "It comes in by itself should that change."
end

local function offered(row)
  return ("It was offered by %s.%s"):format(rule(row), row.verdict == "offer" and because(row) or "")
end

local function under_way(row)
  return offered(row), saw(row),
    row.asleep and "The offer waits: the device is offline." or "The update is under way."
end
SAY.pending, SAY.offered, SAY.downloading, SAY.installing = under_way, under_way, under_way, under_way

local function badly(row)
  return ("The update ended badly at attempt %d: %s."):format(row.attempts, row.reason or "no reason was given"),
    row.ask_at and ("It is tried again at %s."):format(when.words(row.ask_at))
    or "It is not tried again in this rollout; it can still be updated by itself."
end
SAY.failed, SAY.timed_out, SAY.rejected = badly, badly, badly

function SAY.rolled_back(row)
  return ("The device is back on what it ran before: %s."):format(row.reason or "the new image did not come up")
end

function SAY.succeeded(row) return "The device was updated by it.", offered(row), saw(row) end

function SAY.vanished() return "The device was updated by it and has been silent since; that counts as a failure." end

function SAY.cancelled(row) return ("Its update was cancelled: %s."):format(row.reason or "on request") end

local SHOWN = json.record("rollout_id", "name", "rollout_state", "state", "explanation", "verdict", "reason", "policy",
  "revision", "line", "file", "asked", "since", "ask_at", "inputs")

-- row: of rollouts_of_device
return function(row)
  local words = { ("Rollout %d (%s) to version %s %s%s."):format(row.id, row.name, row.firmware.version,
    STATES[row.rollout_state],
    row.rollout_state == "paused" and row.rollout_reason and ": " .. row.rollout_reason or "") }
  if row.rollout_state == "paused" then words[2] = "Nothing is offered until it is resumed." end
  if row.state then
    local said = table.pack(SAY[row.state](row))
    for i = 1, said.n do
      local sentence = said[i]
      if type(sentence) == "string" then words[#words + 1] = sentence end
    end
  else
    words[#words + 1] = ("It does not concern the device: %s."):format(not_named(row))
  end
  return SHOWN {
    rollout_id = row.id, name = row.name, rollout_state = row.rollout_state, state = row.state or "untargeted",
    verdict = row.verdict, reason = row.reason, policy = row.policy, revision = row.revision, line = row.line, file = row.file,
    asked = row.asked, since = row.since, ask_at = row.ask_at, inputs = row.inputs,
    explanation = table.concat(words, " "),
  }
end
