-- Updates: whether a device may have a firmware, and the offers that tell it so.

local update = {}

-- Whether it is the hash of an image: some tools write none, zeros.
function update.known_elf(hash)
  return hash ~= nil and hash:find("[^0]") ~= nil
end

-- Whether the device runs this very image. By its hash only: versions do not tell images apart (ESP32.md).
function update.runs(device, image)
  return update.known_elf(image.elf_sha256) and device.elf_sha256 == image.elf_sha256
    and (device.chip == nil or device.chip == image.chip)
    and (device.chip_reported == nil or device.chip_reported == image.chip)
end

-- Why the device may not have this image: a message, or nil. device: chip, chip_reported and secure_version (nil: not
-- known). The offer names the chip, so that a device whose chip is not known here can tell for itself.
function update.refusal(device, image)
  if device.chip and device.chip_reported and device.chip ~= device.chip_reported then
    return ("cannot be installed while the device is registered as %s and reports the chip %s: set its chip to what it is")
      :format(device.chip, device.chip_reported)
  end
  if device.chip and device.chip ~= image.chip then
    return ("is for %s, and the device is an %s"):format(image.chip, device.chip)
  end
  if not image.release_signature then
    return "has no release signature, and no device would install it: upload it again with one"
  end
  if device.secure_version and image.secure_version < device.secure_version then
    return ("has secure version %d, below the %d of the image that runs: the device could not boot it")
      :format(image.secure_version, device.secure_version)
  end
end

-- Which of the images that have the version asked for is meant: image, or nil and a message.
function update.choose(device, images)
  if #images == 0 then return nil, "is the version of no image" end
  local fit = {}
  for _, image in ipairs(images) do
    if not device.chip or image.chip == device.chip then fit[#fit + 1] = image end
  end
  if #fit == 0 then return nil, ("is the version of no image for %s"):format(device.chip) end
  if #fit == 1 then return fit[1] end
  local same_project = {}
  for _, image in ipairs(fit) do
    if image.running then same_project[#same_project + 1] = image end
  end
  if #same_project == 1 then return same_project[1] end
  return nil, "is the version of several images: name one by `firmware_id`"
end

-- The signed offer of an update, and when it ends (Unix seconds). image: as `update_firmware` gives it. action:
-- "install" (the default) or "rollback".
function update.offer(id, device_id, image, action)
  local issued = math.floor(now())
  local expires = issued + math.floor(config["update.offer_ttl"])
  return offers.manifest {
    { "action", action or "install" },
    { "update_id", id },
    { "device_id", device_id },
    { "version", image.version },
    { "chip", image.chip },
    { "size", image.size },
    { "sha256", image.sha256 },
    { "elf_sha256", image.elf_sha256 },
    { "url", config["public_url"] .. "/ota/" .. offers.token(id) },
    { "release_signature", image.release_signature },
    { "release_key", image.release_key },
    { "issued_at", issued },
    { "expires_at", expires },
  }, expires
end

-- Tells of updates that were made or ended, and has their offers published.
function update.tell(list)
  if #list == 0 then return end
  events.updates(list)
  offers.poke()
end

-- Makes updates to one image, each with its offer, in one statement. devices: list of {id, firmware_version}.
-- Returns the updates made: devices that have one under way, or another chip, are left out. nil and the violation
-- where the image or a device is gone. tx: a transaction; whoever commits it tells of them.
function update.create(devices, image, tx)
  local list, on = {}, tx or db
  for i, row in ipairs(on.all("update_ids", #devices)) do
    local device = devices[i]
    local payload, expires = update.offer(row.id, device.id, image)
    list[i] = {
      id = row.id, device_id = device.id, firmware_id = image.id, version = image.version,
      from_version = device.firmware_version, payload = payload, expires_at = expires,
    }
  end
  local made, violation, constraint = on.all("updates_create", json.array(list))
  if made and not tx then update.tell(made) end
  return made, violation, constraint
end

-- Ends updates that aborted rollouts have under way, `most` at once. fence: the driver's, or nil. Whether there may be more.
function update.end_aborted(fence, most)
  local ended = db.all("rollouts_cancel", fence, most)
  update.tell(ended)
  return #ended == most
end

return update
