-- What routes about devices share.

local device = {}

device.chips = {
  "esp32", "esp32s2", "esp32s3", "esp32c2", "esp32c3", "esp32c5", "esp32c6", "esp32c61", "esp32h2", "esp32h21",
  "esp32h4", "esp32p4",
}

-- A tag's name has no colon: ?tag=name:value is split at the first.
device.tags = {
  "map", of = { "string", max = 100 }, max = 32, optional = true,
  keys = { "string", min = 1, max = 100, pattern = "^[^:%c]+$", means = "1 to 100 characters without a colon" },
}

-- "name:value" -> {name = value}; nil for what is none.
function device.read_tag(text)
  local name, value = text:match("^([^:]+):(.*)$")
  return name and { [name] = value }
end

function device.topics(id)
  local prefix = "device/" .. id .. "/"
  return { status = prefix .. "status", ota = prefix .. "ota", logs = prefix .. "logs" }
end

-- The password stands in no database: only its hash does.
function device.credentials(id, password)
  local name = "device-" .. id
  return { username = name, password = password, client_id = name }
end

-- Ends with 404 unless req.user may see the device of the path.
function device.must_be_visible(req)
  if not db.one("device_visible", req.params.id, req.user.id, req.user.role == "operator") then fail(404) end
end

return device
