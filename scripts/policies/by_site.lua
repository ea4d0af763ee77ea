-- Updates a few devices of each site at a time, so that no site is without most of them: 5 at once for each value
-- of the tag `site`. 10 % of all first, the others two hours later. Pauses when more than 5 % fail.
return {
  stages      = { { name = "early", share = 0.10, soak = "2h" }, { name = "all", share = 1 } },
  spread      = { tag = "site", concurrency = 5 },
  max_failure = 0.05,
}
