-- What a policy can do wrong, found in the tree of its source: fields that devices, rollouts, statistics and contexts
-- do not have, verdicts that do not exist, ways through `admit` that end without one, state that does not outlive a
-- call. Follows values through locals and into functions of the same file, and no further: what it does not know it
-- says nothing about. A parameter called device, rollout, stats or ctx in a function whose callers are elsewhere is
-- taken for one, and what is found by that is a warning.
--
-- Works on what check.lua collected, and knows names by fields.lua, its argument; returns {check = function(state, kind),
-- instead = words for what policies lack}.

local known = ...

local ROUNDS = 8 -- of following values: each goes one function deeper

-- Fields by name: those of the fields that have some, or true.
local function by_name(list)
  local fields = {}
  for _, field in ipairs(list) do fields[field.name] = field.fields and by_name(field.fields) or true end
  return fields
end

local records = {}
for _, name in ipairs { "device", "rollout", "stats", "ctx" } do records[name] = by_name(known[name]) end
local verdicts = known.verdicts
local parameters = { admit = { "device", "rollout", "ctx" }, advance = { "rollout", "stats", "ctx" } }

local clock = " (a policy has no clock: ctx.now is the time)"
local chance = " (ctx.random() is the same for the same rollout and device)"
local instead = { os = clock, now = clock, time = clock, ["math.random"] = chance, ["math.randomseed"] = chance,
  io = " (a policy reads no files)", print = " (return a reason instead)" }

-- A record as a value: its fields, its name, and whether that it is one is guessed. Each exists once.
local function make_shapes(guess)
  local function shape_of(path, fields)
    local shape = { path = path, fields = {}, guess = guess, written = {} }
    for name, inner in pairs(fields) do
      shape.fields[name] = inner == true or shape_of(path .. "." .. name, inner)
    end
    return shape
  end
  local shapes = {}
  for name, fields in pairs(records) do shapes[name] = shape_of(name, fields) end
  return shapes
end

-- Which function, or other expression, a value is; nil where that is not known.
local function value_of(node, depth)
  for _ = 1, depth or 5 do
    if not node then return nil end
    if node.tag == "Paren" then
      node = node[1]
    elseif node.tag == "Id" and node.var then
      local var = node.var
      if var.writes > (var.init and 0 or 1) then return nil end
      node = var.init or var.values[1]
    elseif node.tag == "Index" and node[1].tag == "Id" and node[1].var and node[2].tag == "String" then
      node = node[1].var.fields[node[2][1]]
    else
      return node
    end
  end
end

local function function_of(node)
  local value = value_of(node)
  return value and value.tag == "Function" and value or nil
end

-- Following values ------------------------------------------------------------------------------------------------

-- A variable that is two different things is neither.
local function join(var, shape)
  if not var or not shape or var.shape == shape or var.shape == false then return false end
  var.shape = not var.shape and shape
  return true
end

local function shape_of(node)
  if node.tag == "Id" then return node.var.shape or nil end
  if node.tag == "Paren" then return node[1].shape end
  if node.tag == "Op" then
    if node[1] == "or" then return node[2].shape or node[3].shape end
    return node[3].shape
  end
  local base, key = node[1].shape, node[2]
  if not base or key.tag ~= "String" then return nil end
  local inner = base.fields[key[1]]
  return inner ~= true and inner or nil
end

local function follow_once(state)
  local changed = false
  for _, node in ipairs(state.shaped) do node.shape = shape_of(node) end
  for _, var in ipairs(state.vars) do
    if var.init and var.writes == 0 and join(var, var.init.shape) then changed = true end
  end
  for _, call in ipairs(state.calls) do
    for i, var in pairs(call.callee and call.callee.params or {}) do
      if call[i + 1] and join(var, call[i + 1].shape) then changed = true end
    end
  end
  return changed
end

-- What some caller passes something else for is not known, nor is what comes of it: once more without.
local function follow(state)
  for _ = 1, ROUNDS do
    if not follow_once(state) then break end
  end
  for _, var in ipairs(state.vars) do
    if not var.seeded then var.shape = nil end
  end
  for _, call in ipairs(state.calls) do
    for i, var in pairs(call.callee and call.callee.params or {}) do
      local argument = call[i + 1]
      if argument and not argument.shape and argument.tag ~= "Nil" or var.writes > 0 then var.shape = false end
    end
  end
  for _ = 1, ROUNDS do
    if not follow_once(state) then break end
  end
