local night_window = policy "night_window"

local function at(time, tags, params)
  clock.set(time)
  local verdict, reason, _, again = night_window.admit({ tags = tags or {} }, { params = params or {} })
  return { verdict, reason, again }
end

local function waits(again) return { "hold", "1:00 to 5:00 only", again } end

return {
  from_one_to_five = function()
    equal(at "2026-03-01T00:59:59Z", waits(60))
    equal(at "2026-03-01T01:00:00Z", { "offer" })
    equal(at "2026-03-01T04:59:59Z", { "offer" })
    equal(at "2026-03-01T05:00:00Z", waits(1800))
    equal(at "2026-03-01T12:10:00Z", waits(1200))
  end,

  where_the_device_is = function()
    local berlin, kolkata = { timezone = "Europe/Berlin" }, { timezone = "Asia/Kolkata" }
    equal(at("2026-01-15T00:00:00Z", berlin), { "offer" })
    equal(at("2026-01-15T04:00:00Z", berlin)[1], "hold")
    equal(at("2026-07-14T23:00:00Z", berlin), { "offer" })
    equal(at("2026-07-15T03:00:00Z", berlin)[1], "hold")
    equal(at("2026-01-14T19:29:00Z", kolkata)[1], "hold")
    equal(at("2026-01-14T19:30:00Z", kolkata), { "offer" })
  end,

  else_where_the_rollout_is = function()
    local params = { timezone = "America/New_York" }
    equal(at("2026-01-15T06:00:00Z", nil, params), { "offer" })
    equal(at("2026-01-15T01:00:00Z", nil, params)[1], "hold")
    equal(at("2026-01-15T06:00:00Z", { timezone = "UTC" }, params)[1], "hold")
  end,

  a_night_passes = function()
    clock.set "2026-03-01T00:00:00Z"
    local offered = 0
    for _ = 1, 48 do
      if night_window.admit {} == "offer" then offered = offered + 1 end
      clock.advance "30m"
    end
    equal(offered, 8)
    equal(time.rfc3339(clock.now()):sub(1, 19), "2026-03-02T00:00:00")
  end,

  first_one_night_then_all = function()
    equal(night_window.stages[1], { name = "first night", share = 0.05, soak = 12 * 3600 })
    equal(night_window.advance { succeeded = 10, stage_done = true, stage_age = 12 * 3600 - 1 }, "hold")
    equal(night_window.advance { succeeded = 10, stage_done = true, stage_age = 12 * 3600 }, "advance")
  end,
}
