local exponential = policy "exponential"

return {
  each_stage_is_three_times_the_one_before = function()
    local names = {}
    for i, stage in ipairs(exponential.stages) do names[i] = stage.name end
    equal(names, { "1 %", "3 %", "9 %", "27 %", "81 %", "all" })
    for i = 2, 5 do
      assert(math.abs(exponential.stages[i].share / exponential.stages[i - 1].share - 3) < 1e-9)
    end
    equal(exponential.stages[6].share, 1)
  end,

  each_is_watched_for_an_hour = function()
    equal(exponential.admit {}, "offer")
    local ninth = { stage = "9 %" }
    equal(exponential.advance({ succeeded = 90, stage_done = true, stage_age = 3599 }, ninth), "hold")
    equal(exponential.advance({ succeeded = 90, stage_done = true, stage_age = 3600 }, ninth), "advance")
    equal(exponential.advance({ succeeded = 90, stage_done = true }, { stage = "all" }), "advance")
  end,

  pauses_when_surely_more_than_5_percent_fail = function()
    equal(exponential.max_failure, 0.05)
    equal(exponential.advance { succeeded = 920, failed = 80 }, "pause")
    equal(exponential.advance { succeeded = 950, failed = 50 }, "hold")
  end,
}