end

local function give(var, shape)
  if var and var.writes == 0 then var.shape, var.seeded = shape, true end
end

-- The functions of the table that the file returns get what the server passes.
local function seed(state, kind)
  local returned = state.main.returns
  local last = value_of(returned[#returned] and returned[#returned][1])
  local sure, guessed = make_shapes(false), make_shapes(true)
  for _, call in ipairs(state.calls) do
    call.callee = function_of(call[1])
    if call.callee then call.callee.called = true end
  end
  for role, names in pairs(kind == "policy" and parameters or {}) do
    local field
    local id = returned[#returned] and returned[#returned][1]
    if id and id.tag == "Id" and id.var then
      field = id.var.fields[role]
    elseif last and last.tag == "Table" then
      for _, pair in ipairs(last) do
        if pair.tag == "Pair" and pair[1].tag == "String" and pair[1][1] == role then field = pair[2] end
      end
    end
    local func = function_of(field)
    if func then
      func.role = { name = role }
      for i, name in ipairs(names) do give(func.params[i], sure[name]) end
    end
  end
  for _, func in ipairs(state.functions) do
    for _, var in pairs(func.role and {} or func.params) do
      if guessed[var.name] and not func.called then
        give(var, guessed[var.name])
        if var.name == "device" or var.name == "stats" then
          func.role = { name = var.name == "device" and "admit" or "advance", partial = true, guess = true }
        end
      end
    end
  end
end

local function check_fields(state)
  for _, node in ipairs(state.shaped) do
    local base = node.tag == "Index" and node[1].shape
    if base and node.write and node[2].tag == "String" then base.written[node[2][1]] = true end
  end
  for _, node in ipairs(state.shaped) do
    local base, key = node.tag == "Index" and node[1].shape, node[2]
    if base and key.tag == "String" and not node.write and not base.fields[key[1]] and not base.written[key[1]] then
      state.report(key, base.guess and "warning" or "error", ("unknown field %s.%s%s"):format(base.path, key[1],
        state.suggestion(key[1], state.names_of(base.fields))))
    end
  end
end

-- Verdicts --------------------------------------------------------------------------------------------------------

local function is_verdict(role, word)
  for _, verdict in ipairs(verdicts[role]) do
    if verdict == word then return true end
  end
  return false
end

local function check_word(state, role, node, word)
  if is_verdict(role.name, word) then return end
  local severity = role.guess and "warning" or "error"
  local other = role.name == "admit" and "advance" or "admit"
  if is_verdict(other, word) then
    state.report(node, severity, ("\"%s\" is a verdict of %s, and %s has %s"):format(word, other, role.name,
      table.concat(verdicts[role.name], ", ")))
  elseif not role.guess then
    state.report(node, severity, ("\"%s\" is no verdict%s"):format(word,
      state.suggestion(word, verdicts[role.name])))
  end
end

local constants = { Nil = "nil", True = "true", False = "false", Number = "a number", Table = "a table",
  Function = "a function" }

-- What the first value of a `return` may be. Functions that it comes from are added to `more`.
local function check_verdict(state, role, node, more, depth)
  while node and node.tag == "Paren" do node = node[1] end
  local var = node and node.tag == "Id" and node.var
  if var and depth > 0 and var.writes > 0 and (var.init or var.writes > 1) then -- one of several
    var.asked = var.asked or {}
    if var.asked[role.name] then return end
    var.asked[role.name] = true
    local some = { name = role.name, guess = role.guess, partial = true }
    check_verdict(state, some, var.init, more, depth - 1)
    for _, value in ipairs(var.values) do check_verdict(state, some, value, more, depth - 1) end
    return
  end
  local value = node and value_of(node)
  if not value or depth == 0 then return end
  if value.tag == "String" then
    check_word(state, role, value, value[1])
  elseif value.tag == "Op" and value[1] == "or" then
    check_verdict(state, role, value[2], more, depth - 1)
    check_verdict(state, role, value[3], more, depth - 1)
  elseif value.tag == "Op" and value[1] == "and" then
    check_verdict(state, role, value[3], more, depth - 1)
  elseif value.tag == "Call" then
    local func = value.callee
    if func and not func.role then
      func.role = { name = role.name, guess = role.guess, partial = role.partial or value ~= node }
      more[#more + 1] = func
    end
  elseif constants[value.tag] and not role.partial then
    state.report(value, "error", ("%s returns %s where a verdict is due"):format(role.name, constants[value.tag]))
  end
end

-- { again = "10m" } after a reason.
local function check_options(state, role, node)
  local verdict, options = value_of(node[1]), node[3]
  if role.guess or not options or options.tag ~= "Table" then return end
  if verdict and verdict.tag == "String" and verdict[1] ~= "hold" and is_verdict(role.name, verdict[1]) then
    state.report(options, "error", "only a hold may have { again = ... }")
  end
  for _, pair in ipairs(options) do
    local key = pair.tag == "Pair" and pair[1].tag == "String" and pair[1][1]
    if key and key ~= "again" then
      state.report(pair, "error", ("unknown field %s%s"):format(key, state.suggestion(key, { "again" })))
    end
  end
end

-- Ends -------------------------------------------------------------------------------------------------------------

local ends

local function has_break(block)
  for _, statement in ipairs(block) do
    local tag = statement.tag
    if tag == "Break" or tag == "Goto" or tag == "Do" and has_break(statement) then return true end
    if tag == "If" then
      for i = 1, #statement do
        if (i % 2 == 0 or i == #statement) and has_break(statement[i]) then return true end
      end
    end
  end
  return false
end

-- Whether nothing gets past the end of the statement.
local function stops(node)
  local tag = node.tag
  if tag == "Return" or tag == "Goto" or tag == "Break" then return true end -- where breaks lead is seen by the loop
  if tag == "Do" then return ends(node) end
  if tag == "While" then return node[1].tag == "True" and not has_break(node[2]) end
  if tag == "Repeat" then return ends(node[1]) and not has_break(node[1]) end
  if tag == "Call" then return node[1].tag == "Id" and node[1][1] == "error" and not node[1].var end
  if tag ~= "If" or #node % 2 == 0 then return false end
  for i = 2, #node - 1, 2 do
    if not ends(node[i]) then return false end
  end
  return ends(node[#node])
end

function ends(block)
  return #block > 0 and stops(block[#block])
end

local function line_at(offsets, offset)
  local low, high = 1, #offsets
  while low < high do
    local middle = (low + high + 1) // 2
    if offsets[middle] <= offset then low = middle else high = middle - 1 end
  end
  return low
end

local function check_function(state, func, more)
  local role = func.role
  for _, node in ipairs(func.returns) do
    if #node == 0 and not role.partial then
      state.report(node, "warning", ("%s may end here without a verdict"):format(role.name))
    end
    check_verdict(state, role, node[1], more, 8)
    check_options(state, role, node)
  end
  if not role.partial and not ends(func[2]) then
    local line = line_at(state.offsets, func.end_offset)
    state.report({ line = line, offset = state.offsets[line] }, "warning",
      ("%s may end here without a verdict"):format(role.name))
  end
end

-- What does not outlive a call -------------------------------------------------------------------------------------

local function check_sets(state)
  local told = {}
  for _, set in ipairs(state.sets) do
    local var = set.var
    if not var and set.base then
      state.report(set.node, "error", ("assignment to '%s' (policies have no globals: use local)"):format(set.base[1]))
    elseif var and var.owner == state.main and set.func ~= state.main and not told[var] then
      told[var] = true
      state.report(set.node, "warning",
        ("'%s' is forgotten after the call: the file runs anew for each"):format(var.name))
    end
  end
end

local function check(state, kind)
  seed(state, kind)
  follow(state)
  check_fields(state)
  local more = {}
  for _, func in ipairs(state.functions) do
    if func.role then more[#more + 1] = func end
  end
  for i = 1, math.huge do
    if not more[i] then break end
    check_function(state, more[i], more)
  end
  check_sets(state)
end

return { check = check, instead = instead }
