-- Policies: read, check, put in force, go back. A revision is the SHA-256 of its source.

local page = require "lib.page"
local policy = require "lib.policy_source"
local target = require "lib.target"
local when = require "lib.when"

local SOURCE = { "string", min = 1, max = 65536 }

local PROBLEM = json.record("line", "column", "severity", "message")

-- Without the file's name, which is the policy's.
local function listed(problems)
  local list = {}
  for i, problem in ipairs(problems or {}) do
    list[i] = PROBLEM {
      line = problem.line > 0 and problem.line or nil, column = problem.column, severity = problem.severity,
      message = problem.message,
    }
  end
  return json.array(list)
end

-- `field` of the request has the source they are of.
local function errors_of(problems, field)
  local errors = {}
  for _, problem in ipairs(problems) do
    if problem.severity == "error" then
      local line = problem.line > 0 and ("line %d: "):format(problem.line) or ""
      errors[#errors + 1] = { field = field or "source", message = line .. problem.message }
    end
  end
  return errors
end

local SHOWN = json.record("name", "description", "revision", "parent", "author", "message", "note", "created_at", "updated_at",
  "rollouts", "source", "declaration", "problems")
local LIGHT = json.record("name", "description", "revision", "parent", "author", "message", "note", "created_at", "updated_at",
  "rollouts", "declaration", "problems")

local function fields_of(row)
  local plan, problems = policy.plan(row)
  return {
    name = row.name, description = policy.description(row.source), revision = row.revision, parent = row.parent,
    author = row.author, message = row.message, note = row.note, created_at = row.created_at, updated_at = row.updated_at,
    rollouts = row.rollouts, declaration = plan, problems = listed(problems),
  }
end

-- Rows of the list where it is to be without sources.
local function light(row)
  return LIGHT(fields_of(row))
end

local function shown(row)
  local all = fields_of(row)
  all.source = row.source
  return SHOWN(all)
end

local function find(name)
  local row = db.one("policy_active", name)
  if not row then fail(404) end
  return row
end

-- row: what is in force, or nil
local function changed_meanwhile(row)
  fail(412, row and "Another revision is in force by now." or "There is no such policy.", {
    revision = row and row.revision or json.null,
    headers = row and { etag = ('"%s"'):format(row.revision) },
  })
end

-- Goes on if If-Match names the revision in force: as an entity tag, in a list of them, bare, or as "*".
local function must_match(req, row)
  local header = req.header("if-match")
  if not header then
    fail(428, "Name the revision that you have changed in If-Match, so that nobody's work is lost.")
  end
  if row then
    for tag in header:gmatch("[^,%s]+") do
      if tag == "*" or tag == row.revision or tag == ('"%s"'):format(row.revision) then return end
    end
  end
  changed_meanwhile(row)
end

local function list(req)
  local after = page.start(req, "policies", "")
  local rows = db.all("policies_list", after, req.query.limit + 1)
  return page.answer(req, "policies", rows, function(row) return row.name end,
    req.query.source and shown or light)
end

local function tell(row, status)
  return status or 200, shown(row), { etag = ('"%s"'):format(row.revision) }
end

local function get(req)
  return tell(find(req.params.name))
end

-- Writes what is in force to the policy's file. What another puts in force meanwhile, it may write before: looked at again.
local function save(row)
  if not config["policies.save"] then return end
  repeat
    local saved = row.revision
    local ok, problem = policies.save(row.name, row.source, row.age)
    if not ok then return log.warn("policy not saved", { policy = row.name, problem = problem }) end
    row = db.one("policy_active", row.name)
  until row.revision == saved
end

-- What the request itself put in force, be there a newer one by now.
local function brought(name, revision, status)
  local newest = find(name)
  local row = newest
  save(row)
  if row.revision ~= revision then
    row = db.one("policy_revision", name, revision)
    row.updated_at, row.rollouts = row.created_at, newest.rollouts
  end
  return tell(row, status)
end

local function is_name(text) -- a file whose name ends in _test has tests
  return text:find("^[a-z][a-z0-9_]*$") and #text <= 32 and not text:find("_test$")
end

local function put(req)
  local name = req.params.name
  if not is_name(name) then
    fail(422, "A policy's name has 1 to 32 characters of a-z, 0-9 and _, begins with a letter, and does not end in _test.")
  end
  local row, revision = db.one("policy_active", name), crypto.sha256(req.body.source)
  if req.header("if-none-match") then
    if row then changed_meanwhile(row) end
  elseif row or req.header("if-match") then
    must_match(req, row)
  end
  local problems = policies.check(name, req.body.source).problems
  local errors = errors_of(problems)
  if #errors > 0 then
    fail(422, "The policy has problems; nothing was changed.", { errors = errors, problems = listed(problems) })
  end
  local author = db.one("account_by_id", req.user.id).email
  if not db.one("policy_activate", name, row and row.revision, revision, req.body.source, author, req.body.message) then
    changed_meanwhile(db.one("policy_active", name))
  end
  return brought(name, revision, not row and 201 or nil)
end

local function rollback(req)
  local row = find(req.params.name)
  must_match(req, row)
  if not row.parent then fail(409, "There is no revision before this one.") end
  if not db.one("policy_back", row.name, row.revision) then changed_meanwhile(find(row.name)) end
  return brought(row.name, row.parent)
end

local REVISION = json.record("revision", "parent", "author", "message", "created_at", "source")

local function revisions(req)
  local row = find(req.params.name)
  local at, revision = page.start(req, "revisions", math.maxinteger, "")
  local rows = db.all("policy_revisions_list", row.name, req.query.limit + 1, at, revision)
  return page.answer(req, "revisions", rows, function(one) return one.at, one.revision end, function(one)
    return REVISION {
      revision = one.revision, parent = one.parent, author = one.author, message = one.message,
      created_at = one.created_at, source = one.source,
    }
  end)
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
    or db.one("policy_active", body.policy)
    or fail(422, "There is no such policy.", { errors = { { field = "policy", message = "is unknown" } } })
end

local function unless_problems(answer, text)
  if answer.problems then
    fail(422, "The policy could not be run.", { problems = listed(answer.problems) })
  end
  return answer, text
end

-- Not decoded and encoded again: the same request has the same answer, to the byte.
local function as_it_is(text)
  return 200, text, { ["content-type"] = "application/json" }
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
  local answer, text = unless_problems(policies.simulate(source.name, source.source, json.encode {
    seed = body.seed, resumes = body.resumes, start = body.start and math.floor(when.read(body.start)),
    assume = body.assume,
    rollout = { name = "simulation", params = body.params, firmware = image and json.decode(image.firmware) },
    defaults = {
      timeout = config["update.timeout"], wait = config["update.offer_timeout"], vanish_after = config["device.offline_after"],
    },
  }, devices))
  local fleet = (',"fleet":{"devices":%d,"simulated":%d,"made_up":%s}}'):format(all, answer.devices, devices == nil)
  return as_it_is(text:sub(1, -2) .. fleet)
end

local function get_tests(req)
  return 200, { tests = policies.tests(find(req.params.name).name) or json.null }
end

-- Also for a policy that is yet to be made: then there are only the tests that the request brings.
local function test(req)
  local name, body = req.params.name, req.body
  local row = db.one("policy_active", name)
  if not row and not (body.source and is_name(name)) then fail(404) end
  local source = body.source or row.source
  local plan, problems = policy.plan { name = name, revision = crypto.sha256(source), source = source }
  local field, answer, text = "source", nil, nil
  if plan then
    local tests = body.tests or policies.tests(name)
    answer, text = policies.test(name, source, tests ~= "" and tests or nil)
    field, problems = "tests", answer.problems
    for _, problem in ipairs(problems or {}) do -- of a library that the tests require
      if problem.line > 0 and problem.file ~= ("scripts/policies/%s_test.lua"):format(name) then
        problem.message = ("%s:%d: %s"):format(problem.file, problem.line, problem.message)
        problem.line = 0
      end
    end
  end
  if not plan or problems then
    fail(422, plan and "The tests could not be run." or "The policy has problems.", {
      errors = errors_of(problems, field), problems = listed(problems),
    })
  end
  return as_it_is(text)
end

local function replay(req)
  local row, body = find(req.params.name), req.body
  local rollouts, decisions = db.all("replay_rollouts", row.name, body.rollout_id),
    db.all("replay_decisions", row.name, body.rollout_id, SAMPLE)
  local _, text = unless_problems(policies.replay(row.name, body.source or row.source,
    ('{"rollouts":[%s]}'):format(table.concat(column(rollouts, "rollout"), ",")), column(decisions, "decision")))
  return as_it_is(text)
end

local SHARE = { "number", min = 0, max = 1, optional = true }

return {
  {
    method = "GET", path = "/policies", who = "operator",
    query = page.query { source = { "boolean", default = true } }, handler = list,
  },
  { method = "GET", path = "/policies/:name", who = "operator", handler = function(req) return get(req) end },
  {
    method = "PUT", path = "/policies/:name", who = "operator",
    body = { source = SOURCE, message = { "string", max = 500, optional = true } },
    handler = put,
  },
  { method = "POST", path = "/policies/:name/rollback", who = "operator", handler = rollback },
  {
    method = "GET", path = "/policies/:name/revisions", who = "operator",
    query = page.query(), handler = revisions,
  },
  {
    method = "GET", path = "/policies/fields", who = "operator", -- no policy can have this name (core/policy/policy.c)
    handler = function() return 200, policies.fields() end,
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
      start = when.field,
      resumes = { "integer", min = 0, max = 1000, optional = true },
    },
    handler = simulate,
  },
  { method = "GET", path = "/policies/:name/test", who = "operator", handler = get_tests },
  {
    method = "POST", path = "/policies/:name/test", who = "operator",
    body = {
      source = { "string", min = 1, max = 65536, optional = true },
      tests = { "string", max = 65536, optional = true },
    },
    handler = test,
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
