-- The running scripts: what is loaded, load again.

local function problems_of(state)
  return json.array(state.problems or {})
end

local function reload()
  local state = server.reload()
  if #state.problems > 0 then
    fail(422, "The scripts on disk have problems; those that run stay.", { problems = problems_of(state) })
  end
  return 200, { revision = state.revision, files = state.files }
end

local function scripts()
  local state = server.scripts()
  return 200, {
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
