-- What a device told, its log and the course of its telemetry, and what happened to it.

local device = require "lib.device"
local page = require "lib.page"
local span = require "lib.span"
local timeline = require "lib.timeline"
local when = require "lib.when"

local HOUR, DAY = 3600, 86400
local MOST_ROWS = 2 * DAY -- of which rows are read one by one

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
  -- A point narrower than a row of history would be empty. Those of an hour and more are made of whole hours, which are
  -- rolled up; of more than two days narrower ones would take too many rows.
  local width, origin = span(from, to, query.points, config["telemetry.window"])
  local by_hours = width >= HOUR or to - from > MOST_ROWS
  if by_hours then
    width, origin = span(from, to, query.points, math.ceil(config["telemetry.window"] / HOUR) * HOUR)
  end
  local points = db.all("telemetry_of_device", req.params.id, query.name, from, to, width, origin, by_hours)
  return 200, { name = query.name, points = json.array(points) }
end

local function names(req)
  device.must_be_visible(req)
  local list = db.all("telemetry_names", req.params.id)
  for i, row in ipairs(list) do list[i] = row.name end
  return 200, { names = json.array(list) }
end

local function events(req)
  device.must_be_visible(req)
  local us, source, id = page.start(req, "timeline")
  local rows = db.all("timeline_of_device", req.params.id, us, source, id, req.query.limit + 1)
  return page.answer(req, "timeline", rows, function(row) return row.us, row.source, row.id end, timeline.shown)
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
  { method = "GET", path = "/devices/:id/telemetry/names", who = "user", handler = names },
  { method = "GET", path = "/devices/:id/timeline", who = "user", query = page.query(), handler = events },
}
