-- Updates between 1:00 and 5:00 in the morning where each device is: its tag `timezone` ("Europe/Berlin"), else
-- the rollout's params.timezone, else UTC. First 5 % in one night, then the others.
local conditions = require "lib.policy.conditions"

return {
  stages = { { name = "first night", share = 0.05, soak = "12h" }, { name = "all", share = 1 } },
  admit  = conditions.all { conditions.hours(1, 5) },
}
