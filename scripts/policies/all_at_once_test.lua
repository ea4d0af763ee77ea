local all_at_once = policy "all_at_once"

return {
  everybody_is_in_the_one_stage = function()
    equal(all_at_once.stages, { { name = "all", share = 1, soak = 0 } })
    equal(all_at_once.concurrency, 2000)
    equal(all_at_once.rate, nil)
    equal(all_at_once.admit(device { telemetry = { battery = 1 } }), "offer")
  end,

  pauses_when_surely_more_than_a_tenth_fail = function()
    equal(all_at_once.max_failure, 0.1)
    equal(all_at_once.advance { succeeded = 850, failed = 150 }, "pause")
    equal(all_at_once.advance { succeeded = 900, failed = 100 }, "hold")
    equal(all_at_once.advance { succeeded = 100, stage_done = true }, "advance")
  end,
}
