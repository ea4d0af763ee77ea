-- What a device told: its log and the course of its telemetry.

local device = require "lib.device"
local page = require "lib.page"
local span = require "lib.span"
local when = require "lib.when"

local DAY = 86400

local function refuse(field, message)
  fail(422, "Some fields are not as they must be.", { errors = { { field = field, message = message } } })
end

local function logs(req)
  device.must_be_visible(req)
  local since = req.query.since and when.read(req.query.since)
  local us, id = page.start(req, "logs")
  local rows = db.all("logs_of_device", req.params.id, since, us, id, req.query.limit + 1)
  return page.answer(req, "logs", rows,
    function(row) return row.us, row.id end,
    function(row) return { at = row.at, level = row.level, message = row.message } end)
end

local function telemetry(req)
  device.must_be_visible(req)
  local query = req.query
  local to = query.to and when.read(query.to) or now()
  local from = query.from and when.read(query.from) or to - DAY
  if from >= to then refuse("from", "must be before `to`") end
  -- A point narrower than a row of history would be empty.
  local width, origin = span(from, to, query.points, config["telemetry.window"])
  local function read(place)
    return place.all("telemetry_of_device", req.params.id, query.name, from, to, width, origin)
  end
  -- Weeks take half a second: on a connection of their own, for others wait behind what runs on the shared ones.
  local points = to - from > DAY and db.transaction(read) or read(db)
  return 200, { name = query.name, points = json.array(points) }
end

return {
  {
    method = "GET", path = "/devices/:id/logs", who = "user",
    query = page.query { since = when.field },
    handler = logs,
  },
  {
    method = "GET", path = "/devices/:id/telemetry", who = "user",
    query = {
      name = { "string", min = 1, max = 64 },
      from = when.field,
      to = when.field,
      points = { "integer", min = 1, max = 1000, default = 100 },
    },
    handler = telemetry,
  },
}
