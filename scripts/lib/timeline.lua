-- Says in words what happened to a device: rows of the statement timeline_of_device.

local MOST = 30 -- events that are kept of a device within an hour (migration 0006)

local timeline = {}

local SHOWN = json.record("at", "kind", "text", "data")

local SAY = {}

function SAY.registered() return "registered" end

function SAY.online() return "came online" end

function SAY.offline() return "went offline" end

function SAY.restart(data) return ("restarted (%s)"):format(data.reset_reason:gsub("_", " ")) end

function SAY.firmware(data)
  local version, was = data.version, data.was
  if version == was then return ("runs another image of %s"):format(version or "an untold version") end
  return was and ("runs %s (was %s)"):format(version, was) or ("runs %s"):format(version)
end

function SAY.update(data)
  return ("%s to %s: %s%s"):format(data.action == "rollback" and "rollback" or "update", data.version,
    data.state:gsub("_", " "), data.reason and " (" .. data.reason .. ")" or "")
end

function SAY.decision(data)
  return ("rollout %d: %s%s"):format(data.rollout_id, data.verdict, data.reason and " (" .. data.reason .. ")" or "")
end

local PERSON = {
  ["device.delete"] = "deleted the device",
  ["device.credentials"] = "gave it new credentials",
}

function SAY.person(data)
  local what = PERSON[data.action]
  if data.action == "device.change" then
    local names = {}
    for name in pairs(data.after or {}) do names[#names + 1] = name == "user_id" and "owner" or name:gsub("_", " ") end
    table.sort(names)
    what = "changed " .. table.concat(names, ", ")
  end
  return ("%s %s"):format(data.user or "somebody", what or data.action)
end

-- The words for an event; its kind itself where there are none. nth: its number in the hour, of those that are bounded.
function timeline.text(kind, data, nth)
  local say = SAY[kind]
  local text = say and say(data) or kind
  return nth == MOST and text .. ", and what followed within the hour is too much to be kept" or text
end

function timeline.shown(row)
  return SHOWN { at = row.at, kind = row.kind, text = timeline.text(row.kind, row.data, row.nth), data = row.data }
end

return timeline
