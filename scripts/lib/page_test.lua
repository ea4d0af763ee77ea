local device = require "lib.device"
local page = require "lib.page"
local session = require "lib.session"
local when = require "lib.when"

local function request(limit, cursor)
  return { query = { limit = limit, cursor = cursor } }
end

local function rows(...)
  local out = {}
  for i, id in ipairs { ... } do out[i] = { id = id } end
  return out
end

return {
  a_cursor_leads_to_where_the_page_ended = function()
    local status, body = page.answer(request(2), "things", rows(1, 2, 3), page.by_id)
    assert(status == 200 and #body.items == 2)
    assert(page.start(request(2, body.next), "things", 0) == 2)
    assert(page.start(request(2), "things", 0) == 0)
  end,

  several_numbers_come_back = function()
    local _, body = page.answer(request(1), "logs", rows(7, 8), function(row) return -1700000000000000, row.id end)
    local a, b = page.start(request(1, body.next), "logs")
    assert(a == -1700000000000000 and b == 7)
  end,

  a_cursor_may_hold_names = function()
    local list = { { name = "wait_for_approval" }, { name = "zz" } }
    local _, body = page.answer(request(1), "logs", list, function(row) return row.name, 7 end)
    local name, number = page.start(request(1, body.next), "logs")
    assert(name == "wait_for_approval" and number == 7)
  end,

  the_last_page_has_no_next = function()
    local _, body = page.answer(request(2), "things", rows(1, 2), page.by_id)
    assert(body.next == json.null and #body.items == 2)
    _, body = page.answer(request(2), "things", {}, page.by_id)
    assert(json.is_array(body.items))
  end,

  altered_and_foreign_cursors_are_refused = function()
    local _, body = page.answer(request(1), "things", rows(1, 2), page.by_id)
    for _, cursor in ipairs { "", "x", body.next .. "A", "A" .. body.next, body.next:sub(2), crypto.seal("1") } do
      assert(not pcall(page.start, request(1, cursor), "things", 0), cursor)
    end
    assert(not pcall(page.start, request(1, body.next), "others", 0))
  end,

  tags_are_split_at_the_first_colon = function()
    assert(device.read_tag("site:a:b").site == "a:b")
    assert(device.read_tag("site:").site == "")
    assert(not device.read_tag("site") and not device.read_tag(":x") and not device.read_tag(""))
  end,

  refresh_tokens_are_read_strictly = function()
    local sid, secret = "0b3f2a90-1111-4222-8333-abcdefabcdef", ("s"):rep(43)
    local id, hash = session.read(sid .. "." .. secret)
    assert(id == sid and hash == crypto.sha256(secret))
    for _, text in ipairs { "", ".", sid, sid .. ".", "x" .. sid .. "." .. secret, sid .. "." .. secret .. "=",
      sid .. " ." .. secret, ("a"):rep(300) } do
      assert(session.read(text) == nil, text)
    end
    assert(session.read(nil) == nil)
  end,

  the_cookie_is_found_among_others = function()
    assert(session.from_cookie("otad_refresh=a.b-_1") == "a.b-_1")
    assert(session.from_cookie("x=1; otad_refresh=v; y=2") == "v")
    assert(session.from_cookie("xotad_refresh=v") == nil)
    assert(session.from_cookie(nil) == nil)
  end,

  times = function()
    assert(when.read("1970-01-02T00:00:00Z") == 86400)
    assert(when.read("2026-02-28T12:00:00+01:00") == when.read("2026-02-28T11:00:00Z"))
    assert(when.read("2026-02-28T12:00:00 01:00") == when.read("2026-02-28T11:00:00Z"))
    assert(math.abs(when.read("2026-02-28T11:00:00.25Z") - when.read("2026-02-28T11:00:00Z") - 0.25) < 1e-6)
    assert(when.read("2028-02-29T00:00:00Z"))
    for _, text in ipairs { "", "now", "2026-02-29T00:00:00Z", "2026-13-01T00:00:00Z", "2026-00-01T00:00:00Z",
      "2026-01-32T00:00:00Z", "2026-01-00T00:00:00Z", "2026-01-01", "2026-01-01T00:00:00", "2026-01-01 00:00:00Z",
      "2026-01-01T25:00:00Z", "2026-01-01T00:61:00Z", "-001-01-01T00:00:00Z", "2026-01-01T00:00:00.Z", "1700000000" } do
      assert(when.read(text) == nil, text)
    end
  end,
}
