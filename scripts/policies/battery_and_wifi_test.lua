local battery_and_wifi = policy "battery_and_wifi"

local function admit(telemetry) return battery_and_wifi.admit { telemetry = telemetry } end

return {
  half_a_battery_is_enough = function()
    equal(admit { battery = 50, rssi = -60 }, "offer")
    local verdict, reason, _, again = admit { battery = 49.5, rssi = -60 }
    equal(verdict, "hold")
    equal(reason, "battery at 49.5 %, below 50 %")
    equal(again, 600)
  end,

  charging_is_enough_too = function()
    equal(admit { battery = 5, charging = true }, "offer")
    equal(admit { battery = 5, charging = false }, "hold")
  end,

  weak_wifi_waits = function()
    equal(admit { rssi = -75 }, "offer")
    local verdict, reason = admit { rssi = -76 }
    equal(verdict, "hold")
    equal(reason, "Wi-Fi at -76 dBm, below -75 dBm")
    equal(admit { battery = 100, charging = true, rssi = -90 }, "hold")
  end,

  what_devices_do_not_report_is_no_objection = function()
    equal(admit {}, "offer")
  end,

  stages_as_exponential = function()
    equal(battery_and_wifi.stages, policy("exponential").stages)
    equal(battery_and_wifi.max_failure, 0.05)
  end,
}
