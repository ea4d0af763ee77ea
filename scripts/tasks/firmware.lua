-- Removes images that no firmware has: an upload was killed after it had stored them. One under way stores them anew
-- until there is its row, so what is an hour old is nobody's.

local AGE, BATCH = 3600, 500

local function unknown(names)
  local found = {}
  for first = 1, #names, BATCH do
    local batch = json.array {}
    for i = first, math.min(first + BATCH - 1, #names) do batch[#batch + 1] = names[i] end
    for _, row in ipairs(db.all("firmware_unknown", batch)) do found[#found + 1] = row.sha256 end
  end
  return found
end

return {
  every = "24h",
  run = function()
    local names = firmware.stored(AGE)
    local left = unknown(names)
    if #left > 0 and #left == #names then -- more likely another database than another store
      log.warn("images are kept although the database knows none of them", { images = #left })
      return
    end
    for _, sha256 in ipairs(left) do
      if firmware.remove(sha256, AGE) then
        log.info("removed an image that no firmware has", { sha256 = sha256 })
      end
    end
  end,
}
