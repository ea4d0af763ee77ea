-- What a client of the live feed says: {"subscribe": [topics], "unsubscribe": [topics], "id": integer}. account: id,
-- operator. Returns the topics to add and to drop, what is wrong: a list of {topic, detail}, and the id. A topic that is
-- refused refuses no other.

local MOST, LONGEST = 500, 100 -- topics of a message; bytes of a name

local FOR_OPERATORS = "is for operators"
local UNKNOWN = "there is no such topic, or none that this account may see"

local function names(list, problems)
  local found = {}
  if list == nil then return found end
  if not json.is_array(list) then
    problems[#problems + 1] = { detail = "`subscribe` and `unsubscribe` are lists of topics" }
    return found
  end
  for i, name in ipairs(list) do
    if i > MOST then
      problems[#problems + 1] = { detail = ("a message may name %d topics"):format(MOST) }
      break
    elseif type(name) ~= "string" or #name > LONGEST then
      problems[#problems + 1] = { detail = "a topic is a text of up to 100 bytes" }
    else
      found[#found + 1] = name
    end
  end
  return found
end

local function id_of(name, kind)
  local id = math.tointeger(tonumber(name:match("^" .. kind .. ":([1-9]%d*)$")))
  return id and id < 2147483648 and id or nil
end

-- Ids among those wanted that may be had, as a set.
local function allowed(ids, statement, ...)
  local set = {}
  if #ids == 0 then return set end
  for _, row in ipairs(db.all(statement, json.array(ids), ...)) do set[row.id] = true end
  return set
end

local function check(account, wanted, problems)
  local devices, rollouts = {}, {}
  for _, name in ipairs(wanted) do
    devices[#devices + 1] = id_of(name, "device")
    rollouts[#rollouts + 1] = account.operator and id_of(name, "rollout") or nil
  end
  local seen = allowed(devices, "feed_devices_visible", account.id, account.operator)
  local there = allowed(rollouts, "feed_rollouts_there")
  local good = {}
  for _, name in ipairs(wanted) do
    local of_rollouts = name == "rollouts" or id_of(name, "rollout")
    if of_rollouts and not account.operator then
      problems[#problems + 1] = { topic = name, detail = FOR_OPERATORS }
    elseif name == "devices" or name == "rollouts" or name == "fleet" or seen[id_of(name, "device")] or
      there[id_of(name, "rollout")] then
      good[#good + 1] = name
    else
      problems[#problems + 1] = { topic = name, detail = UNKNOWN }
    end
  end
  return good
end

return function(account, text)
  local problems = {}
  local message, mistake = json.decode(text)
  if type(message) ~= "table" or json.is_array(message) then
    return { problems = { { detail = mistake and "not JSON: " .. mistake or "a message is a JSON object" } } }
  end
  for field in pairs(message) do
    if field ~= "subscribe" and field ~= "unsubscribe" and field ~= "id" then
      problems[#problems + 1] = { detail = "unknown field: a message has `subscribe`, `unsubscribe` and `id`" }
      break
    end
  end
  local id = math.type(message.id) == "integer" and message.id or nil
  if message.id ~= nil and not id then problems[#problems + 1] = { detail = "`id` is an integer" } end
  local drop = names(message.unsubscribe, problems)
  local add = check(account, names(message.subscribe, problems), problems)
  return { unsubscribe = drop, subscribe = add, problems = problems, id = id }
end
