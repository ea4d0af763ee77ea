-- Updates devices while they have power and a good connection: at least half a battery, or charging, and -75 dBm.
-- 1 %, then three times as many with each stage. Pauses when more than 5 % fail.
local conditions = require "lib.policy.conditions"
local stages = require "lib.policy.stages"

return {
  stages      = stages.exponential(0.01, 3, "1h"),
  max_failure = 0.05,
  admit       = conditions.all { conditions.battery(50), conditions.wifi(-75) },
}
