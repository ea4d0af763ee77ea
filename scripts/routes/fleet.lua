-- The fleet at a glance.

local attention = require "lib.attention"
local kept = require "lib.kept"
local rollout = require "lib.rollout"

local VERSIONS, ROLLOUTS = 100, 100
local kept_summaries = kept { fresh = 5, usable = 30, most = 100 } -- who looks each few seconds waits for none

local SUMMARY = json.record("devices", "versions", "updates", "rollouts", "attention")
local DEVICES = json.record("total", "online", "offline", "never_seen")
local VERSION = json.record("chip", "version", "firmware_id", "devices", "online")
local UPDATES = json.record("under_way", "failed", "last_day")
local LAST_DAY = json.record("succeeded", "failed", "rolled_back", "rejected", "timed_out", "cancelled")
local ENDED = { "succeeded", "failed", "rolled_back", "rejected", "timed_out", "cancelled" }

-- Counting takes a while in a large fleet: on a connection of its own.
local function count(account, operator)
  return db.transaction(function(tx)
    return {
      devices = tx.one("fleet_devices", account, operator, VERSIONS),
      updates = operator and tx.one("fleet_updates") or tx.one("fleet_updates_of_user", account),
      rollouts = operator and tx.all("fleet_rollouts_open", ROLLOUTS) or {},
      policies = operator and tx.all("fleet_policies_noted") or {},
    }
  end)
end

local function compute(account, operator)
  local found, needs, versions, last_day = count(account, operator), json.array {}, json.array {}, {}
  attention.parts(needs, server.ready())
  if operator then attention.policies(needs, found.policies) end
  attention.rollouts(needs, found.rollouts)
  attention.devices(needs, found.devices, found.updates.failed)
  for i, row in ipairs(found.devices.versions or {}) do versions[i] = VERSION(row) end
  for _, state in ipairs(ENDED) do last_day[state] = found.updates.last_day and found.updates.last_day[state] or 0 end
  for i, row in ipairs(found.rollouts) do found.rollouts[i] = rollout.shown(row) end
  return SUMMARY {
    devices = DEVICES {
      total = found.devices.total, online = found.devices.online, offline = found.devices.total - found.devices.online,
      never_seen = found.devices.never_seen,
    },
    versions = versions,
    updates = UPDATES {
      under_way = found.updates.under_way, failed = found.updates.failed, last_day = LAST_DAY(last_day),
    },
    rollouts = json.array(found.rollouts),
    attention = needs,
  }
end

local function summary(req)
  local operator = req.user.role == "operator"
  return 200, kept_summaries(operator and "all" or req.user.id, function() return compute(req.user.id, operator) end)
end

return {
  { method = "GET", path = "/fleet/summary", who = "user", handler = summary },
}
