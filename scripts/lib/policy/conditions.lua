-- Conditions for `admit`; those for `advance` are at the end. Each is a function like admit that returns nothing where it
-- has no objection; conditions.all makes one admit of several, whose first objection counts.

local conditions = {}

function conditions.all(list)
  return function(device, rollout, ctx)
    for _, condition in ipairs(list) do
      local verdict, reason, options = condition(device, rollout, ctx)
      if verdict then return verdict, reason, options end
    end
    return "offer"
  end
end

-- The battery is above `percent`, or charging. Devices that report no battery have none.
function conditions.battery(percent)
  return function(device)
    local battery = device.telemetry.battery
    if battery and battery < percent and not device.telemetry.charging then
      return "hold", ("battery at %g %%, below %g %%"):format(battery, percent), { again = "10m" }
    end
  end
end

-- The signal of the Wi-Fi is at least `dbm`. Devices that report none are connected otherwise.
function conditions.wifi(dbm)
  return function(device)
    local rssi = device.telemetry.rssi
    if rssi and rssi < dbm then
      return "hold", ("Wi-Fi at %g dBm, below %g dBm"):format(rssi, dbm), { again = "10m" }
    end
  end
end

-- It is between the hours `from` and `to` where the device is (its tag `timezone`, else the rollout's
-- params.timezone, else UTC). From 22 to 5 is over midnight.
function conditions.hours(from, to)
  return function(device, rollout, ctx)
    local inside = ctx.hour >= from and ctx.hour < to
    if from > to then inside = ctx.hour >= from or ctx.hour < to end
    if not inside then
      local again = math.max(60, 1800 - ctx.now % 1800) -- the next full or half hour: zones differ by such
      return "hold", ("%d:00 to %d:00 only"):format(from, to), { again = again }
    end
  end
end

-- For `advance`: surely more than `share` of the devices failed, of at least 20. Whoever resumes a rollout knows what
-- had failed by then; what ends later counts anew.
function conditions.failing(stats, share)
  local seen = stats.since_resume
  return seen.ended >= 20 and seen.failure_low > share
end

return conditions
