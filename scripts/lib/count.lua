-- A count for people: 12345 -> "12,345".
return function(n)
  local text = ("%d"):format(n):reverse():gsub("%d%d%d", "%0,"):reverse()
  return (text:gsub("^,", ""))
end
