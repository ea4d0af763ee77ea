local count = require "lib.count"

return {
  thousands_are_told_apart = function()
    assert(count(0) == "0" and count(999) == "999" and count(1000) == "1,000" and count(12345678) == "12,345,678")
  end,
}
