-- Helpers run where policies do: in a policy that consists of one.
local function stages_of(call)
  return policy { source = ("return { stages = require('lib.policy.stages').%s }"):format(call) }.stages
end

return {
  linear_is_in_equal_steps = function()
    equal(stages_of "linear(4, '1h')", {
      { name = "1 of 4", share = 0.25, soak = 3600 }, { name = "2 of 4", share = 0.5, soak = 3600 },
      { name = "3 of 4", share = 0.75, soak = 3600 }, { name = "all", share = 1, soak = 0 },
    })
    equal(stages_of "linear(1, '1h')", { { name = "all", share = 1, soak = 0 } })
    equal(stages_of "linear(2)", { { name = "1 of 2", share = 0.5, soak = 0 }, { name = "all", share = 1, soak = 0 } })
    equal(#stages_of "linear(100, 60)", 100)
  end,

  exponential_ends_with_all = function()
    equal(stages_of "exponential(0.1, 2, '10m')", {
      { name = "10 %", share = 0.1, soak = 600 }, { name = "20 %", share = 0.2, soak = 600 },
      { name = "40 %", share = 0.4, soak = 600 }, { name = "80 %", share = 0.8, soak = 600 },
      { name = "all", share = 1, soak = 0 },
    })
    equal(stages_of "exponential(0.5, 2, 60)",
      { { name = "50 %", share = 0.5, soak = 60 }, { name = "all", share = 1, soak = 0 } })
    equal(stages_of "exponential(1, 2, 60)", { { name = "all", share = 1, soak = 0 } })
  end,

  exponential_refuses_what_never_ends = function()
    raises("factor above 1", stages_of, "exponential(0.1, 1, 60)")
    raises("above 0", stages_of, "exponential(0, 2, 60)")
  end,
}
