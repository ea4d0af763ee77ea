local describe = require("lib.policy_source").description

return {
  a_comment_at_the_top_describes_a_policy = function()
    assert(describe("-- Updates at night.\n--   In `two` nights.\r\n\nreturn {}") == "Updates at night. In two nights.")
    assert(describe("-- One.\n--\n-- Another paragraph.\nreturn {}") == "One.")
    assert(describe("-- only") == "only")
  end,

  other_comments_do_not = function()
    for _, text in ipairs { "return {} -- no", "--[[ long ]]\nreturn {}", "--[==[ long ]==]", "--\nreturn {}", "", "\n-- late" } do
      assert(describe(text) == nil, text)
    end
  end,

  a_description_is_bounded = function()
    assert(describe("-- " .. ("ä"):rep(500)) == ("ä"):rep(500))
    assert(describe("-- " .. ("ä"):rep(501)) == ("ä"):rep(500) .. "…")
    assert(#describe("--" .. (" "):rep(65000) .. "x" .. (" "):rep(500) .. "y") == 3)
  end,
}
