-- Reads a Lua source and says what is wrong with it as far as that can be seen without running it: names that are
-- not there, locals that nobody reads. What only policies can do wrong is in check_policy.lua.
--
-- Runs in a state of its own (policy/check.c), which gives luacheck's parser, its decoder, nearest(word, list), and
-- `policy`, what check_policy.lua returns. Returns check(text, kind, globals) -> list of {line, column, severity,
-- message}, and lines(text) -> list of the lines of statements. Neither raises for what Lua itself compiles.
-- Everything is linear: each pass goes once over lists that the first walk made.

local parser, decoder, nearest, policy = ...

local MOST = 200 -- problems of one source
local NEVER_READ = {
  Localrec = "unused function '%s'", Local = "unused local '%s'", Forin = "unused loop variable '%s'",
  Fornum = "unused loop variable '%s'",
}

-- Walking the tree ------------------------------------------------------------------------------------------------

local statements, expressions = {}, {}

local function walk_expression(state, node) return expressions[node.tag](state, node) end

local function walk_all(state, list)
  for i = 1, #list do walk_expression(state, list[i]) end
end

-- Whether the compiler surely makes an instruction of the line on which the statement begins. Those of functions are
-- where the function ends; constants, and locals without a value, may need none.
local without = { Localrec = true, Label = true, Do = true, Repeat = true, Break = true, Goto = true }
local constant = { Nil = true, True = true, False = true, Number = true, String = true, Function = true }

local function has_line(node)
  if without[node.tag] then return false end
  if node.tag == "While" or node.tag == "If" then return not constant[node[1].tag] end
  if node.tag == "Return" then return not (node[1] and node[1].tag == "Function") end
  if node.tag == "Local" then return node[2] ~= nil and not constant[node[2][1].tag] end
  return node.tag ~= "Set" or node[2][1].tag ~= "Function"
end

