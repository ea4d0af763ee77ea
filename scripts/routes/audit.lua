-- The audit log: who changed what.

local page = require "lib.page"
local when = require "lib.when"

local ENTRY = json.record("id", "at", "user", "via", "address", "request_id", "action", "target", "before", "after")
local TARGET = json.record("kind", "id", "name")

local KINDS = { "device", "firmware", "job", "policy", "rollout", "scripts", "user" }

local function shown(row)
  return ENTRY {
    id = row.id, at = row.at, user = row.user, via = row.via, address = row.address, request_id = row.request_id,
    action = row.action, target = TARGET { kind = row.target.kind, id = row.target.id, name = row.target.name },
    before = row.before, after = row.after,
  }
end

-- Seconds as a float would lose what tells one entry from the next.
local function microseconds(text)
  return text and math.floor(when.read(text) * 1000000 + 0.5)
end

local function list(req)
  local query = req.query
  local at, id = page.start(req, "audit")
  local rows = db.all("audit_list", query.user_id, query.action, query.kind, query.id, microseconds(query.from),
    microseconds(query.to), at, id, query.limit + 1)
  return page.answer(req, "audit", rows, function(row) return row.position, row.id end, shown)
end

return {
  {
    method = "GET", path = "/audit", who = "operator",
    query = page.query {
      user_id = { "integer", min = 1, optional = true },
      action = { "string", max = 50, pattern = "^%l+%.%l+$", means = "an action such as device.change", optional = true },
      kind = { "string", one_of = KINDS, optional = true },
      id = { "string", min = 1, max = 50, optional = true },
      from = when.field,
      to = when.field,
    },
    handler = list,
  },
}
