local kept = require "lib.kept"

local time     -- seconds
local meantime -- what is to be done beside the answer

local function clock() return time end

local function new(fresh, most, usable, worth)
  time, meantime = 0, {}
  return kept {
    fresh = fresh, most = most, usable = usable, worth = worth, clock = clock, beside = function(f) meantime[#meantime + 1] = f end,
  }
end

local function counter()
  local n = 0
  return function()
    n = n + 1
    return n
  end
end

return {
  computed_once_in_that_time = function()
    local get, compute = new(5, 10), counter()
    equal(get("a", compute), 1)
    time = time + 4.9
    equal(get("a", compute), 1)
    equal(get("b", compute), 2)
    time = time + 0.2
    equal(get("a", compute), 3)
    equal(get("b", compute), 2)
  end,

  an_error_is_not_kept = function()
    local get, compute = new(5, 10), counter()
    raises("away", get, "a", function() error "away" end)
    equal(get("a", compute), 1)
    time = time + 6
    raises("away", get, "a", function() error "away" end)
    equal(get("a", compute), 2)
  end,

  others_have_the_old_one_meanwhile = function()
    local get = new(5, 10)
    get("a", function() return "old" end)
    time = time + 6
    local inside
    equal(get("a", function()
      inside = get("a", function() return "never" end)
      return "new"
    end), "new")
    equal(inside, "old")
    equal(get("a", function() return "never" end), "new")
  end,

  computed_beside_the_answer = function()
    local get, compute = new(5, 10, 30), counter()
    equal(get("a", compute), 1)
    time = time + 4.9
    get("a", compute)
    equal(#meantime, 0)
    time = time + 0.2
    equal(get("a", compute), 1)
    equal(get("a", compute), 1) -- once is enough
    equal(#meantime, 1)
    meantime[1]()
    equal(get("a", compute), 2)
    time = time + 29.9
    equal(get("a", compute), 2)
    meantime[2]()
    equal(get("a", compute), 3)
    time = time + 30
    equal(get("a", compute), 4) -- too old for an answer
    equal(#meantime, 2)
  end,

  usable_for_as_long_as_it_is_worth = function()
    local get, n, took = new(5, 10, nil, 100), 0, 0.5
    local function compute()
      time, n = time + took, n + 1
      return n
    end
    equal(get("a", compute), 1)
    time = time + 49
    equal(get("a", compute), 1)
    equal(#meantime, 1)
    took = 0.01
    meantime[1]()
    equal(get("a", compute), 2)
    time = time + 5 -- more than a second, which that would be worth
    equal(get("a", compute), 3)
    took = 10
    time = time + 5
    equal(get("a", compute), 4)
    time = time + 61 -- and no more than so long
    equal(get("a", compute), 5)
    equal(#meantime, 1)
  end,

  one_that_takes_too_long_beside_the_answer = function()
    local get, compute = new(5, 10, 30), counter()
    get("a", compute)
    time = time + 6
    get("a", compute)
    time = time + 28.9
    equal(get("a", compute), 1)
    time = time + 0.2
    equal(get("a", compute), 2)
    equal(#meantime, 1)
  end,

  an_error_beside_the_answer_waits_for_the_next_turn = function()
    local get, compute = new(5, 10, 30), counter()
    local function fails() error "away" end
    get("a", compute)
    time = time + 6
    equal(get("a", fails), 1)
    raises("away", meantime[1])
    time = time + 4
    equal(get("a", fails), 1)
    equal(#meantime, 1)
    time = time + 1
    equal(get("a", compute), 1)
    meantime[2]()
    equal(get("a", compute), 2)
  end,

  no_more_than_so_many = function()
    local get, compute = new(5, 2), counter()
    get("a", compute)
    time = time + 3
    get("b", compute)
    time = time + 3
    equal(get("c", compute), 3) -- the first has had its time
    equal(get("b", compute), 2)
    equal(get("d", compute), 4) -- none has
    equal(get("b", compute), 5)
  end,
}
