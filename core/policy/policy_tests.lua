-- What tests of scripts have besides what scripts have: scripts/README.md, "Tests".
--
-- Runs in the sandbox of the scripts (policy/policy_tests.c), which gives: load(name, source) -> handle, declaration as
-- JSON, or nil, why; ask(handle, admit, subject, rollout, now, seed) -> verdict, reason, line, again, failed, file;
-- wilson(hits, n) -> low, high; seconds(duration); fail(message), an error on the test's line. Returns the globals,
-- and a function that is called before each test.

local load, ask, wilson, seconds, fail = ...

local START = 1767225600 -- 2026-01-01T00:00:00Z, a Thursday

local at, chance

-- Values as texts --------------------------------------------------------------------------------------------------

local function sorted_keys(value)
  local keys = {}
  for key in pairs(value) do keys[#keys + 1] = key end
  table.sort(keys, function(a, b)
    if type(a) == type(b) then return a < b end
    return type(a) == "number"
  end)
  return keys
end

local function show(value, depth)
  if type(value) == "string" then return ("%q"):format(value) end
  if type(value) ~= "table" then return tostring(value) end
  if depth == 0 then return "{...}" end
  local parts = {}
  for _, key in ipairs(sorted_keys(value)) do
    local item = show(value[key], depth - 1)
    parts[#parts + 1] = math.type(key) and item or ("%s = %s"):format(key, item)
  end
  return #parts == 0 and "{}" or "{ " .. table.concat(parts, ", ") .. " }"
end

-- Where two values differ first, as a path; nil: nowhere.
local function difference(a, b, path)
  if type(a) ~= "table" or type(b) ~= "table" then return a ~= b and path or nil, a, b end
  for _, both in ipairs { a, b } do
    for _, key in ipairs(sorted_keys(both)) do
      local where, x, y = difference(a[key], b[key], path .. (math.type(key) and "[%s]" or ".%s"):format(key))
      if where then return where, x, y end
    end
  end
end

local function equal(actual, expected, what)
  local where, got, wanted = difference(actual, expected, "")
  if not where then return end
  local subject = (what and what .. ": " or "") .. (where ~= "" and where:gsub("^%.", "") .. ": " or "")
  fail(("%sexpected %s, got %s"):format(subject, show(wanted, 3), show(got, 3)))
end

-- That a function fails, with an error that contains the text.
local function raises(text, call, ...)
  local ok, message = pcall(call, ...)
  if ok then fail(("expected an error with %q, got none"):format(text)) end
  if not tostring(message):find(text, 1, true) then
    fail(("expected an error with %q, got %q"):format(text, tostring(message)))
  end
end

-- The clock, and chance --------------------------------------------------------------------------------------------

local clock = {}

function clock.set(when)
  local moment = type(when) == "number" and when or time.parse(when)
  if not moment then fail(("clock.set: %s is no time like \"2026-01-01T06:30:00Z\""):format(show(when, 1))) end
  at = moment
end

function clock.advance(duration)
  local span = seconds(duration)
  if not span then fail(("clock.advance: %s is no duration like \"30m\""):format(show(duration, 1))) end
  at = at + span
end

function clock.now() return at end

local function seed(number) chance = number end

-- What policies are asked about ------------------------------------------------------------------------------------

local function fill(what, given, fields)
  local filled = {}
  for name, value in pairs(fields) do filled[name] = value end
  for name, value in pairs(given or {}) do
    if fields[name] == nil then fail(("a %s has no field %s"):format(what, show(name, 1))) end
    filled[name] = value
  end
  return filled
end

local function fill_device(given)
  return fill("device", given, {
    id = 1, device_code = "ESP32-000001", name = "test", chip = "esp32", firmware_version = "1.0.0", tags = {},
    online = true, silent_for = 0, telemetry = {}, attempts = 0,
  })
end

local function fill_stats(given)
  given = given or {}
  local succeeded, failed = given.succeeded or 0, given.failed or 0
  local heard = succeeded + failed
  local low, high = wilson(failed, heard)
  local ended = given.ended or heard
  local offered = given.offered or ended + (given.under_way or 0)
  local filled = fill("stats", given, {
    targeted = math.max(100, offered), offered = offered, under_way = 0, ended = ended, succeeded = succeeded,
    failed = failed, vanished = 0, failure_rate = heard > 0 and failed / heard or 0, failure_low = low,
    failure_high = high, stage_age = 0, stage_done = false, control = { devices = 0, vanished = 0 },
    updated = { devices = 0, vanished = 0 }, since_resume = false,
  })
  local all = {} -- nobody has resumed it
  for _, name in ipairs { "ended", "succeeded", "failed", "failure_rate", "failure_low", "failure_high" } do
    all[name] = filled[name]
  end
  filled.since_resume = fill("stats.since_resume", filled.since_resume or nil, all)
  return filled
end

-- The stage is the first one, unless named; its soak is what the policy declares.
local function fill_rollout(given, stages)
  local fields = {
    id = 1, name = "test", params = {}, age = 0, stage = stages[1].name, soak = false, resumed = false,
    firmware = { id = 1, version = "2.0.0", chip = "esp32", project = "test", size = 1048576 },
  }
  local rollout = fill("rollout", given, fields)
  for i, stage in ipairs(stages) do
    if stage.name == rollout.stage then
      rollout.soak = rollout.soak and seconds(rollout.soak) or stage.soak
      return rollout, i - 1
    end
  end
  local names = {}
  for i, stage in ipairs(stages) do names[i] = stage.name end
  fail(("the policy has no stage %s, but %s"):format(show(rollout.stage, 1), table.concat(names, ", ")))
end

-- Policies ---------------------------------------------------------------------------------------------------------

local function question(handle, plan, is_admit)
  return function(subject, rollout)
    subject = (is_admit and fill_device or fill_stats)(subject)
    local seen, stage = fill_rollout(rollout, plan.stages)
    local verdict, reason, line, again, failed, file = ask(handle, is_admit, json.encode(subject), json.encode(seen),
      at, chance)
    if failed then fail(("%s failed: %s"):format(is_admit and "admit" or "advance", reason)) end
    if verdict == "default" then
      local answer = rollouts.advance(plan, subject, stage)
      return answer.verdict, answer.reason
    end
    return verdict, reason, line, again, file
  end
end

local function policy(what)
  local handle, declaration
  if type(what) == "table" then
    handle, declaration = load(nil, what.source)
  else
    handle, declaration = load(what)
  end
  if not handle then fail(declaration) end
  local plan = json.decode(declaration)
  local shown = {}
  for name, value in pairs(plan) do
    if value == json.null then plan[name] = nil else shown[name] = value end
  end
  shown.admit, shown.advance = question(handle, plan, true), question(handle, plan, false)
  return shown
end

local function reset()
  at, chance = START, 0
end

reset()
return {
  policy = policy, equal = equal, raises = raises, clock = clock, seed = seed,
  device = fill_device, stats = fill_stats,
}, reset
