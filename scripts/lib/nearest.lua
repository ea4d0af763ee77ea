-- "did you mean ...?": the known name that is nearest to a mistyped one.

-- Levenshtein distance, or `most` where it is not below that.
local function distance(a, b, most)
  if math.abs(#a - #b) >= most then return most end
  local row = {}
  for j = 0, #b do row[j] = j end
  for i = 1, #a do
    local diagonal = row[0]
    row[0] = i
    for j = 1, #b do
      local change = diagonal + (a:byte(i) == b:byte(j) and 0 or 1)
      diagonal = row[j]
      row[j] = math.min(change, row[j] + 1, row[j - 1] + 1)
    end
  end
  return math.min(row[#b], most)
end

-- names: a set {name = anything}. nil where none is near. Of equally near ones the first in order.
return function(word, names)
  local best, least = nil, math.min(3, #word // 2 + 1)
  if #word > 40 then return nil end
  for name in pairs(names) do
    local d = distance(word, name, 3)
    if d < least or (d == least and best and name < best) then best, least = name, d end
  end
  return best
end
