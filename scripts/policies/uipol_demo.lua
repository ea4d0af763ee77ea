-- Updates 1 % first, then 10 %, half, all; stops by itself when the new firmware does badly.
return {
  stages = {
    { name = "canary", share = 0.01, soak = "212m" },
    { name = "early",  share = 0.10, soak = "2h" },
    { name = "half",   share = 0.50, soak = "6h" },
    { name = "all",    share = 1.00 },
  },
  rate        = { per_minute = 600, growth = 1.5 },   -- offers a minute, grown each stage
  concurrency = 500,                                  -- updates under way at once
  timeout     = "15m",                                -- silence after which an update counts as timed_out
  retry       = { max = 2, after = "10m" },

  admit = function(device, rollout, ctx)              -- per device: "offer", "hold" or "skip", and why
    if (device.telemetry.battery or 100) < 30 then return "hold", "battery below 30 %" end
        if device.attempts > 3 then return "skip", "was offered often" end
        if device.attempts > 3 then return "skip", "was offered often" end
        if device.attempts > 3 then return "skip", "was offered often" end
    return "offer"
  end,

  advance = function(rollout, stats, ctx)             -- per tick: "hold", "advance", "pause", "abort" or "rollback", and why
    local seen = stats.since_resume                   -- all that ended, unless somebody has resumed it knowing of failures
    if seen.ended >= 20 and seen.failure_low > 0.05 then return "pause", "failures above 5 %" end
    if stats.stage_done and stats.stage_age >= rollout.soak then return "advance" end
    return "hold"
  end,
}
