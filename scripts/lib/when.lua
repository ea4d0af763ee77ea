-- Times as RFC 3339 writes them.

local when = {}

-- Of a query string: Unix seconds, or nil. A `+` of the offset that the client forgot to encode arrives as a space.
function when.read(text)
  text = text:gsub(" (%d%d:%d%d)$", "+%1")
  local year, month, day = text:match("^(%d%d%d%d)%-(%d%d)%-(%d%d)T%d%d:%d%d:%d%d[%d.]*[%dZz:+-]+$")
  if not year or day + 0 < 1 or year + 0 < 1970 then return nil end
  local leap = year % 4 == 0 and (year % 100 ~= 0 or year % 400 == 0)
  local days = { 31, leap and 29 or 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 }
  if day + 0 > (days[month + 0] or 0) then return nil end
  return time.parse(text)
end

when.field = {
  "string", max = 40, optional = true,
  check = function(text) return not when.read(text) and "must be a time such as 2026-01-31T12:00:00Z" or nil end,
}

-- Such a time from the database in words, to the second.
function when.words(text)
  local day, clock = text:match("^(%d+%-%d+%-%d+)T(%d+:%d+:%d+)")
  return ("%s %s UTC"):format(day, clock)
end

return when
