-- For those who watch: is it alive, can it work, how does it do.

local kept = require "lib.kept"

local function healthz()
  return 200, { status = "ok", version = server.version }
end

local function readyz()
  local ready, parts = true, server.ready()
  local body = { parts = {} }
  for name, state in pairs(parts) do
    ready = ready and state
    body.parts[name] = state and "ready" or "down"
  end
  body.ready = ready
  if ready then return 200, body end
  return 503, body, { ["retry-after"] = "1" }
end

local function family(out, name, kind, help, rows)
  out[#out + 1] = ("# HELP %s %s\n# TYPE %s %s\n"):format(name, help, name, kind)
  for _, row in ipairs(rows) do out[#out + 1] = ('%s{state="%s"} %d\n'):format(name, row.state, row.count) end
end

-- Counting takes a while in a large fleet: on a connection of its own, and not for each scrape of many.
local kept_counts = kept { fresh = 5, most = 1 }

local function count_updates()
  local out = {}
  db.transaction(function(tx)
    family(out, "otad_updates_total", "counter", "Updates that entered each state, on all instances together",
      tx.all("fleet_updates_entered"))
    family(out, "otad_updates_under_way", "gauge", "Updates that are in each state now, on all instances together",
      tx.all("fleet_updates_under_way"))
    family(out, "otad_rollouts", "gauge", "Rollouts in each state", tx.all("fleet_rollouts"))
  end)
  return table.concat(out)
end

-- Without the database the rest is worth the more.
local function metrics()
  local ok, updates = pcall(kept_counts, "updates", count_updates)
  return 200, server.metrics() .. (ok and updates or ""),
    { ["content-type"] = "text/plain; version=0.0.4; charset=utf-8" }
end

return {
  { method = "GET", path = "/healthz", who = "anyone", handler = healthz },
  { method = "GET", path = "/readyz", who = "anyone", handler = readyz },
  { method = "GET", path = "/metrics", who = "anyone", handler = metrics },
}
