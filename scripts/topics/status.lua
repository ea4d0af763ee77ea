-- What devices told, after it was stored: a list of {device_id, status?, firmware_version?, ota?}, only what changed.
-- Reports about updates move those on; the rows of the devices, which hold version and image, decide what a
-- `confirmed` is worth. An error keeps the whole list, which then comes again.

return function(changes)
  local reports = {}
  for _, change in ipairs(changes) do
    local ota = change.ota
    if ota then
      reports[#reports + 1] = {
        device_id = change.device_id, update_id = ota.update_id, state = ota.state, progress = ota.progress,
        error = ota.error,
      }
    end
  end
  if #reports == 0 then return end
  local moved = db.all("updates_report", reports)
  events.updates(moved)
  for _, update in ipairs(moved) do
    if update.ended then
      log.info("update ended", {
        update_id = update.id, device_id = update.device_id, state = update.state, reason = update.reason,
      })
    end
  end
  offers.poke()
end
