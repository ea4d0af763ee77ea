local span = require "lib.span"

local DAY = 1790035200 -- midnight, UTC

return {
  points_begin_at_round_instants = function()
    local width, origin = span(DAY + 7, DAY + 7 + 86400, 100, 10)
    assert(width == 900 and origin == 0)
    width = span(DAY, DAY + 120, 2, 10)
    assert(width == 60)
    width = span(DAY, DAY + 3600, 1000, 10)
    assert(width == 10)
  end,

  there_are_never_more_than_asked_for = function()
    for most = 2, 1000, 7 do
      for _, length in ipairs { 1, 59, 3600, 86400, 86401, 30 * 86400, 50 * 365 * 86400 } do
        for _, from in ipairs { DAY, DAY + 0.25, DAY + 86399 } do
          local width = span(from, from + length, most, 10)
          assert(math.ceil((from + length) / width) - math.floor(from / width) <= most)
          assert(width >= 10 and width % 10 == 0)
        end
      end
    end
  end,

  a_single_point_is_the_whole_span = function()
    local width, origin = span(DAY + 1, DAY + 4, 1, 10)
    assert(width == 3 and origin == DAY + 1)
  end,

  odd_windows_have_a_width = function()
    for _, window in ipairs { 7, 13, 61, 86401 } do
      local width = span(DAY, DAY + 86400, 50, window)
      assert(width >= window and width % window == 0, window)
    end
  end,
}
