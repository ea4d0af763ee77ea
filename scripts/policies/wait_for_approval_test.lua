local wait_for_approval = policy "wait_for_approval"

return {
  a_trial_then_all = function()
    equal(wait_for_approval.stages,
      { { name = "trial", share = 0.05, soak = 0 }, { name = "all", share = 1, soak = 0 } })
    equal(wait_for_approval.admit {}, "offer")
  end,

  waits_for_the_trial_then_for_a_person = function()
    equal(wait_for_approval.advance { succeeded = 3 }, "hold")
    local verdict, reason = wait_for_approval.advance { succeeded = 5, stage_done = true }
    equal(verdict, "pause")
    equal(reason, "waiting for approval: resume to go on")
  end,

  goes_on_when_resumed = function()
    local verdict, reason = wait_for_approval.advance({ succeeded = 5, stage_done = true }, { resumed = true })
    equal(verdict, "advance")
    equal(reason, "approved")
    equal(wait_for_approval.advance({ succeeded = 3 }, { resumed = true }), "hold")
  end,

  does_not_ask_a_second_time = function()
    equal(wait_for_approval.advance({ succeeded = 100, stage_done = true }, { stage = "all" }), "advance")
  end,

  failures_pause_before_anything_else = function()
    local verdict, reason = wait_for_approval.advance({ failed = 20, stage_done = true }, { resumed = true })
    equal(verdict, "pause")
    equal(reason, "failures above 5 %")
    equal(wait_for_approval.advance { failed = 19 }, "hold")
    equal(wait_for_approval.advance { ended = 20, failure_low = 0.05 }, "hold")
    equal(wait_for_approval.advance { ended = 20, failure_low = 0.0501 }, "pause")
  end,
}
