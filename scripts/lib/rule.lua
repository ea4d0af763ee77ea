-- The rule of a policy that gave a verdict, in words: `policy canary, line 16: return "offer"`.

local LONGEST = 160 -- bytes of a line

local function short(code)
  return #code > LONGEST and code:sub(1, utf8.offset(code, 0, LONGEST + 1) - 1) .. "…" or code
end

-- row: policy, and line, file and code where known
return function(row)
  if not row.line then return "policy " .. row.policy end
  return ("policy %s, %sline %d%s"):format(row.policy, row.file and row.file .. " " or "", row.line,
    row.code and row.code ~= "" and ": `" .. short(row.code) .. "`" or "")
end
