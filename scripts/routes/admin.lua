-- The running scripts: what is loaded, load again. And what this installation is set to.

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

local function with_id(key)
  return { id = keys.ids[key], key = key }
end

local function settings()
  local release = {}
  for i, key in ipairs(keys.release) do release[i] = with_id(key) end
  local authority = (config["public_url"]:match("^%a+://([^/]*)") or "localhost"):gsub("^.*@", "")
  local host = authority:match("^%[.*%]") or authority:match("^[^:]*")
  local has_https = config["https.certificate"] ~= "" and config["https.port"] ~= 0
  return 200, {
    version = server.version,
    instance = server.instance(),
    addresses = {
      public = config["public_url"],
      http = ("http://%s:%d"):format(host, config["http.port"]),
      https = has_https and ("https://%s:%d"):format(host, config["https.port"]) or json.null,
      mqtt = { host = config["mqtt.public_host"], port = config["mqtt.public_port"], tls = config["mqtt.public_tls"] },
    },
    keys = {
      manifest = with_id(keys.manifest),
      release = json.array(release),
      auto_sign = config["firmware.auto_sign"],
    },
    config = server.settings(),
  }
end

return {
  { method = "GET", path = "/admin/settings", who = "operator", handler = settings },
  { method = "POST", path = "/admin/reload", who = "operator", handler = reload },
  { method = "GET", path = "/admin/scripts", who = "operator", handler = scripts },
  {
    method = "GET", path = "/admin/routes", who = "operator",
    handler = function() return 200, { items = json.array(server.routes()) } end,
  },
}
