-- How a span of time is cut into points that begin at round instants (UTC).

local WIDTHS = { -- seconds
  1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 432000, 864000,
  2592000,
}

-- The width of a point and an instant where one begins: at most `most` points, each a multiple of `least` seconds wide.
return function(from, to, most, least)
  if most == 1 then return to - from, from end
  local round = 0
  for i = 1, math.huge do
    round = WIDTHS[i] or round * 2
    local width = math.ceil(round / least) * least
    if math.ceil(to / width) - math.floor(from / width) <= most then return width, 0 end
  end
end
