-- What of the fleet needs somebody's attention, the worst first: {kind, count, text, filter?, rollout_id?, policy?}.

local count_words = require "lib.count"

local attention = {}

local WEAK, DAY = 20, 86400 -- percent of battery; seconds
local PARTS = { "postgresql", "redis", "mqtt", "scripts" }
local NAMES = { postgresql = "PostgreSQL", redis = "Redis", mqtt = "the MQTT broker", scripts = "the scripts" }

local SHOWN = json.record("kind", "count", "text", "filter", "rollout_id", "policy")

-- What to call them where there is one, and where there are more.
local function add(list, kind, count, one, many, filter)
  if count == 0 then return end
  list[#list + 1] = SHOWN {
    kind = kind, count = count, filter = filter, text = count == 1 and "1 device " .. one or ("%s devices %s"):format(count_words(count), many),
  }
end

function attention.parts(list, ready)
  for _, part in ipairs(PARTS) do
    if not ready[part] then
      list[#list + 1] = SHOWN { kind = "part_down", count = 1, text = NAMES[part] .. " cannot be reached" }
    end
  end
end

local sound = {} -- by revision: whether the policy loads

-- Policies among the files that do not load. What a busy machine failed to load is not kept.
local function broken()
  local found, now_sound = {}, {}
  for _, file in ipairs(policies.files()) do
    local problem
    if not sound[file.revision] then
      for _, entry in ipairs(policies.load(file.name, file.source).problems) do
        problem = problem or entry.severity == "error" and entry or nil
      end
    end
    if problem then
      found[file.name] = ("does not load: line %d: %s"):format(problem.line, problem.message)
    else
      now_sound[file.revision] = true
    end
  end
  sound = now_sound
  return found
end

-- noted: rows of fleet_policies_noted
function attention.policies(list, noted)
  local found, names = broken(), {}
  for _, row in ipairs(noted) do found[row.name] = found[row.name] or row.note end
  for name in pairs(found) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    list[#list + 1] = SHOWN {
      kind = "policy_problem", count = 1, policy = name, text = ("Policy %s: %s"):format(name, found[name]),
    }
  end
end

-- rows: of fleet_rollouts_open. A person's pause has no verdict of the policy.
function attention.rollouts(list, rows)
  for _, row in ipairs(rows) do
    if row.state == "paused" and row.verdict == "pause" then
      list[#list + 1] = SHOWN {
        kind = "rollout_paused", count = 1, rollout_id = row.id, policy = row.policy,
        text = ("Rollout %s is paused: %s"):format(row.name, row.reason or "its policy says so"),
      }
    end
  end
end

-- devices: of fleet_devices; failed: how many devices' newest update ended badly
function attention.devices(list, devices, failed)
  add(list, "update_failed", failed, "failed its last update", "failed their last update", { update = "failed" })
  add(list, "went_silent", devices.silent, "went silent within a day", "went silent within a day",
    { online = false, heard_within = DAY })
  add(list, "battery_low", devices.weak, ("has less than %d %% of battery"):format(WEAK),
    ("have less than %d %% of battery"):format(WEAK), { battery_below = WEAK })
end

return attention
