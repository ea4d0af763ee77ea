-- Accounts as operators manage them.

local page = require "lib.page"

local USER = json.record("id", "email", "role", "created_at", "last_login", "devices")

local function shown(row)
  return USER {
    id = row.id, email = row.email, role = row.role, created_at = row.created_at, last_login = row.last_login,
    devices = row.devices,
  }
end

local function list(req)
  local after = page.start(req, "users", 0)
  local rows = db.all("users_list", after, req.query.limit + 1, req.query.q and req.query.q:lower())
  return page.answer(req, "users", rows, page.by_id, shown)
end

-- Runs change(tx, row) on the account, with what it has; unless it has become operator, its sessions are over then. left: the
-- role that it is to have, or nil where it is to be gone. One at a time, so that of the last two operators one stays.
local function change_user(req, left, change)
  local user = db.transaction(function(tx)
    tx.one("users_lock")
    local row = tx.one("user_lock", req.params.id)
    if not row then fail(404) end
    local holdings = tx.one("user_holdings", row.id)
    if row.role == "operator" and left ~= "operator" and holdings.operators == 1 then
      fail(409, "This is the last operator: make another one first.")
    end
    row.devices, row.sids = holdings.devices, holdings.sids
    if row.role ~= left then change(tx, row) end
    if row.role == left or left == "operator" then row.sids = {} end
    row.role = left
    return row
  end)
  for _, sid in ipairs(user.sids) do sessions.revoke(sid) end
  return user
end

local function change_role(req)
  local role = req.body.role
  return 200, { user = shown(change_user(req, role, function(tx, row) tx.run("user_change_role", row.id, role) end)) }
end

local function delete(req)
  change_user(req, nil, function(tx, row)
    if row.devices > 0 then
      fail(409, ("The account has %d devices: delete them first."):format(row.devices))
    end
    tx.run("user_delete", row.id)
  end)
  return 204
end

return {
  {
    method = "GET", path = "/users", who = "operator",
    query = page.query { q = { "string", min = 1, max = 254, optional = true } },
    handler = list,
  },
  {
    method = "PATCH", path = "/users/:id", who = "operator",
    body = { role = { "string", one_of = { "user", "operator" } } },
    handler = change_role,
  },
  { method = "DELETE", path = "/users/:id", who = "operator", handler = delete },
}
