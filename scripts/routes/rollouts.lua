-- Rollouts: make, watch, steer. What drives them is lib/rollout_driver; what decides is a policy.

local explain = require "lib.explain_rollout"
local news = require "lib.rollout_news"
local page = require "lib.page"
local policy = require "lib.policy_source"
local rollout = require "lib.rollout"
local target = require "lib.target"
local update = require "lib.update"

local MOST_PARAMS = 16384
local ENLISTED = 5000 -- devices at once
local CANCELLED, ROUNDS = 2000, 5 -- updates at once; the driver ends what is left
local STATES = { "running", "paused", "completed", "aborted", "rolling_back", "rolled_back" }
local UPDATE_STATES = {
  "pending", "offered", "downloading", "installing", "succeeded", "failed", "rolled_back", "rejected", "timed_out",
  "cancelled",
}
local MEMBER_STATES = { "waiting", "held", "vanished", "skipped", "excluded", table.unpack(UPDATE_STATES) }

local function refuse(field, message)
  fail(422, "The rollout cannot be made.", { errors = { { field = field, message = message } } })
end

local function find(id)
  local row = db.one("rollout_by_id", id)
  if not row then fail(404) end
  return row
end

local function create(req)
  local body = req.body
  local source = policy.active(body.policy)
  if not source then refuse("policy", "there is no such policy") end
  local plan, problems = policy.plan(source)
  if not plan then refuse("policy", "does not load: " .. problems[1].message) end
  local image = db.all("update_firmware", body.firmware_id, nil, nil)[1]
  if not image then refuse("firmware_id", "there is no such firmware") end
  if not image.release_signature then
    refuse("firmware_id", "has no release signature: no device would install it")
  end
  local unknown = body.target and body.target.device_ids and db.one("rollout_unknown", body.target.device_ids)
  if unknown then refuse("target.device_ids", ("there is no device %d"):format(unknown.id)) end
  local id = db.transaction(function(tx)
    local made = tx.one("rollout_create", body.name, body.policy, plan, body.firmware_id, body.target or {},
      body.params or {}, body.priority or plan.priority, body.starts_at, req.user.id,
      source.revision)
    if not made then refuse("firmware_id", "there is no such firmware any more") end
    local part
    repeat
      part = tx.one("rollout_enlist", made.id, part and part.last or 0, ENLISTED)
    until part.n < ENLISTED
    tx.run("rollout_analyze")
    return made.id
  end)
  news.stands(id)
  return 201, { rollout = rollout.shown(find(id)) }
end

local HELD, EXCLUDED = json.record("verdict", "reason", "count"), json.record("reason", "count")

-- Why devices are held and excluded. Where none is, none is looked for.
local function reasons(row)
  local counts, held, excluded = row.counts or {}, json.array {}, json.array {}
  local some = (counts.held or 0) + (counts.excluded or 0) > 0
  for _, kind in ipairs(some and db.all("rollout_reasons", row.id) or {}) do
    if kind.state == "held" then
      held[#held + 1] = HELD { verdict = kind.verdict, reason = kind.reason, count = kind.count }
    else
      excluded[#excluded + 1] = EXCLUDED { reason = kind.reason, count = kind.count }
    end
  end
  return held, excluded
end

local function get(req)
  local row = find(req.params.id)
  local shown = rollout.shown(row)
  shown.stats = rollout.shown_stats(db.one("rollout_measured", row.id))
  shown.held, shown.excluded = reasons(row)
  shown.plan = row.plan
  shown.explanation = select(2, explain(row))
  return 200, shown
end

local function list(req)
  local before = page.start(req, "rollouts", 2147483647)
  local rows = db.all("rollouts_list", before, req.query.limit + 1, req.query.state)
  return page.answer(req, "rollouts", rows, page.by_id, rollout.shown)
end

local BEING = { pause = "paused", resume = "resumed", abort = "aborted", rollback = "rolled back" }

local function cancel()
  for _ = 1, ROUNDS do
    if not update.end_aborted(nil, CANCELLED) then return end
  end
end

local function steer(verb, from, to, otherwise)
  return {
    method = "POST", path = "/rollouts/:id/" .. verb, who = "operator",
    body = { reason = { "string", min = 1, max = 500, optional = true } },
    handler = function(req)
      local row = find(req.params.id)
      local reason = req.body.reason or otherwise
      local decision = db.one("rollout_steer", row.id, json.array(from), to, verb, reason, req.user.id)
      if not decision then
        fail(409, ("The rollout is %s: it cannot be %s."):format(find(row.id).state:gsub("_", " "), BEING[verb]))
      end
      news.decided { decision }
      if to == "aborted" then cancel() end
      news.stands(row.id)
      return 200, { rollout = rollout.shown(find(row.id)) }
    end,
  }
end

local function updates(req)
  local row = find(req.params.id)
  local before = page.start(req, "rollout updates", 2147483647)
  local rows = db.all("rollout_updates", row.id, before, req.query.limit + 1, req.query.state)
  return page.answer(req, "rollout updates", rows, page.by_id)
end

local function members(req)
  local row = find(req.params.id)
  local after = page.start(req, "rollout members", 0)
  local rows = db.all("rollout_members", row.id, after, req.query.limit + 1, req.query.state)
  return page.answer(req, "rollout members", rows, function(member) return member.device_id end)
end

local function decisions(req)
  local row = find(req.params.id)
  local before = page.start(req, "decisions", math.maxinteger)
  local rows = db.all("rollout_decisions", row.id, before, req.query.limit + 1, req.query.device_id)
  return page.answer(req, "decisions", rows, page.by_id)
end

return {
  {
    method = "POST", path = "/rollouts", who = "operator",
    body = {
      name = { "string", min = 1, max = 100 },
      firmware_id = { "integer", min = 1 },
      policy = { "string", min = 1, max = 50 },
      target = { "object", fields = target, optional = true },
      params = { "map", of = { "any" }, max = 32, optional = true, check = function(params)
        if #json.encode(params) > MOST_PARAMS then return "may have 16 KiB as JSON: every call of a policy reads them" end
      end },
      priority = { "integer", min = -1000, max = 1000, optional = true }, -- else as the policy says
      starts_at = { "string", max = 40, optional = true, check = function(text)
        if not time.parse(text) then return "must be a time like 2026-01-31T12:00:00Z" end
      end },
    },
    handler = create,
  },
  {
    method = "GET", path = "/rollouts", who = "operator",
    query = page.query { state = { "string", one_of = STATES, optional = true } },
    handler = list,
  },
  { method = "GET", path = "/rollouts/:id", who = "operator", handler = get },
  steer("pause", { "running" }, "paused", "paused on request"),
  steer("resume", { "paused" }, "running", "resumed on request"),
  steer("abort", { "running", "paused", "rolling_back" }, "aborted", "aborted on request"),
  steer("rollback", { "running", "paused", "completed", "aborted" }, "rolling_back", "rolled back on request"),
  {
    method = "GET", path = "/rollouts/:id/devices", who = "operator",
    query = page.query { state = { "string", one_of = UPDATE_STATES, optional = true } },
    handler = updates,
  },
  {
    method = "GET", path = "/rollouts/:id/members", who = "operator",
    query = page.query { state = { "string", one_of = MEMBER_STATES, optional = true } },
    handler = members,
  },
  {
    method = "GET", path = "/rollouts/:id/decisions", who = "operator",
    query = page.query { device_id = { "integer", min = 1, optional = true } },
    handler = decisions,
  },
}
