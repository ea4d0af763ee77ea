-- Why a device is, or is not, being updated: by its own updates, and by every rollout.

local explain = require "lib.explain"
local explain_member = require "lib.explain_member"

local SHOWN = json.record("device_id", "updating", "explanation", "update", "rollouts")

-- device: of update_device
return function(device)
  local current = db.one("update_under_way", device.id)
  local last = current or db.all("updates_of_device", device.id, 2147483647, 1)[1]
  local offer = current and db.one("update_offer", device.id)
  local rollouts, words = {}, { explain(device, last, offer) }
  for i, row in ipairs(db.all("rollouts_of_device", device.id)) do
    rollouts[i] = explain_member(row)
    words[#words + 1] = rollouts[i].explanation
  end
  return SHOWN {
    device_id = device.id,
    updating = current ~= nil,
    explanation = table.concat(words, "\n"),
    update = last,
    rollouts = json.array(rollouts),
  }
end
