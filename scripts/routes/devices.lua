-- Devices: register, look, change, rotate credentials, delete.

local device = require "lib.device"
local filter = require "lib.device_filter"
local kept = require "lib.kept"
local page = require "lib.page"

local function operator(req) return req.user.role == "operator" end

local function register(req)
  local body, password = req.body, crypto.random(32)
  local row, problem = db.one("device_create", req.user.id, body.device_code, body.name, body.chip, body.tags,
    crypto.sha256(password))
  if problem == "foreign_key_violation" then fail(401, "This account was deleted.") end
  if problem then fail(409, "There is a device with this `device_code` already.") end
  return 201, {
    device = row,
    credentials = device.credentials(row.id, password),
    mqtt = {
      host = config["mqtt.public_host"],
      port = config["mqtt.public_port"],
      tls = config["mqtt.public_tls"],
      ca = server.ca() or json.null,
      topics = device.topics(row.id),
    },
    keys = { manifest = keys.manifest, release = json.array(keys.release) },
  }
end

local UPDATE = json.record("id", "state", "progress", "version")

local function with_update(row)
  if row.update then row.update = UPDATE(row.update) end
  return row
end

local function list(req)
  local after, count = page.start(req, "devices", 0), req.query.limit + 1
  local asked, rows = filter.read(req.query), nil
  if asked then
    rows = db.all("devices_filtered", after, count, asked, req.user.id, operator(req))
  elseif operator(req) then
    rows = db.all("devices_all", after, count)
  else
    rows = db.all("devices_of_user", after, count, req.user.id)
  end
  return page.answer(req, "devices", rows, page.by_id, with_update)
end

local function count(req)
  local counted = db.one("devices_counted", filter.read(req.query) or {}, req.user.id, operator(req))
  return 200, { count = counted.count }
end

local FACET_VALUES = 100 -- of each kind
local kept_facets = kept { fresh = 5, worth = 200, most = 100 } -- of a small fleet they are never old
local FACETS, FACET = json.record("chips", "versions", "tags"), json.record("value", "count")

-- On a connection of its own: others do not wait behind it.
local function facets(req)
  return 200, kept_facets(operator(req) and "all" or req.user.id, function()
    local found = FACETS { chips = json.array {}, versions = json.array {}, tags = json.array {} }
    local rows = db.transaction(function(tx) return tx.all("devices_facets", req.user.id, operator(req), FACET_VALUES) end)
    for _, row in ipairs(rows) do
      local values = found[row.facet]
      values[#values + 1] = FACET { value = row.value, count = row.count }
    end
    return found
  end)
end

local function get(req)
  local row = db.one("device_by_id", req.params.id, req.user.id, req.user.role == "operator")
  if not row then fail(404) end
  return 200, row
end

local function patch(req)
  local name, chip = req.body.name, req.body.chip
  local row = db.one("device_patch", req.params.id, req.user.id, operator(req), name ~= nil, name, req.body.tags,
    chip ~= nil, chip)
  if not row then fail(404) end
  return 200, row
end

local function status(req)
  local row = db.one("device_status", req.params.id, req.user.id, operator(req))
  if not row then fail(404) end
  row.update = db.one("update_under_way", req.params.id) or json.null
  return 200, row
end

local function rotate(req)
  local password = crypto.random(32)
  local row = db.one("device_rotate", req.params.id, req.user.id, operator(req), crypto.sha256(password))
  if not row then fail(404) end
  return 200, { credentials = device.credentials(row.id, password) }
end

local function delete(req)
  local row = db.one("device_delete", req.params.id, req.user.id, operator(req))
  if not row then fail(404) end
  offers.poke()
  return 204
end

local name = { "string", min = 1, max = 100, optional = true, nullable = true }
local chip = { "string", one_of = device.chips, optional = true, nullable = true }

return {
  {
    method = "POST", path = "/devices/register", who = "user",
    body = {
      device_code = { "string", min = 1, max = 50, pattern = "^[%w._:-]+$", means = "1 to 50 of A-Z a-z 0-9 . _ : -" },
      name = name,
      chip = chip,
      tags = device.tags,
    },
    handler = register,
  },
  {
    method = "GET", path = "/devices", who = "user",
    query = page.query(filter.fields),
    handler = list,
  },
  { method = "GET", path = "/devices/count", who = "user", query = filter.fields, handler = count },
  { method = "GET", path = "/devices/facets", who = "user", handler = facets },
  { method = "GET", path = "/devices/:id", who = "user", handler = get },
  {
    method = "PATCH", path = "/devices/:id", who = "user",
    body = { name = name, chip = chip, tags = device.tags },
    handler = patch,
  },
  { method = "GET", path = "/devices/:id/status", who = "user", handler = status },
  { method = "POST", path = "/devices/:id/credentials", who = "user", handler = rotate },
  { method = "DELETE", path = "/devices/:id/delete", who = "user", handler = delete },
}
