local session = require "lib.session"

local SID = "0b0f3b64-5a3c-4d0a-9b6e-2f1f6f8f9a10"

return {
  a_token_is_a_session_and_a_secret = function()
    local sid, hash = session.read(SID:upper() .. ".abc_-9")
    equal(sid, SID)
    equal(hash, crypto.sha256("abc_-9"))
    for _, text in ipairs { "", SID, SID .. ".", SID .. ".a b", "x" .. SID .. ".a", SID .. "." .. ("a"):rep(200) } do
      equal(session.read(text), nil, text)
    end
    equal(session.read(nil), nil)
  end,

  cookies_are_kept_from_scripts_and_other_sites = function()
    equal(session.cookie("v", 60), "otad_refresh=v; Path=/auth; HttpOnly; Secure; SameSite=Strict; Max-Age=60")
  end,

  the_cookie_among_others = function()
    equal(session.from_cookie("a=b; otad_refresh=x.y; c=d"), "x.y")
    equal(session.from_cookie("my_otad_refresh=x"), nil)
    equal(session.from_cookie(nil), nil)
    equal(session.end_cookie("a=b"), nil)
    equal(session.end_cookie("otad_refresh=")["set-cookie"]:match("Max%-Age=0") ~= nil, true)
  end,
}
