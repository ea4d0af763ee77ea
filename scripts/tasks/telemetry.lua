-- Rolls telemetry up by the hour, a range of devices at a time. Every instance does: the statement takes what is due and
-- nobody else has in hand, so that what was missed while otad was down, and what an installation has from before, is
-- caught up in the same way. On a connection of its own: what devices say never waits for it.

local LOOK = 60   -- seconds between looks for new ranges
local WORK = 0.5  -- seconds of work in a row when there is much to do; then others have their turn
local DAY = 24

local looked = 0
local most = 1    -- hours a statement, as many as it does in that time

return {
  every = "2s",
  run = function()
    local began = now()
    if began - looked >= LOOK or looked > began then
      db.run("telemetry_ranges_add")
      looked = began
    end
    local rolled, at
    repeat
      local hours
      at, hours, most = now(), most, 1 -- which it stays if this fails: it may have been too much
      rolled = db.transaction(function(tx) return tx.one("telemetry_roll", config["telemetry.window"], hours) end)
      local took = now() - at
      most = took > WORK and math.max(hours // 2, 1) or took < WORK / 4 and math.min(hours * 2, DAY) or hours
    until not rolled or now() - began > WORK
  end,
}
