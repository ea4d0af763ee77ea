-- Updates 1 %, then three times as many with each stage, and watches each for an hour. Pauses when more than 5 %
-- fail. Begins as carefully as canary and ends sooner than linear.
local stages = require "lib.policy.stages"

return {
  stages      = stages.exponential(0.01, 3, "1h"),
  max_failure = 0.05,
}
