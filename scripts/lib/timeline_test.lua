local timeline = require "lib.timeline"

local function says(expected, kind, data, nth)
  local text = timeline.text(kind, data or {}, nth)
  assert(text == expected, text)
end

return {
  events_of_the_device_itself = function()
    says("registered", "registered")
    says("came online", "online")
    says("went offline", "offline")
    says("restarted (brownout)", "restart", { reset_reason = "brownout" })
    says("restarted (power on)", "restart", { reset_reason = "power_on" })
  end,

  what_it_runs = function()
    says("runs 1.2.0", "firmware", { version = "1.2.0" })
    says("runs 1.3.0 (was 1.2.0)", "firmware", { version = "1.3.0", was = "1.2.0" })
    says("runs another image of 1.3.0", "firmware", { version = "1.3.0", was = "1.3.0", elf_sha256 = "ab" })
    says("runs another image of an untold version", "firmware", { elf_sha256 = "ab" })
  end,

  updates = function()
    says("update to 1.3.0: downloading", "update", { action = "install", version = "1.3.0", state = "downloading" })
    says("update to 1.3.0: timed out (the device never took the offer)", "update",
      { action = "install", version = "1.3.0", state = "timed_out", reason = "the device never took the offer" })
    says("rollback to 1.2.0: succeeded", "update", { action = "rollback", version = "1.2.0", state = "succeeded" })
  end,

  decisions = function()
    says("rollout 3: hold (battery below 30 %)", "decision", { rollout_id = 3, verdict = "hold", reason = "battery below 30 %" })
    says("rollout 3: offer", "decision", { rollout_id = 3, verdict = "offer" })
  end,

  what_people_did = function()
    says("ada@example.org changed chip, tags", "person",
      { user = "ada@example.org", action = "device.change", before = { chip = "esp32" }, after = { tags = {}, chip = "esp32s3" } })
    says("ada@example.org gave it new credentials", "person", { user = "ada@example.org", action = "device.credentials" })
    says("somebody changed owner", "person", { action = "device.change", after = { user_id = 7 } })
  end,

  percent_signs_are_text = function()
    says("runs %d (was %s)", "firmware", { version = "%d", was = "%s" })
  end,

  the_last_that_is_kept_says_so = function()
    says("went offline", "offline", {}, 29)
    says("went offline, and what followed within the hour is too much to be kept", "offline", {}, 30)
  end,

  kinds_that_nobody_knows_stand_for_themselves = function() says("eclipse", "eclipse") end,

  a_row_is_shown_without_its_place = function()
    local shown = timeline.shown { at = "2026-01-01T00:00:00Z", us = 1, source = 4, id = 7, kind = "online", data = {}, nth = 1 }
    assert(shown.at == "2026-01-01T00:00:00Z" and shown.kind == "online" and shown.text == "came online")
    assert(not shown.us and not shown.id and not shown.nth)
  end,
}
