-- Devices: register, look, change, rotate credentials, delete.

local device = require "lib.device"
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

local function list(req)
  local query = req.query
  local after, count = page.start(req, "devices", 0), query.limit + 1
  local tags = query.tag and device.read_tag(query.tag)
  local status = query.online ~= nil and (query.online and "online" or "offline") or nil
  local rows
  if not operator(req) then
    rows = db.all("devices_of_user", after, count, query.chip, tags, status, query.version, req.user.id)
  elseif tags then
    rows = db.all("devices_tagged", after, count, query.chip, tags, status, query.version)
  else
    rows = db.all("devices_all", after, count, query.chip, status, query.version)
  end
  return page.answer(req, "devices", rows, page.by_id)
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
    query = page.query {
      chip = { "string", max = 50, optional = true },
      tag = {
        "string", max = 250, optional = true,
        check = function(text) return not device.read_tag(text) and "must be name:value" or nil end,
      },
      online = { "boolean", optional = true },
      version = { "string", max = 50, optional = true },
    },
    handler = list,
  },
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
