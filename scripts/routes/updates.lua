-- Updates of one device: order, cancel, look back, explain.

local device = require "lib.device"
local explain_device = require "lib.explain_device"
local page = require "lib.page"
local update = require "lib.update"

local function find_device(req)
  local row = db.one("update_device", req.params.id, req.user.id, req.user.role == "operator")
  if not row then fail(404) end
  return row
end

local function refuse(field, message)
  fail(422, "The device cannot have this update.", { errors = { { field = field, message = message } } })
end

local function already()
  fail(409, "An update of this device is under way already: wait for its end, or cancel it.")
end

-- The image that the request names, and the field that names it.
local function find_image(req, target)
  local id, version = req.body.firmware_id, req.body.version
  if (id == nil) == (version == nil) then refuse("firmware_id", "must be given, or else `version`, but not both") end
  local images = db.all("update_firmware", id, version, target.id)
  if id then
    if not images[1] then refuse("firmware_id", "is the id of no firmware") end
    return images[1], "firmware_id"
  end
  local image, message = update.choose(target, images)
  if not image then refuse("version", message) end
  return image, "version"
end

local function start(req)
  local target = find_device(req)
  if db.one("update_under_way", target.id) then already() end
  local image, field = find_image(req, target)

  if update.runs(target, image) then
    local done = db.one("update_create_done", target.id, image.id, image.version, target.firmware_version)
    if not done then already() end
    events.updates { done }
    return 200, { update = done }
  end
  local message = update.refusal(target, image)
  if message then refuse(field, message) end

  local made, _, constraint = update.create({ target }, image)
  if not made then
    if constraint == "updates_device_id_fkey" then fail(404) end
    refuse(field, "is the id of a firmware that was just deleted")
  end
  if not made[1] then -- something came in between
    message = update.refusal(find_device(req), image)
    if message then refuse(field, message) end
    already()
  end
  return 202, { update = made[1] }
end

local function cancel(req)
  device.must_be_visible(req)
  local ended = db.one("update_cancel", req.params.id, "cancelled on request")
  if not ended then fail(409, "No update of this device is under way.") end
  events.updates { ended }
  offers.poke()
  return 200, { update = ended }
end

local function list(req)
  device.must_be_visible(req)
  local before = page.start(req, "updates", 2147483647)
  local rows = db.all("updates_of_device", req.params.id, before, req.query.limit + 1)
  return page.answer(req, "updates", rows, page.by_id)
end

local function why(req)
  return 200, explain_device(find_device(req))
end

return {
  {
    method = "POST", path = "/devices/:id/update", who = "user",
    body = {
      firmware_id = { "integer", min = 1, optional = true },
      version = { "string", min = 1, max = 50, optional = true },
    },
    handler = start,
  },
  { method = "POST", path = "/devices/:id/update/cancel", who = "user", handler = cancel },
  { method = "GET", path = "/devices/:id/updates", who = "user", query = page.query(), handler = list },
  { method = "GET", path = "/devices/:id/explain", who = "user", handler = why },
}
