local by_site = policy "by_site"

return {
  five_of_a_site_at_once = function()
    equal(by_site.spread, { tag = "site", concurrency = 5 })
    equal(by_site.admit { tags = { site = "north" } }, "offer")
    equal(by_site.admit {}, "offer", "no site")
  end,

  a_tenth_first_then_the_others = function()
    equal(by_site.stages, { { name = "early", share = 0.1, soak = 7200 }, { name = "all", share = 1, soak = 0 } })
    equal(by_site.advance { succeeded = 10, stage_done = true, stage_age = 7199 }, "hold")
    equal(by_site.advance { succeeded = 10, stage_done = true, stage_age = 7200 }, "advance")
  end,

  pauses_when_surely_more_than_5_percent_fail = function()
    equal(by_site.max_failure, 0.05)
    equal(by_site.advance { succeeded = 920, failed = 80 }, "pause")
    equal(by_site.advance { succeeded = 950, failed = 50 }, "hold")
  end,
}