local function walk_list(state, block)
  for i = 1, #block do
    local statement = block[i]
    local walk = statements[statement.tag] or expressions[statement.tag]
    if has_line(statement) then state.lines[#state.lines + 1] = statement.line end
    walk(state, statement)
  end
end

local function in_scope(state, walk)
  local outer = state.scope
  state.scope = setmetatable({}, { __index = outer })
  walk()
  state.scope = outer
end

local function walk_block(state, block)
  in_scope(state, function() walk_list(state, block) end)
end

-- A new local: `init` is the expression of its first value, where it is plain.
local function declare(state, id, kind, init)
  local name = id[1]
  local var = { name = name, node = id, kind = kind, owner = state.func, init = init, values = {}, reads = 0,
    writes = 0, fields = {} }
  local before = state.scope[name]
  if before and not id.implicit and name:byte() ~= 95 then -- _
    state.report(id, "warning", ("local '%s' hides the one of line %d"):format(name, before.node.line))
  end
  state.vars[#state.vars + 1] = var
  state.scope[name] = var
  id.var = var
  if init and init.tag == "Table" then
    for _, pair in ipairs(init) do
      if pair.tag == "Pair" and pair[1].tag == "String" then var.fields[pair[1][1]] = pair[2] end
    end
  end
  return var
end

-- Writing to what stands left of `=`.
local function assign(state, target, value)
  if target.tag == "Id" then
    local var = state.scope[target[1]]
    target.var = var
    if not var then
      state.set_global(target)
      return
    end
    var.writes = var.writes + 1
    var.values[#var.values + 1] = value
    state.sets[#state.sets + 1] = { node = target, var = var, func = state.func }
  else
    local base = target[1]
    target.write = true
    walk_expression(state, target)
    while base.tag == "Index" or base.tag == "Paren" do base = base[1] end
    if base.tag == "Id" then
      if base.var and target[1] == base and target[2].tag == "String" then
        local fields, key = base.var.fields, target[2][1]
        fields[key] = fields[key] == nil and value or false
      end
      state.sets[#state.sets + 1] = { node = target, var = base.var, base = base, func = state.func }
    end
  end
end

function statements.Local(state, node)
  local names, values = node[1], node[2] or {}
  walk_all(state, values)
  for i = 1, #names do declare(state, names[i], "Local", values[i]) end
end

function statements.Localrec(state, node)
  declare(state, node[1][1], "Localrec", node[2][1])
  walk_expression(state, node[2][1])
end

function statements.Set(state, node)
  walk_all(state, node[2])
  for i = 1, #node[1] do assign(state, node[1][i], node[2][i]) end
end

function statements.Do(state, node) walk_block(state, node) end

function statements.While(state, node)
  walk_expression(state, node[1])
  walk_block(state, node[2])
end

function statements.Repeat(state, node)
  in_scope(state, function()
    walk_list(state, node[1])
    walk_expression(state, node[2])
  end)
end

function statements.If(state, node)
  for i = 1, #node - 1, 2 do
    walk_expression(state, node[i])
    if i > 1 then state.lines[#state.lines + 1] = node[i].line end
    walk_block(state, node[i + 1])
  end
  if #node % 2 == 1 then walk_block(state, node[#node]) end
end

function statements.Fornum(state, node)
  for i = 2, #node - 1 do walk_expression(state, node[i]) end
  in_scope(state, function()
    declare(state, node[1], "Fornum")
    walk_block(state, node[#node])
  end)
end

function statements.Forin(state, node)
  walk_all(state, node[2])
  in_scope(state, function()
    for _, id in ipairs(node[1]) do declare(state, id, "Forin") end
    walk_block(state, node[3])
  end)
end

function statements.Return(state, node)
  walk_all(state, node)
  node.func = state.func
  state.func.returns[#state.func.returns + 1] = node
end

local function nothing() end
for _, tag in ipairs { "Break", "Goto", "Label" } do statements[tag] = nothing end
for _, tag in ipairs { "Nil", "True", "False", "Number", "String", "Dots" } do expressions[tag] = nothing end

-- Nodes that may stand for a device or the like, inner ones first.
local function keep(state, node) state.shaped[#state.shaped + 1] = node end

function expressions.Id(state, node)
  local var = state.scope[node[1]]
  node.var = var
  if var then
    var.reads = var.reads + 1
    keep(state, node)
  else
    state.get_global(node)
  end
end

function expressions.Index(state, node)
  walk_expression(state, node[1])
  walk_expression(state, node[2])
  if node[1].tag == "Id" and not node[1].var then state.get_field(node) end
  keep(state, node)
end

function expressions.Paren(state, node)
  walk_expression(state, node[1])
  keep(state, node)
end

function expressions.Op(state, node)
  walk_expression(state, node[2])
  if node[3] then walk_expression(state, node[3]) end
  if node[1] == "or" or node[1] == "and" then keep(state, node) end
end

function expressions.Call(state, node)
  walk_all(state, node)
  state.calls[#state.calls + 1] = node
end

function expressions.Invoke(state, node)
  local method = { node[1], node[2], tag = "Index", line = node[2].line, offset = node[2].offset }
  expressions.Index(state, method)
  for i = 3, #node do walk_expression(state, node[i]) end
end

function expressions.Table(state, node)
  walk_all(state, node)
end

function expressions.Pair(state, node)
  walk_expression(state, node[1])
  walk_expression(state, node[2])
end

function expressions.Function(state, node)
  local outer = state.func
  node.outer, node.returns, node.params = outer, {}, {}
  state.func = node
  state.functions[#state.functions + 1] = node
  in_scope(state, function()
    for i, id in ipairs(node[1]) do
      if id.tag == "Id" then node.params[i] = declare(state, id, "Param") end
    end
    walk_list(state, node[2])
  end)
  state.func = outer
end

-- Globals ---------------------------------------------------------------------------------------------------------

local function suggestion(word, names)
  local near = nearest(word, names)
  return near and (" (did you mean %s?)"):format(near) or ""
end

local function names_of(map)
  local names = {}
  for name in pairs(map) do names[#names + 1] = name end
  table.sort(names)
  return names
end

-- globals: {name = true or {field = true}}; nil: not known.
local function watch_globals(state, kind, globals)
  local pure = kind == "policy" or kind == "library"
  function state.get_global(node)
    if globals and not globals[node[1]] then
      local why = pure and policy.instead[node[1]] or suggestion(node[1], names_of(globals))
      state.report(node, "error", ("undefined global '%s'%s"):format(node[1], why))
    end
  end
  function state.set_global(node)
    local how = pure and "assignment to '%s' (policies have no globals: use local)"
      or "assignment to global '%s' (use local)"
    state.report(node, "error", how:format(node[1]))
  end
  function state.get_field(node)
    local library, key = node[1][1], node[2]
    local fields = globals and globals[library]
    if type(fields) ~= "table" or key.tag ~= "String" or node.write or fields[key[1]] then return end
    local whole = library .. "." .. key[1]
    local why = pure and policy.instead[whole] or suggestion(key[1], names_of(fields))
    state.report(key, "error", ("unknown field %s%s"):format(whole, why))
  end
end

-- What others call ------------------------------------------------------------------------------------------------

local function parse(text)
  local offsets = {}
  local ok, ast = pcall(parser.parse, decoder.decode(text), offsets, {})
  if not ok then -- an object of the parser's, or an end of memory
    local line, message = 1, "too large"
    if type(ast) == "table" then line, message = ast.line, ast.msg end
    message = "cannot be checked: " .. tostring(message)
    return nil, { line = line, column = 0, severity = "warning", message = message }
  end
  return ast, offsets
end

local function walk(ast, report, kind, globals)
  local main = { tag = "Function", line = 1, offset = 1, returns = {}, params = {}, {}, ast }
  local state = {
    report = report, scope = {}, func = main, main = main, vars = {}, functions = {}, calls = {}, sets = {},
    shaped = {}, lines = {},
  }
  watch_globals(state, kind, globals)
  walk_block(state, ast)
  return state
end

local function check(text, kind, globals)
  local ast, offsets = parse(text)
  if not ast then return { offsets } end
  local problems = {}
  local function report(node, severity, message)
    if #problems == MOST then return end
    local column = offsets[node.line] and node.offset and node.offset - offsets[node.line] + 1 or 0
    message = message:gsub("%c", "?") -- of texts in the source
    problems[#problems + 1] = { line = node.line, column = column, severity = severity, message = message }
  end
  local state = walk(ast, report, kind, globals)
  for _, var in ipairs(state.vars) do
    local words = NEVER_READ[var.kind]
    if words and var.reads == 0 and var.name:byte() ~= 95 then
      if var.writes > 0 and var.kind == "Local" then words = "local '%s' is set, and never read" end
      report(var.node, "warning", words:format(var.name))
    end
  end
  if kind == "policy" or kind == "library" then
    state.offsets, state.suggestion, state.names_of = offsets, suggestion, names_of
    policy.check(state, kind)
  end
  return problems
end

local function lines(text)
  local ast = parse(text)
  if not ast then return {} end
  return walk(ast, nothing, "script", nil).lines
end

return check, lines
