local attention = require "lib.attention"

local function texts(list)
  local found = {}
  for i, entry in ipairs(list) do found[i] = entry.text end
  return found
end

return {
  devices = function()
    local list = {}
    attention.devices(list, { silent = 5, weak = 1 }, 12)
    equal(texts(list), {
      "12 devices failed their last update", "5 devices went silent within a day", "1 device has less than 20 % of battery",
    })
    equal(list[1].filter, { update = "failed" })
    list = {}
    attention.devices(list, { silent = 0, weak = 0 }, 1)
    equal(texts(list), { "1 device failed its last update" })
  end,

  parts = function()
    local list = {}
    attention.parts(list, { postgresql = true, redis = false, mqtt = false, scripts = true })
    equal(texts(list), { "Redis cannot be reached", "the MQTT broker cannot be reached" })
  end,

  rollouts_paused_by_their_policy = function()
    local list = {}
    attention.rollouts(list, {
      { id = 3, name = "spring", state = "paused", verdict = "pause", reason = "failures above 5 %", policy = "canary" },
      { id = 2, name = "by hand", state = "paused", reason = "paused on request", policy = "canary" },
      { id = 1, name = "goes", state = "running", verdict = "hold", policy = "canary" },
    })
    equal(texts(list), { "Rollout spring is paused: failures above 5 %" })
    equal(list[1].rollout_id, 3)
  end,
}
