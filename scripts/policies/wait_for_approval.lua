-- Updates 5 %, then waits for a person: the rollout pauses once those devices are done, and goes on to all when
-- somebody resumes it.
local conditions = require "lib.policy.conditions"

return {
  stages = { { name = "trial", share = 0.05 }, { name = "all", share = 1 } },

  advance = function(rollout, stats)
    if conditions.failing(stats, 0.05) then return "pause", "failures above 5 %" end
    if not stats.stage_done then return "hold" end
    if rollout.stage ~= "all" and not rollout.resumed then return "pause", "waiting for approval: resume to go on" end
    return "advance", "approved"
  end,
}
