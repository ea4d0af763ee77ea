local filter = require "lib.device_filter"

return {
  nothing_asked_is_no_filter = function()
    equal(filter.make {}, nil)
    equal(filter.make { limit = 50 }, nil)
  end,

  what_is_asked_for = function()
    equal(filter.make { chip = "esp32", version = "1.0", update = "failed" },
      { chip = "esp32", version = "1.0", update = "failed" })
    equal(filter.make { online = false }, { status = "offline" })
    equal(filter.make { online = true }, { status = "online" })
    equal(filter.make { tag = "site:a:b" }, { tags = { site = "a:b" } })
    equal(filter.make { silent_for = 0 }, { silent_for = 0 })
  end,

  words_are_no_patterns = function()
    equal(filter.make { q = "50%_a\\" }, { words = "%50\\%\\_a\\\\%" })
  end,

  a_number_may_be_an_id = function()
    equal(filter.make { q = "42" }, { words = "%42%", id = 42 })
    equal(filter.make { q = "2147483647" }, { words = "%2147483647%", id = 2147483647 })
    equal(filter.make { q = "2147483648" }, { words = "%2147483648%" })
    equal(filter.make { q = "042" }, { words = "%042%" })
    equal(filter.make { q = "4 2" }, { words = "%4 2%" })
    equal(filter.make { q = ("9"):rep(100) }, { words = "%" .. ("9"):rep(100) .. "%" })
  end,

  an_image_is_known_by_its_hash = function()
    local image = { elf_sha256 = "00ab", version = "1.0", chip = "esp32", id = 3 }
    equal(filter.make({ firmware_id = 3 }, image), { image = { elf_sha256 = "00ab", version = "1.0", chip = "esp32" } })
    image.elf_sha256 = "0000"
    equal(filter.make({ firmware_id = 3 }, image), { image = { version = "1.0", chip = "esp32" } })
  end,
}
