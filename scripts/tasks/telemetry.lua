-- Rolls telemetry up by the hour, a range of devices at a time. Every instance does: the statement takes what is due and
-- nobody else has in hand, so that what was missed while otad was down, and what an installation has from before, is
-- caught up by the same way. On a connection of its own: what devices say never waits for it.

local LOOK = 60     -- seconds between looks for new ranges
local WORK = 0.5    -- seconds of work in a row, when there is much to do: the rest of the time is others'

local looked = 0

return {
  every = "2s",
  run = function()
    local began = now()
    if began - looked >= LOOK or looked > began then
      db.run("telemetry_ranges_add")
      looked = began
    end
    repeat
      local rolled = db.transaction(function(tx) return tx.one("telemetry_roll", config["telemetry.window"]) end)
    until not rolled or now() - began > WORK
  end,
}
