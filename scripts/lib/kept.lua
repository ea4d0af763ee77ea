-- Answers that take a while in a large fleet and may be some seconds old: each worker keeps its own.
-- kept { most =, fresh =, usable =, worth = } returns get(key, compute): the value kept for the key, or compute()'s. At most
-- `most` are kept. One older than `fresh` seconds is still the answer up to `usable` seconds (as many, if not given), or
-- `worth` times as long as it took to compute (not if not given; LONGEST at most), while it is computed anew for who asks
-- next; so compute has nothing to do with the request that brought it.
-- clock, beside: now and meanwhile, but for tests.

local LONGEST = 60 -- seconds

return function(options)
  local most, fresh, least, worth = options.most, options.fresh, options.usable or options.fresh, options.worth or 0
  local clock, beside = options.clock or now, options.beside or meanwhile
  local values, count = {}, 0

  local function make_room()
    for key, entry in pairs(values) do
      if clock() - entry.at >= entry.usable then values[key], count = nil, count - 1 end
    end
    if count >= most then values, count = {}, 0 end
  end

  local function renew(key, entry, compute)
    local began = clock()
    if entry then entry.busy, entry.tried = true, began end
    local ok, value = pcall(compute)
    if not ok then
      if entry then entry.busy = false end
      error(value, 0)
    end
    if not values[key] then
      if count >= most then make_room() end
      count = count + 1
    end
    local at = clock()
    local usable = math.max(least, math.min(LONGEST, worth * (at - began)))
    values[key] = { at = at, tried = at, usable = usable, value = value }
    return value
  end

  return function(key, compute)
    local entry = values[key]
    local age = entry and clock() - entry.at
    -- While somebody who waits for it computes it anew others have the old one, but not for long.
    if not entry or age >= entry.usable and not (entry.busy and age < entry.usable + fresh) then
      return renew(key, entry, compute)
    end
    if age >= fresh and not entry.busy and clock() - entry.tried >= fresh then
      entry.busy = true
      beside(function() renew(key, entry, compute) end)
    end
    return entry.value
  end
end
