-- For those who watch: is it alive, can it work, how does it do.

local function healthz()
  return 200, { status = "ok", version = server.version }
end

local function readyz()
  local ready, parts = true, server.ready()
  for _, state in pairs(parts) do ready = ready and state == true end
  local body = { ready = ready, parts = {} }
  for name, state in pairs(parts) do body.parts[name] = state == true and "ready" or "down" end
  if ready then return 200, body end
  return 503, body, { ["retry-after"] = "1" }
end

-- Counts that only the database knows.
local GAUGES = {
  { "fleet_devices", "otad_devices", "status", { "online", "offline" }, "gauge", "Devices registered" },
  {
    "fleet_updates", "otad_updates_total", "state",
    { "pending", "offered", "downloading", "installing", "succeeded", "failed", "rolled_back", "rejected",
      "timed_out", "cancelled" },
    "counter", "Updates by the state they are in",
  },
}

local function counts(out)
  for _, gauge in ipairs(GAUGES) do
    local statement, name, label, values, kind, help = table.unpack(gauge)
    local found = {}
    for _, row in ipairs(db.all(statement)) do found[row[label]] = row.count end
    out[#out + 1] = ("# HELP %s %s\n# TYPE %s %s\n"):format(name, help, name, kind)
    for _, value in ipairs(values) do
      out[#out + 1] = ('%s{%s="%s"} %d\n'):format(name, label, value, found[value] or 0)
    end
  end
end

-- Without the database the rest is worth the more.
local function metrics()
  local out = { server.metrics() }
  local ok = pcall(counts, out)
  out[#out + 1] = ("# HELP otad_database_up Whether the counts above could be asked for\n" ..
    "# TYPE otad_database_up gauge\notad_database_up %d\n"):format(ok and 1 or 0)
  return 200, table.concat(out), { ["content-type"] = "text/plain; version=0.0.4; charset=utf-8" }
end

return {
  { method = "GET", path = "/healthz", who = "anyone", handler = healthz },
  { method = "GET", path = "/readyz", who = "anyone", handler = readyz },
  { method = "GET", path = "/metrics", who = "anyone", handler = metrics },
}
