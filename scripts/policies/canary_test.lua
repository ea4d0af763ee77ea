local canary = policy "canary"

return {
  stages_grow_to_all = function()
    local shares = {}
    for i, stage in ipairs(canary.stages) do shares[i] = stage.share end
    equal(shares, { 0.01, 0.1, 0.5, 1 })
    equal(canary.stages[1], { name = "canary", share = 0.01, soak = 30 * 60 })
    equal(canary.stages[3], { name = "half", share = 0.5, soak = 6 * 3600 })
    equal(canary.rate, { per_minute = 600, growth = 1.5 })
    equal(canary.concurrency, 500)
    equal(canary.timeout, 15 * 60)
    equal(canary.retry, { max = 2, after = 600 })
  end,

  batteries_below_30_percent_wait = function()
    local verdict, reason, line = canary.admit(device { telemetry = { battery = 29.9 } })
    equal(verdict, "hold")
    equal(reason, "battery below 30 %")
    equal(line, 15)
    equal(canary.admit(device { telemetry = { battery = 30 } }), "offer")
    equal(canary.admit(device {}), "offer", "no battery")
  end,

  a_stage_is_watched_before_the_next = function()
    equal(canary.advance { succeeded = 10, stage_done = true, stage_age = 1799 }, "hold")
    equal(canary.advance { succeeded = 10, stage_done = true, stage_age = 1800 }, "advance")
    equal(canary.advance { succeeded = 10, stage_done = false, stage_age = 90000 }, "hold")
    local early = { stage = "early" }
    equal(canary.advance({ succeeded = 10, stage_done = true, stage_age = 7199 }, early), "hold")
    equal(canary.advance({ succeeded = 10, stage_done = true, stage_age = 7200 }, early), "advance")
    equal(canary.advance({ succeeded = 10, stage_done = true }, { stage = "all" }), "advance")
  end,

  failures_pause_once_20_have_ended = function()
    equal(canary.advance { failed = 19 }, "hold")
    local verdict, reason = canary.advance { failed = 20 }
    equal(verdict, "pause")
    equal(reason, "failures above 5 %")
  end,

  the_lower_bound_counts_not_the_rate = function()
    local few = stats { succeeded = 18, failed = 2, stage_done = true, stage_age = 1800 }
    assert(few.failure_rate == 0.1 and few.failure_low < 0.05)
    equal(canary.advance(few), "advance")
    equal(canary.advance { succeeded = 180, failed = 20, stage_done = true, stage_age = 1800 }, "pause")
    equal(canary.advance { ended = 20, failure_low = 0.05 }, "hold")
    equal(canary.advance { ended = 20, failure_low = 0.0501 }, "pause")
  end,
}
