local linear = policy "linear"

return {
  ten_equal_stages = function()
    equal(#linear.stages, 10)
    for i, stage in ipairs(linear.stages) do
      equal(stage.share, i / 10)
      equal(stage.soak, i < 10 and 3600 or 0)
    end
    equal(linear.stages[10].name, "all")
  end,

  each_is_watched_for_an_hour = function()
    equal(linear.admit {}, "offer")
    equal(linear.advance { succeeded = 10, stage_done = true, stage_age = 3599 }, "hold")
    equal(linear.advance { succeeded = 10, stage_done = true, stage_age = 3600 }, "advance")
    equal(linear.advance({ succeeded = 10, stage_done = true }, { stage = "all" }), "advance")
  end,

  pauses_when_surely_more_than_5_percent_fail = function()
    equal(linear.max_failure, 0.05)
    equal(linear.advance { succeeded = 920, failed = 80 }, "pause")
    equal(linear.advance { succeeded = 950, failed = 50 }, "hold")
  end,
}
