-- Answers that take a while in a large fleet and may be some seconds old: each worker computes them once in that time.
-- kept(seconds, most) returns get(key, compute): the value kept for the key, or compute()'s. At most `most` are kept.
-- clock: now, but for tests.

return function(seconds, most, clock)
  clock = clock or now
  local values, count = {}, 0

  local function make_room()
    for key, entry in pairs(values) do
      if clock() - entry.at >= seconds then values[key], count = nil, count - 1 end
    end
    if count >= most then values, count = {}, 0 end
  end

  return function(key, compute)
    local entry = values[key]
    local age = entry and clock() - entry.at
    -- While somebody computes it anew others have the old one, but not for long.
    if entry and (age < seconds or entry.busy and age < 2 * seconds) then return entry.value end
    if entry then entry.busy = true end
    local ok, value = pcall(compute)
    if not ok then
      if entry then entry.busy = false end
      error(value, 0)
    end
    if not values[key] then
      if count >= most then make_room() end
      count = count + 1
    end
    values[key] = { at = clock(), value = value }
    return value
  end
end
