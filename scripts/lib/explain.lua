-- Says in words why a device is, or is not, being updated.

local when = require "lib.when"

local function seen(device)
  if not device.last_seen then return "It has never been heard of." end
  if device.status == "online" then return "It is online." end
  return ("It is offline; it was last heard of at %s."):format(when.words(device.last_seen))
end

local UNDER_WAY = {
  pending = function(_, offer)
    if offer and offer.held then
      return "Its offer is held until the device was heard of, for nobody has told its chip."
    end
    return "The offer is signed and waits for the broker to take it."
  end,
  offered = function() return "The offer waits at the broker, or with the device, which has not begun to download." end,
  downloading = function(u) return ("The device has downloaded %d %%."):format(u.progress) end,
  installing = function(u)
    if u.reason then return ("It is not done yet: %s."):format(u.reason) end
    return "The device has downloaded all; it verifies the image, restarts, and must confirm the new version."
  end,
}

local ENDED = {
  succeeded = "succeeded", failed = "failed", rolled_back = "was rolled back by the device",
  rejected = "was rejected by the device", timed_out = "timed out", cancelled = "was cancelled",
}

-- device: status, last_seen, firmware_version, chip, chip_reported. update: the newest, or nil. offer: what stands for
-- it, or nil.
return function(device, update, offer)
  local parts = {}
  if not update then
    parts[1] = "No update of this device was ever ordered."
  elseif UNDER_WAY[update.state] then
    parts[1] = ("Update %d to version %s is under way (%s) since %s."):format(
      update.id, update.version, update.state, when.words(update.created_at))
    parts[2] = UNDER_WAY[update.state](update, offer)
    if offer and offer.expires_at then parts[3] = ("Its offer is good until %s."):format(when.words(offer.expires_at)) end
  else
    parts[1] = "No update is under way."
    parts[2] = ("The last one, update %d to version %s, %s at %s%s."):format(
      update.id, update.version, ENDED[update.state], when.words(update.updated_at),
      update.reason and ": " .. update.reason or "")
  end
  if device.chip and device.chip_reported and device.chip ~= device.chip_reported then
    parts[#parts + 1] = ("It cannot be updated while it is registered as %s and reports the chip %s."):format(
      device.chip, device.chip_reported)
  end
  parts[#parts + 1] = ("The device runs %s."):format(device.firmware_version and
    "version " .. device.firmware_version or "a version it has not told")
  parts[#parts + 1] = seen(device)
  return table.concat(parts, " ")
end
