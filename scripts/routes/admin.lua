-- The running scripts: what is loaded, load again.

local function problems_of(state)
  return json.array(state.problems or {})
end

local function reload()
  local before = server.scripts().revision
  local state = server.reload()
  if #state.problems > 0 then
    fail(422, "The scripts on disk have problems; those that run stay.", { problems = problems_of(state) })
  end
  db.run("audit_reload", server.instance(), before, state.revision)
  return 200, { revision = state.revision, files = state.files }
end

-- Policies are loaded apart from the other scripts: one that does not load keeps nothing from being in force but itself.
local function scripts()
  local state = server.scripts()
  for _, file in ipairs(policies.files()) do
    table.move(policies.load(file.name, file.source).problems, 1, 100, #state.problems + 1, state.problems)
  end
  return 200, {
    instance = server.instance(),
    revision = state.revision,
    loaded_at = time.rfc3339(state.loaded_at),
    files = state.files,
    problems = problems_of(state),
  }
end

return {
  { method = "POST", path = "/admin/reload", who = "operator", handler = reload },
  { method = "GET", path = "/admin/scripts", who = "operator", handler = scripts },
  {
    method = "GET", path = "/admin/routes", who = "operator",
    handler = function() return 200, { items = json.array(server.routes()) } end,
  },
}
