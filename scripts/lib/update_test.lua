local explain = require "lib.explain"
local update = require "lib.update"

local AT = "2026-01-31T12:00:00Z"

local function device(fields)
  local out = { id = 1, chip = "esp32", elf_sha256 = ("a"):rep(64), firmware_version = "1.0", status = "online",
    last_seen = "2026-01-01T00:00:00Z", secure_version = 2 }
  for name, value in pairs(fields or {}) do
    if value == "none" then value = nil end
    out[name] = value
  end
  return out
end

local function image(fields)
  local out = { id = 5, chip = "esp32", version = "1.1", elf_sha256 = ("b"):rep(64), secure_version = 2,
    release_signature = "c2ln", release_key = "0badc0de" }
  for name, value in pairs(fields or {}) do
    if value == "none" then value = nil end
    out[name] = value
  end
  return out
end

return {
  an_image_is_known_by_its_hash_only = function()
    assert(not update.runs(device(), image { version = "1.0" }))
    assert(update.runs(device(), image { elf_sha256 = ("a"):rep(64) }))
    assert(update.runs(device { chip = "none" }, image { elf_sha256 = ("a"):rep(64) }))
    assert(not update.runs(device { elf_sha256 = "none" }, image()))
    local zeros = ("0"):rep(64)
    assert(not update.runs(device { elf_sha256 = zeros }, image { elf_sha256 = zeros }))
  end,

  wrong_chip_is_refused = function()
    assert(update.refusal(device(), image { chip = "esp32s3" }):find("is for esp32s3", 1, true))
    assert(not update.refusal(device { chip = "none" }, image { chip = "esp32s3" }))
    assert(not update.refusal(device(), image()))
  end,

  a_device_of_doubtful_chip_gets_nothing = function()
    local doubtful = device { chip_reported = "esp32s3" }
    assert(update.refusal(doubtful, image()):find("reports the chip esp32s3", 1, true))
    assert(update.refusal(doubtful, image { chip = "esp32s3" }))
    assert(not update.runs(doubtful, image { elf_sha256 = ("a"):rep(64) }))
    assert(not update.refusal(device { chip_reported = "esp32" }, image()))
    assert(explain(doubtful, nil, nil):find("reports the chip esp32s3", 1, true))
  end,

  unsigned_is_never_offered = function()
    assert(update.refusal(device(), image { release_signature = "none" }):find("release signature", 1, true))
  end,

  lower_secure_version_is_refused = function()
    assert(update.refusal(device(), image { secure_version = 1 }):find("secure version 1", 1, true))
    assert(not update.refusal(device(), image { secure_version = 3 }))
    assert(not update.refusal(device { secure_version = "none" }, image { secure_version = 0 }))
  end,

  a_version_must_name_one_image = function()
    local s3, here, other = image { id = 1, chip = "esp32s3" }, image { id = 2 }, image { id = 3 }
    assert(update.choose(device(), { s3, here }) == here)
    local none, message = update.choose(device(), { s3 })
    assert(none == nil and message == "is the version of no image for esp32")
    none, message = update.choose(device(), {})
    assert(none == nil and message == "is the version of no image")
    none, message = update.choose(device(), { here, other })
    assert(none == nil and message:find("several", 1, true))
    other.running = true
    assert(update.choose(device(), { here, other }) == other)
    assert(update.choose(device { chip = "none" }, { s3 }) == s3)
  end,

  explanations_name_the_reason = function()
    local text = explain(device { status = "offline" }, nil, nil)
    assert(text:find("ever ordered", 1, true) and text:find("offline", 1, true))
    text = explain(device(), { id = 7, state = "failed", version = "1.1", reason = "flash write", updated_at = AT })
    assert(text:find("No update is under way", 1, true) and text:find("failed at 2026-01-31 12:00:00 UTC: flash write", 1, true))
    text = explain(device(), { id = 7, state = "downloading", version = "1.1", progress = 40, created_at = AT },
      { expires_at = "2026-02-01T12:00:00Z" })
    assert(text:find("downloaded 40 %", 1, true) and text:find("good until 2026-02-01 12:00:00 UTC", 1, true))
    for _, state in ipairs { "pending", "offered", "downloading", "installing", "succeeded", "failed", "rolled_back",
      "rejected", "timed_out", "cancelled" } do
      text = explain(device(), { id = 1, state = state, version = "1", progress = 0, created_at = AT,
        updated_at = AT })
      assert(#text > 0)
    end
  end,
}
