-- Drives rollouts: asks their policies whom to offer the firmware now, and when to go on. One instance at a time does:
-- the one that has the lease. Everything it writes names its fence, so that one that lost it writes nothing.

local driver = require "lib.rollout_driver"

return {
  every = "1s",
  run = driver.tick,
}
