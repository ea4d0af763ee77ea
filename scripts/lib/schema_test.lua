local schema = require "lib.schema"

-- The errors' texts as "field: message", joined.
local function errors_of(check, value)
  local checked, errors = check(value)
  assert(checked == nil or errors == nil)
  local out = {}
  for i, e in ipairs(errors or {}) do out[i] = e.field .. ": " .. e.message end
  return table.concat(out, "; ")
end

local function expect(check, value, wanted)
  local got = errors_of(check, value)
  assert(got == wanted, ("expected %q, got %q"):format(wanted, got))
end

local function mistake(fields, wanted)
  local ok, message = pcall(schema.compile, fields)
  assert(not ok and message == wanted, ("expected %q, got %q"):format(wanted, tostring(message)))
end

return {
  takes_what_is_declared = function()
    local check = schema.compile { name = { "string", max = 3 }, age = { "integer", optional = true } }
    local value = assert(check { name = "abc", age = 7 })
    assert(value.name == "abc" and value.age == 7)
    expect(check, { name = "abcd" }, "name: must have at most 3 characters")
    expect(check, {}, "name: is missing")
  end,

  refuses_unknown_fields_and_suggests = function()
    local check = schema.compile { version = { "string", optional = true } }
    expect(check, { verison = "1" }, "verison: unknown field (did you mean version?)")
    expect(check, { role = "operator" }, "role: unknown field")
  end,

  refuses_what_is_no_object = function()
    local check = schema.compile {}
    expect(check, json.array { 1 }, ": must be an object")
    expect(check, json.array {}, ": must be an object")
    expect(check, "text", ": must be an object")
    expect(check, json.null, ": must be an object")
    expect(check, {}, "")
  end,

  counts_characters_not_bytes = function()
    local check = schema.compile { name = { "string", min = 2, max = 2 } }
    expect(check, { name = "äö" }, "")
    expect(check, { name = "ä" }, "name: must have 2 characters")
    expect(check, { name = "a\xff" }, "name: must be UTF-8 text without NUL")
    expect(check, { name = "a\0" }, "name: must be UTF-8 text without NUL")
  end,

  integers_are_whole_and_fit = function()
    local check = schema.compile { n = { "integer" } }
    expect(check, { n = 2147483647 }, "")
    expect(check, { n = 2147483648 }, "n: must be between -2147483648 and 2147483647")
    for _, n in ipairs { 2.0 ^ 63, 1e300, -1e30, math.maxinteger, math.mininteger } do
      expect(check, { n = n }, "n: must be between -2147483648 and 2147483647")
    end
    expect(check, { n = 1.5 }, "n: must be an integer")
    expect(check, { n = 1.0 }, "n: must be an integer")
    expect(check, { n = "1" }, "n: must be an integer")
    expect(check, { n = true }, "n: must be an integer")
  end,

  texts_become_numbers_strictly = function()
    local check = schema.compile({
      n = { "integer", optional = true }, x = { "number", optional = true }, b = { "boolean", optional = true },
    }, { text = true })
    local value = assert(check { n = "-12", x = "1.5", b = "false" })
    assert(math.type(value.n) == "integer" and value.n == -12 and value.x == 1.5 and value.b == false)
    for _, text in ipairs { "", " 1", "1 ", "1e3", "0x10", "+1", "01", "1.0", "nan", "-0", ("9"):rep(401) } do
      expect(check, { n = text }, "n: must be an integer")
    end
    for _, text in ipairs { "2147483648", "9223372036854775808", "-99999999999999999999" } do
      expect(check, { n = text }, "n: must be between -2147483648 and 2147483647")
    end
    for _, text in ipairs { "", "1e3", ".5", "5.", "inf", "0x1", "--1" } do
      expect(check, { x = text }, "x: must be a number")
    end
    for _, text in ipairs { "", "1", "True", "yes" } do
      expect(check, { b = text }, "b: must be true or false")
    end
  end,

  a_route_without_a_body_takes_none = function()
    local handler = schema.without_body(function(req) return req.body == nil and 200 or 500 end)
    local function request(body)
      return { body = body, json = function() return assert(json.decode(body)) end }
    end
    local function fails(body) return not pcall(handler, request(body)) end
    assert(handler(request("")) == 200 and handler(request("{}")) == 200)
    assert(fails('{"x":1}') and fails("[]") and fails("{"))
  end,

  optional_default_and_null_differ = function()
    local check = schema.compile {
      a = { "string", optional = true }, b = { "integer", default = 5 },
      c = { "string", optional = true, nullable = true },
    }
    local value = assert(check { c = json.null })
    assert(value.a == nil and value.b == 5 and value.c == json.null)
    expect(check, { a = json.null }, "a: must be a string")
    expect(check, { b = json.null }, "b: must be an integer")
  end,

  a_false_default_holds = function()
    local value = schema.compile { cookie = { "boolean", default = false } } {}
    assert(value.cookie == false)
  end,

  maps_check_names_values_and_count = function()
    local check = schema.compile {
      tags = { "map", of = { "string", max = 2 }, max = 2, keys = { "string", pattern = "^%l+$", means = "small" } },
    }
    local value = assert(check { tags = { a = "x" } })
    assert(value.tags.a == "x")
    expect(check, { tags = { a = "xyz" } }, "tags.a: must have at most 2 characters")
    expect(check, { tags = { A = "x" } }, "tags.A: its name must be small")
    expect(check, { tags = { a = "x", b = "x", c = "x" } }, "tags: must have at most 2 entries")
    expect(check, { tags = json.array { "x" } }, "tags: must be an object")
  end,

  lists_and_objects_nest = function()
    local check = schema.compile {
      items = { "list", max = 2, of = { "object", fields = { id = { "integer", min = 1 } } } },
    }
    local value = assert(check { items = json.array { { id = 3 } } })
    assert(value.items[1].id == 3 and json.is_array(value.items))
    expect(check, { items = json.array { { id = 3 }, { id = 0, x = 1 } } },
      "items[1].id: must be between 1 and 2147483647; items[1].x: unknown field")
    expect(check, { items = { id = 3 } }, "items: must be a list")
  end,

  check_and_one_of = function()
    local check = schema.compile {
      chip = { "string", one_of = { "esp32", "esp32s3" } },
      even = { "integer", optional = true, check = function(n) return n % 2 == 1 and "must be even" or nil end },
    }
    expect(check, { chip = "esp8266" }, "chip: must be one of esp32, esp32s3")
    expect(check, { chip = "esp32", even = 3 }, "even: must be even")
    expect(check, { chip = "esp32", even = 4 }, "")
  end,

  many_errors_are_cut = function()
    local check, value = schema.compile {}, {}
    for i = 1, 100 do value["f" .. i] = i end
    local _, errors = check(value)
    assert(#errors == 20)
  end,

  mistakes_in_a_declaration_are_told = function()
    mistake({ name = { "strnig" } }, "name: unknown type strnig (did you mean string?)")
    mistake({ name = { "string", maximum = 3 } }, "name: type string has no option maximum")
    mistake({ name = { "string", mx = 3 } }, "name: type string has no option mx (did you mean max?)")
    mistake({ tags = { "map" } }, "tags: map without of")
    mistake({ o = { "object", fields = { x = { "int" } } } }, "o.x: unknown type int")
    mistake({ n = { "integer", default = "x" } }, "n.default: must be an integer")
    mistake({ n = "integer" }, "n: must be declared as a table")
  end,
}
