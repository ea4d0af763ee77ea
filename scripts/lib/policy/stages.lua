-- Lists of stages for policies. The soak is how long a stage is watched, once all its devices are done, before
-- the next begins; the last stage has none to wait for.

local stages = {}

-- `count` stages of equal size: stages.linear(4, "1h") is 25 %, 50 %, 75 %, all.
function stages.linear(count, soak)
  local list = {}
  for i = 1, count do
    list[i] = { name = i == count and "all" or i .. " of " .. count, share = i / count, soak = i < count and soak or 0 }
  end
  return list
end

-- The first share, then `factor` times as many each time: stages.exponential(0.01, 3, "1h") is 1 %, 3 %, 9 %, 27 %,
-- 81 %, all.
function stages.exponential(first, factor, soak)
  assert(first > 0 and factor > 1, "the first share must be above 0 and the factor above 1")
  local list, share = {}, first
  while share < 1 do
    list[#list + 1] = { name = ("%g %%"):format(share * 100), share = share, soak = soak }
    share = share * factor
  end
  list[#list + 1] = { name = "all", share = 1 }
  return list
end

return stages
