-- Checks what clients send against what a route declares. compile() turns a declaration (see scripts/README.md) into
-- a function once, when scripts load, and raises an error for a mistake in it; that function runs for each request.
--
-- The function returns the value (new tables, defaults filled in) or nil and a list of {field, message}.

local nearest = require "lib.nearest"

local MOST_ERRORS = 20
local INT32 = 2 ^ 31
local COMMON = { "optional", "default", "nullable", "check" }

-- What each type may declare besides COMMON.
local OPTIONS = {
  string = { "min", "max", "pattern", "one_of", "means" },
  integer = { "min", "max" },
  number = { "min", "max" },
  boolean = {},
  any = {},
  map = { "of", "keys", "max" },
  list = { "of", "min", "max" },
  object = { "fields" },
}

local function hint(word, names)
  local near = nearest(word, names)
  return near and (" (did you mean %s?)"):format(near) or ""
end

local function set_of(list)
  local set = {}
  for _, name in ipairs(list) do set[name] = true end
  return set
end

for _, options in pairs(OPTIONS) do
  for _, name in ipairs(COMMON) do options[#options + 1] = name end
end

-- A check is function(value, field, add) -> value, or nil after add(field, message).

local compile_type = {}

local function characters(text) -- nil for what PostgreSQL could not keep either
  return not text:find("\0", 1, true) and utf8.len(text) or nil
end

function compile_type.string(declared)
  local min, max, pattern = declared.min or 0, declared.max or 10000, declared.pattern
  local one_of = declared.one_of and set_of(declared.one_of)
  local wrong = declared.means and "must be " .. declared.means
  local choices = one_of and "must be one of " .. table.concat(declared.one_of, ", ")
  local length = min == max and ("must have %d characters"):format(min)
    or min == 0 and ("must have at most %d characters"):format(max)
    or ("must have %d to %d characters"):format(min, max)
  return function(value, field, add)
    if type(value) ~= "string" then return add(field, "must be a string") end
    if one_of then
      if one_of[value] then return value end
      return add(field, choices)
    end
    local count = characters(value)
    if not count then return add(field, "must be UTF-8 text without NUL") end
    if count < min or count > max then return add(field, wrong or length) end
    if pattern and not value:find(pattern) then return add(field, wrong or "has the wrong form") end
    return value
  end
end

function compile_type.any() -- whatever JSON holds
  return function(value) return value end
end

local function range(declared, lowest, highest)
  local min, max = declared.min or lowest, declared.max or highest
  return min, max, ("must be between %s and %s"):format(min, max)
end

function compile_type.integer(declared, text)
  local min, max, outside = range(declared, math.tointeger(-INT32), math.tointeger(INT32 - 1))
  return function(value, field, add)
    if text and type(value) == "string" and #value <= 400 and
      (value == "0" or value:find("^%-?[1-9]%d*$")) then
      value = tonumber(value) -- a float, where it is too large for an integer
    end
    if math.type(value) ~= "integer" then
      local large = math.type(value) == "float" and (value <= -2.0 ^ 63 or value >= 2.0 ^ 63)
      return add(field, large and outside or "must be an integer")
    end
    if value < min or value > max then return add(field, outside) end
    return value
  end
end

function compile_type.number(declared, text)
  local min, max, outside = range(declared, -1e300, 1e300)
  return function(value, field, add)
    if text and type(value) == "string" and #value <= 40 and
      (value:find("^%-?%d+$") or value:find("^%-?%d+%.%d+$")) then
      value = tonumber(value)
    end
    if type(value) ~= "number" or value ~= value then return add(field, "must be a number") end
    if value < min or value > max then return add(field, outside) end
    return value
  end
end

function compile_type.boolean(_, text)
  return function(value, field, add)
    if text and value == "true" then return true end
    if text and value == "false" then return false end
    if type(value) ~= "boolean" then return add(field, "must be true or false") end
    return value
  end
end

local compile

function compile_type.map(declared, _, path)
  local most = declared.max or 100
  local check_key = compile(declared.keys or { "string", min = 1, max = 100 }, false, path .. ".keys")
  local check_value = compile(declared.of or error(path .. ": map without of", 0), false, path .. ".of")
  return function(value, field, add)
    if type(value) ~= "table" or json.is_array(value) then return add(field, "must be an object") end
    local out, count = {}, 0
    for key, entry in pairs(value) do
      count = count + 1
      if count > most then return add(field, ("must have at most %d entries"):format(most)) end
      local name = field .. "." .. key
      if check_key(key, name, function(at, message) add(at, "its name " .. message) end) then
        out[key] = check_value(entry, name, add)
      end
    end
    return out
  end
end

function compile_type.list(declared, _, path)
  local min, max = declared.min or 0, declared.max or 1000
  local check_value = compile(declared.of or error(path .. ": list without of", 0), false, path .. ".of")
  return function(value, field, add)
    if type(value) ~= "table" or not json.is_array(value) then return add(field, "must be a list") end
    if #value < min or #value > max then
      return add(field, ("must have %d to %d entries"):format(min, max))
    end
    local out = {}
    for i, entry in ipairs(value) do
      out[i] = check_value(entry, ("%s[%d]"):format(field, i - 1), add)
    end
    return json.array(out)
  end
end

function compile_type.object(declared, text, path)
  local fields = declared.fields or error(path .. ": object without fields", 0)
  local checks, missing, defaults, names = {}, {}, {}, {}
  for name, field in pairs(fields) do
    if type(name) ~= "string" then error(path .. ": every field needs a name", 0) end
    checks[name] = compile(field, text, path == "" and name or path .. "." .. name)
    defaults[name] = field.default
    if field.default == nil and not field.optional then missing[#missing + 1] = name end
    names[#names + 1] = name
  end
  table.sort(missing)
  return function(value, field, add)
    if type(value) ~= "table" or json.is_array(value) then return add(field, "must be an object") end
    local prefix, out = field == "" and "" or field .. ".", {}
    for name, entry in pairs(value) do
      local check = checks[name]
      if check then
        out[name] = check(entry, prefix .. name, add)
      else
        add(prefix .. name:sub(1, 100), "unknown field" .. hint(name, checks))
      end
    end
    for _, name in ipairs(missing) do
      if value[name] == nil then add(prefix .. name, "is missing") end
    end
    for name, default in pairs(defaults) do
      if value[name] == nil then out[name] = default end
    end
    return out
  end
end

-- One field: its type, then what any type may have.
function compile(declared, text, path)
  if type(declared) ~= "table" then error(path .. ": must be declared as a table", 0) end
  local kind = declared[1]
  local make = compile_type[kind]
  if not make then
    error(("%s: unknown type %s%s"):format(path, tostring(kind), hint(tostring(kind), compile_type)), 0)
  end
  local allowed = set_of(OPTIONS[kind])
  for option in pairs(declared) do
    if option ~= 1 and not allowed[option] then
      error(("%s: type %s has no option %s%s"):format(path, kind, tostring(option), hint(tostring(option), allowed)), 0)
    end
  end
  local check_type, check_more, nullable = make(declared, text, path), declared.check, declared.nullable
  local function check(value, field, add)
    if nullable and value == json.null then return value end
    value = check_type(value, field, add)
    if value ~= nil and check_more then
      local message = check_more(value)
      if message then return add(field, message) end
    end
    return value
  end
  if declared.default ~= nil then
    check(declared.default, "default", function(_, message) error(path .. ".default: " .. message, 0) end)
  end
  return check
end

local schema = {}

-- The JSON body of a request whose body is "raw", checked; nil for an empty one.
function schema.read_body(req, check)
  if #req.body == 0 then return nil end
  local body, errors = check(req.json())
  if errors then fail(422, "Some fields are not as they must be.", { errors = errors }) end
  return body
end

-- The handler of a route that declares no body, behind the check that none came, or an object without fields.
function schema.without_body(handler)
  local check = schema.compile {}
  return function(req)
    schema.read_body(req, check)
    req.body = nil
    return handler(req)
  end
end

-- fields: {name = declaration}. options.text: the values are texts, as in a query string.
function schema.compile(fields, options)
  local check = compile({ "object", fields = fields }, options and options.text or false, "")
  return function(value)
    local errors
    local function add(field, message)
      errors = errors or {}
      if #errors < MOST_ERRORS then errors[#errors + 1] = { field = field, message = message } end
    end
    local checked = check(value, "", add)
    if not errors then return checked end
    table.sort(errors, function(a, b) return a.field < b.field end)
    return nil, errors
  end
end

return schema
