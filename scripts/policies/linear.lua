-- Updates a tenth of the devices at a time, and watches each tenth for an hour. Pauses when more than 5 % fail.
local stages = require "lib.policy.stages"

return {
  stages      = stages.linear(10, "1h"),
  max_failure = 0.05,
}
