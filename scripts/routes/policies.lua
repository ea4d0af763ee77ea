-- Policies: read, check, put in force, go back. A revision is the SHA-256 of its source.

local page = require "lib.page"
local policy = require "lib.policy_source"
local target = require "lib.target"

local SOURCE = { "string", min = 1, max = 65536 }

local PROBLEM = json.record("line", "column", "severity", "message")

-- Without the file's name, which is the policy's.
local function listed(problems)
  local list = {}
  for i, problem in ipairs(problems or {}) do
    list[i] = PROBLEM { line = problem.line, column = problem.column, severity = problem.severity, message = problem.message }
  end
  return json.array(list)
end

local function errors_of(problems)
  local errors = {}
  for _, problem in ipairs(problems) do
    if problem.severity == "error" then
      errors[#errors + 1] = { field = "source", message = ("line %d: %s"):format(problem.line, problem.message) }
    end
  end
  return errors
end

local SHOWN = json.record("name", "revision", "parent", "author", "message", "note", "created_at", "updated_at", "source",
  "declaration", "problems")

local function shown(row)
  local plan, problems = policy.plan(row)
  return SHOWN {
    name = row.name, revision = row.revision, parent = row.parent, author = row.author, message = row.message,
    note = row.note, created_at = row.created_at, updated_at = row.updated_at, source = row.source, declaration = plan,
    problems = listed(problems),
  }
end

local function find(name)
  local row = db.one("policy_active", name)
  if not row then fail(404) end
  return row
end

-- The revision that If-Match names; nil where there is none yet.
local function expected(req, row)
  local header = req.header("if-match")
  if not header then
    if row then
      fail(428, "Name the revision that you have changed in If-Match, so that nobody's work is lost.")
    end
    return nil
  end
  return header:match('^"?(%x+)"?$') or fail(422, "If-Match must name a revision.")
end

local function changed_meanwhile()
  fail(412, "Another revision is in force by now.")
end

local function list(req)
  local after = page.start(req, "policies", "")
  local rows = db.all("policies_list", after, req.query.limit + 1)
  return page.answer(req, "policies", rows, function(row) return row.name end, shown)
end

local function tell(row)
  return 200, shown(row), { etag = ('"%s"'):format(row.revision) }
end

local function get(req)
  return tell(find(req.params.name))
end

-- What the request itself put in force, be there a newer one by now.
local function brought(name, revision)
  local row = find(name)
  if row.revision ~= revision then
    row = db.one("policy_revision", name, revision)
    row.updated_at = row.created_at
  end
  return tell(row)
end

local function put(req)
  local name = req.params.name
  if not name:find("^[a-z][a-z0-9_]*$") or #name > 32 or name == "check" or name == "simulate" then
    fail(422, "A policy's name has 1 to 32 characters of a-z, 0-9 and _, and begins with a letter.")
  end
  local row = db.one("policy_active", name)
  local was = expected(req, row)
  local revision = crypto.sha256(req.body.source)
  local problems = policies.check(name, req.body.source).problems
  local errors = errors_of(problems)
  if #errors > 0 then
    fail(422, "The policy has problems; nothing was changed.", { errors = errors, problems = listed(problems) })
  end
  if row and was ~= row.revision or not row and was then changed_meanwhile() end
  local author = db.one("account_by_id", req.user.id).email
  if not db.one("policy_activate", name, was, revision, req.body.source, author, req.body.message) then
    changed_meanwhile()
  end
  return brought(name, revision)
end

local function rollback(req)
  local row = find(req.params.name)
  local was = expected(req, row)
  if was ~= row.revision then changed_meanwhile() end
  if not row.parent then fail(409, "There is no revision before this one.") end
  if not db.one("policy_back", row.name, was) then changed_meanwhile() end
  return brought(row.name, row.parent)
end

local function revisions(req)
  local row = find(req.params.name)
  return 200, { items = json.array(db.all("policy_revisions_list", row.name, req.query.limit)), next = json.null }
end

local function check(req)
  local problems = policies.check("policy", req.body.source).problems
  return 200, { ok = #errors_of(problems) == 0, problems = listed(problems) }
end

local SAMPLE = 10000 -- devices or decisions that a simulation or replay here takes at most

-- The policy that a request names, or whose source it brings.
local function meant(body)
  if (body.policy == nil) == (body.source == nil) then
    fail(422, "Name a policy, or give the source of one.", {
      errors = { { field = "policy", message = "either policy or source is needed" } },
    })
  end
  return body.source and { name = "policy", revision = crypto.sha256(body.source), source = body.source }
    or find(body.policy)
end

local function unless_problems(answer)
  if answer.problems then
    fail(422, "The policy could not be run.", { problems = listed(answer.problems) })
  end
  return answer
end

local function column(rows, name)
  local values = {}
  for i, row in ipairs(rows) do values[i] = row[name] end
  return values
end

local function simulate(req)
  local body = req.body
  local source, named, image = meant(body), body.target or {}, nil
  local plan, problems = policy.plan(source)
  if not plan then fail(422, "The policy has problems.", { problems = listed(problems) }) end
  if body.firmware_id then
    image = db.one("simulate_firmware", body.firmware_id)
    if not image then
      fail(422, "There is no such firmware.", { errors = { { field = "firmware_id", message = "is unknown" } } })
    end
  end
  local all = db.one("simulate_size", named).n
  local devices = all > 0 and column(db.all("simulate_fleet", body.firmware_id, named, plan, SAMPLE), "device") or nil
  local answer = unless_problems(policies.simulate(source.name, source.source, json.encode {
    seed = body.seed, resumes = body.resumes, start = math.floor(now()), assume = body.assume,
    rollout = { name = "simulation", params = body.params, firmware = image and json.decode(image.firmware) },
    defaults = {
      timeout = config["update.timeout"], wait = config["update.offer_timeout"], vanish_after = config["device.offline_after"],
    },
  }, devices))
  answer.fleet = { devices = all, simulated = answer.devices, made_up = devices == nil }
  return 200, answer
end

local function replay(req)
  local row, body = find(req.params.name), req.body
  local rollouts, decisions = db.all("replay_rollouts", row.name, body.rollout_id),
    db.all("replay_decisions", row.name, body.rollout_id, SAMPLE)
  return 200, unless_problems(policies.replay(row.name, body.source or row.source,
    ('{"rollouts":[%s]}'):format(table.concat(column(rollouts, "rollout"), ",")), column(decisions, "decision")))
end

local SHARE = { "number", min = 0, max = 1, optional = true }

return {
  { method = "GET", path = "/policies", who = "operator", query = page.query(), handler = list },
  { method = "GET", path = "/policies/:name", who = "operator", handler = get },
  {
    method = "PUT", path = "/policies/:name", who = "operator",
    body = { source = SOURCE, message = { "string", max = 500, optional = true } },
    handler = put,
  },
  { method = "POST", path = "/policies/:name/rollback", who = "operator", handler = rollback },
  {
    method = "GET", path = "/policies/:name/revisions", who = "operator",
    query = { limit = { "integer", min = 1, max = 200, default = 50 } },
    handler = revisions,
  },
  { method = "POST", path = "/policies/check", who = "operator", body = { source = SOURCE }, handler = check },
  {
    method = "POST", path = "/policies/simulate", who = "operator",
    body = {
      policy = { "string", min = 1, max = 32, optional = true },
      source = { "string", min = 1, max = 65536, optional = true },
      firmware_id = { "integer", min = 1, optional = true },
      target = { "object", fields = target, optional = true },
      params = { "map", of = { "any" }, max = 32, optional = true },
      assume = {
        "object", optional = true,
        fields = {
          failure_rate = SHARE, rejected_rate = SHARE, cut_rate = SHARE, hang_rate = SHARE, vanish_rate = SHARE,
          duration_s = { "number", min = 1, max = 2592000, optional = true },
        },
      },
      seed = { "integer", min = 0, optional = true },
      resumes = { "integer", min = 0, max = 1000, optional = true },
    },
    handler = simulate,
  },
  {
    method = "POST", path = "/policies/:name/replay", who = "operator",
    body = {
      source = { "string", min = 1, max = 65536, optional = true },
      rollout_id = { "integer", min = 1, optional = true },
    },
    handler = replay,
  },
}
