-- Lists a page at a time. A cursor is where the last page ended, sealed: an altered one, or one of another list, is
-- refused. Statements are asked for one row more than the limit, which tells whether there is a next page.

local page = {}

-- The query declaration of a list: `limit`, `cursor` and what else it takes.
function page.query(more)
  local query = {
    limit = { "integer", min = 1, max = 200, default = 50 },
    cursor = { "string", max = 500, optional = true },
  }
  for name, declaration in pairs(more or {}) do query[name] = declaration end
  return query
end

-- The numbers and names that the cursor holds, or `...` on the first page.
function page.start(req, list, ...)
  if not req.query.cursor then return ... end
  local text = crypto.unseal(req.query.cursor)
  local keys = text and text:match("^page:" .. list .. ":([%w_,-]+)$")
  if not keys then
    fail(422, "The cursor is not one of this list.", { errors = { { field = "cursor", message = "is not valid" } } })
  end
  local out = {}
  for key in keys:gmatch("[^,]+") do out[#out + 1] = key:find("^-?%d+$") and math.tointeger(tonumber(key)) or key end
  return table.unpack(out)
end

-- The answer's body. key(row) returns the numbers or names where the next page starts; shape(row), if given, what is shown.
function page.answer(req, list, rows, key, shape)
  local next
  if #rows > req.query.limit then
    rows[#rows] = nil
    next = crypto.seal("page:" .. list .. ":" .. table.concat({ key(rows[#rows]) }, ","))
  end
  if shape then
    for i, row in ipairs(rows) do rows[i] = shape(row) end
  end
  return 200, { items = json.array(rows), next = next or json.null }
end

function page.by_id(row) return row.id end

return page
