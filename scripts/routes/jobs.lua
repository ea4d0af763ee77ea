-- One action on many devices: order it, watch it. What does the work is lib/job.

local device = require "lib.device"
local filter = require "lib.device_filter"
local job = require "lib.job"
local page = require "lib.page"
local update = require "lib.update"

local MOST_DEVICES, MOST_RUNNING = 10000, 5

-- What each action takes.
local TAKES = { tag = { set = true, remove = true }, update = { firmware_id = true }, cancel = {}, delete = {} }

local function operator(req) return req.user.role == "operator" end

local function refuse(field, message)
  fail(422, "The job cannot be begun.", { errors = { { field = field, message = message } } })
end

-- set and remove, or firmware_id.
local function arguments(body)
  local takes, found = TAKES[body.action], {}
  for _, name in ipairs { "firmware_id", "remove", "set" } do
    if body[name] ~= nil and not takes[name] then refuse(name, "is nothing that the action takes") end
    found[name] = body[name]
  end
  if body.action == "tag" and not (found.set and next(found.set) or found.remove and found.remove[1]) then
    refuse("set", "must name a tag, or else `remove`")
  elseif body.action == "update" then
    if not found.firmware_id then refuse("firmware_id", "is missing") end
    local image = db.all("update_firmware", found.firmware_id, nil, nil)[1]
    local message = not image and "is the id of no firmware" or update.refusal({}, image)
    if message then refuse("firmware_id", message) end
  end
  return found
end

local function in_order(ids)
  local seen, list = {}, json.array {}
  for _, id in ipairs(ids) do
    if not seen[id] then
      seen[id] = true
      list[#list + 1] = id
    end
  end
  table.sort(list)
  return list
end

local function create(req)
  local body, user = req.body, req.user
  local given = arguments(body)
  local ids = body.select.device_ids and in_order(body.select.device_ids)
  local found = not ids and (filter.read(body.select.filter, "select.filter.") or {}) or nil
  local made = db.transaction(function(tx)
    if not tx.one("job_account", user.id) then fail(401, "This account was deleted.") end
    if tx.one("jobs_of_account", user.id).running >= MOST_RUNNING then
      fail(429, ("%d jobs of this account are running: wait until one is done."):format(MOST_RUNNING),
        { headers = { ["retry-after"] = "5" } })
    end
    local all = ids and { newest = ids[#ids], count = #ids } or tx.one("devices_counted", found, user.id, operator(req))
    return tx.one("job_create", user.id, operator(req), body.action, given, found, ids, all.newest, all.count,
      req.address, req.id)
  end)
  return 202, { job = job.shown(made) }
end

local function get(req)
  local row = db.one("job_by_id", req.params.id, req.user.id, operator(req))
  if not row then fail(404) end
  return 200, { job = job.shown(row) }
end

local function list(req)
  local before = page.start(req, "jobs", 2147483647)
  local rows = db.all("jobs_list", before, req.query.limit + 1, req.user.id, operator(req))
  return page.answer(req, "jobs", rows, page.by_id, job.shown)
end

return {
  {
    method = "POST", path = "/devices/bulk", who = "user",
    body = {
      select = {
        "object",
        fields = {
          device_ids = { "list", of = { "integer", min = 1 }, min = 1, max = MOST_DEVICES, optional = true },
          filter = { "object", fields = filter.fields, optional = true },
        },
        check = function(select)
          if (select.device_ids == nil) == (select.filter == nil) then
            return "must have `device_ids`, or else `filter`, but not both"
          end
        end,
      },
      action = { "string", one_of = { "tag", "update", "cancel", "delete" } },
      set = device.tags,
      remove = { "list", of = { "string", min = 1, max = 100 }, max = 100, optional = true },
      firmware_id = { "integer", min = 1, optional = true },
    },
    handler = create,
  },
  { method = "GET", path = "/jobs", who = "user", query = page.query(), handler = list },
  { method = "GET", path = "/jobs/:id", who = "user", handler = get },
}
