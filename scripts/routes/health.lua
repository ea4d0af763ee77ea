-- For those who watch: is it alive, can it work, how does it do.

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

local STATES = {
  "pending", "offered", "downloading", "installing", "succeeded", "failed", "rolled_back", "rejected", "timed_out",
  "cancelled",
}

-- Counting takes a while in a large fleet: on a connection of its own, and not for each scrape of many.
local KEEP = 5
local counted = { at = 0, text = "" }

local function count_updates()
  if now() - counted.at < KEEP then return counted.text end
  local found = {}
  db.transaction(function(tx)
    for _, row in ipairs(tx.all("fleet_updates")) do found[row.state] = row.count end
  end)
  local out = { "# HELP otad_updates_total Updates by the state they are in\n# TYPE otad_updates_total gauge\n" }
  for _, state in ipairs(STATES) do
    out[#out + 1] = ('otad_updates_total{state="%s"} %d\n'):format(state, found[state] or 0)
  end
  counted = { at = now(), text = table.concat(out) }
  return counted.text
end

-- Without the database the rest is worth the more.
local function metrics()
  local ok, updates = pcall(count_updates)
  return 200, server.metrics() .. (ok and updates or ""),
    { ["content-type"] = "text/plain; version=0.0.4; charset=utf-8" }
end

return {
  { method = "GET", path = "/healthz", who = "anyone", handler = healthz },
  { method = "GET", path = "/readyz", who = "anyone", handler = readyz },
  { method = "GET", path = "/metrics", who = "anyone", handler = metrics },
}
