local email = require "lib.email"
local password = require "lib.password"

local function refused(text)
  assert(password.refusal(text, "ada@example.org"), text .. " was taken")
end

local function taken(text)
  local message = password.refusal(text, "ada@example.org")
  assert(not message, text .. " was refused: " .. tostring(message))
end

return {
  common_ones_are_refused = function()
    for _, text in ipairs {
      "password123", "PassWord123", "qwertyuiop", "1q2w3e4r5t", "iloveyou123", "liverpool123", "1234567890",
    } do refused(text) end
  end,

  trivial_ones_are_refused = function()
    for _, text in ipairs {
      "aaaaaaaaaa", "zzzzzzzzzzzz", "abababababab", "abcabcabcabca", "abcdefghijkl", "9876543210", "lkjhgfdsapoiu",
      "0123456789012", "password123password123", "asdfghjklz", "ada@example.org", "ADA@example.org",
    } do refused(text) end
  end,

  others_are_taken = function()
    for _, text in ipairs {
      "correct horse battery staple", "tr0ub4dor&3x", "xK9#mQ2$vL", "meine katze frißt", ("x"):rep(128),
      "hunter2hunter3", "a very long sentence of words",
    } do taken(text) end
  end,

  the_list_has_only_long_ones = function()
    local count = 0
    for word in pairs(require "lib.common_passwords") do
      assert(#word >= 10 and word == word:lower(), word)
      count = count + 1
    end
    assert(count > 500)
  end,

  addresses = function()
    for _, text in ipairs {
      "a@b.c", "ada.lovelace+otad@example.co.uk", "x@localhost", "A_b-c@1.example", "o'neil@example.org",
    } do assert(not email.refusal(text), text) end
    for _, text in ipairs {
      "", "ada", "ada@", "@example.org", "a b@example.org", "a@b@c", "a@-b.org", "a@b-.org", "a@b..org", ".a@b.org",
      "a..b@c.org", "a.@b.org", "a@b.org ", "a@b_c.org", "ä@example.org", "a@exämple.org", "a@b.org\n", "<a@b.org>",
      ("x"):rep(65) .. "@example.org", "a@" .. ("x"):rep(64) .. ".org", "a@.", "a@b.",
    } do assert(email.refusal(text), text .. " was taken") end
  end,
}
