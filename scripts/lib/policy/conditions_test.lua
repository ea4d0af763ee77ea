-- Helpers run where policies do: in a policy that consists of one.
local function admit_of(expression)
  local head = "local conditions = require 'lib.policy.conditions' return { admit = %s }"
  return policy { source = head:format(expression) }.admit
end

local function at(admit, hour)
  clock.set(("2026-03-01T%02d:00:00Z"):format(hour))
  return (admit {})
end

return {
  all_takes_the_first_objection = function()
    local admit = admit_of "conditions.all { conditions.battery(20), conditions.wifi(-70) }"
    equal(admit { telemetry = { battery = 20, rssi = -70 } }, "offer")
    local _, reason, _, again, file = admit { telemetry = { battery = 19, rssi = -71 } }
    equal(reason, "battery at 19 %, below 20 %")
    equal(again, 600)
    equal(file, "scripts/lib/policy/conditions.lua")
    _, reason, _, again = admit { telemetry = { battery = 20, rssi = -71 } }
    equal(reason, "Wi-Fi at -71 dBm, below -70 dBm")
    equal(again, 600)
  end,

  none_at_all_offers = function()
    equal(admit_of "conditions.all {}" {}, "offer")
  end,

  all_takes_conditions_of_ones_own = function()
    local admit = admit_of "conditions.all { function(device) if not device.online then return 'skip', 'off' end end }"
    equal(admit { online = true }, "offer")
    local verdict, reason = admit { online = false }
    equal(verdict, "skip")
    equal(reason, "off")
  end,

  hours_begin_and_end_on_the_hour = function()
    local day = admit_of "conditions.all { conditions.hours(9, 17) }"
    for hour = 0, 23 do equal(at(day, hour), hour >= 9 and hour < 17 and "offer" or "hold", hour .. ":00") end
  end,

  hours_go_over_midnight = function()
    local night = admit_of "conditions.all { conditions.hours(22, 5) }"
    for hour = 0, 23 do equal(at(night, hour), (hour >= 22 or hour < 5) and "offer" or "hold", hour .. ":00") end
  end,

  hours_from_one_to_the_same_are_none = function()
    local never = admit_of "conditions.all { conditions.hours(9, 9) }"
    for hour = 0, 23 do equal(at(never, hour), "hold", hour .. ":00") end
  end,

  asks_again_at_the_next_half_hour = function()
    local admit = admit_of "conditions.all { conditions.hours(9, 17) }"
    local function again_at(time)
      clock.set(time)
      return (select(4, admit {}))
    end
    equal(again_at "2026-03-01T08:00:00Z", 1800)
    equal(again_at "2026-03-01T08:10:00Z", 1200)
    equal(again_at "2026-03-01T08:29:30Z", 60)
  end,
}
