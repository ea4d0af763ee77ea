-- Ends updates that fell silent and renews offers before they expire. Every instance runs this; the statements see to
-- it that each update is treated once.

local update = require "lib.update"

local BATCH, ROUNDS = 200, 10

local function time_out()
  for _ = 1, ROUNDS do
    local ended = db.all("updates_time_out", config["update.timeout"], config["update.offer_timeout"], BATCH)
    for _, row in ipairs(ended) do
      log.info("update timed out", { update_id = row.id, device_id = row.device_id })
    end
    events.updates(ended)
    if #ended > 0 then offers.poke() end
    if #ended < BATCH then return end
  end
end

local function renew()
  for _ = 1, ROUNDS do
    local due = db.all("updates_expiring", config["update.offer_ttl"] / 4, BATCH)
    if #due == 0 then return end
    local list = {}
    for i, row in ipairs(due) do
      local payload, expires = update.offer(row.id, row.device_id, row)
      list[i] = {
        id = row.id, device_id = row.device_id, was = row.expires_at, payload = payload, expires_at = expires,
      }
    end
    db.run("updates_renew", list)
    offers.poke()
    if #due < BATCH then return end
  end
end

return {
  every = "1s",
  run = function()
    time_out()
    renew()
  end,
}
