-- Accounts: register, log in, stay logged in, log out.

local password = require "lib.password"
local schema = require "lib.schema"
local session = require "lib.session"
local email = require "lib.email"

local function too_many(what, seconds)
  fail(429, ("Too many %s. Try again later."):format(what), { headers = { ["retry-after"] = math.max(seconds, 1) } })
end

local function failed_too_often(seconds)
  too_many("failed logins", seconds)
end

-- What the failures of this account from this address are counted by: two keys, how many may be, in how many seconds.
local function guard(req, address)
  return "account:" .. address, "address:" .. req.address, config["auth.max_failures"], config["auth.failure_window"]
end

-- The account that may be tried now: id, role, password; all nil where there is none.
local function find_account(req, address)
  local account = db.one("login_account", address, guard(req, address))
  if account.wait > 0 then failed_too_often(account.wait) end
  return account
end

local function count_failure(req, address)
  local account_key, address_key, most, span = guard(req, address)
  for _, row in ipairs(db.all("login_failed", account_key, address_key, span)) do
    if row.failures > most then failed_too_often(math.ceil(span)) end
  end
end

local function refuse_password(field, message)
  fail(422, "This password is too easy to guess.", { errors = { { field = field, message = message } } })
end

local function register(req)
  local address = req.body.email:lower()
  local refusal = password.refusal(req.body.password, address)
  if refusal then refuse_password("password", refusal) end
  -- Counted before the password is hashed, which is what costs, and whatever becomes of it.
  local wait = db.one("registration_wait", "register:" .. req.address, config["auth.max_registrations"],
                      config["auth.registration_window"]).wait
  if wait > 0 then too_many("registrations from this address", wait) end
  local user, problem = db.one("account_create", address, crypto.hash_password(req.body.password))
  if problem then fail(409, "There is an account with this email address already.") end
  return 201, { user = user }
end

-- Whether an account exists shows neither in the answer nor in its time. Failures are counted once the password
-- was checked, and the count is looked at again then: guesses made in parallel gain nothing.
local function login(req)
  local address = req.body.email:lower()
  local wrong = "The email address or the password is wrong."
  local account = find_account(req, address)
  if not crypto.verify_password(account.password, req.body.password) then
    count_failure(req, address)
    fail(401, wrong)
  end
  local secret, hash = session.new_secret()
  local account_key, address_key, most, span = guard(req, address)
  local made = db.one("session_create", account.id, hash, config["auth.refresh_ttl"], account_key, address_key, most, span,
    account.password)
  if made.wait > 0 then failed_too_often(made.wait) end
  if not made.sid then fail(401, wrong) end -- it was changed while it was verified
  return session.answer(made, made.sid, secret, req.body.cookie)
end

local check_refresh = schema.compile { refresh_token = { "string", max = 4096 } }

-- From the body, or, where that is empty, from the cookie. The second value tells which. A browser sends the
-- cookie whichever page has it ask.
local function refresh_token(req)
  local body = schema.read_body(req, check_refresh)
  if body then return body.refresh_token, false end
  if req.foreign then fail(403, "Pages of this origin may not use the cookie: http.origins lists those that may.") end
  return session.from_cookie(req.header("cookie")), true
end

local function refresh(req)
  local token, is_cookie = refresh_token(req)
  local sid, hash = session.read(token)
  if sid then
    local secret, next_hash = session.new_secret()
    local user = db.one("session_refresh", sid, hash, next_hash, config["auth.refresh_ttl"])
    if user and user.good then return session.answer(user, sid, secret, is_cookie) end
    if user then sessions.revoke(sid) end -- a spent token: whoever has it, both must log in again
  end
  fail(401, "The refresh token is unknown, expired or spent: log in again.",
    { headers = is_cookie and session.end_cookie(req.header("cookie")) or nil })
end

local function logout(req)
  db.run("session_revoke", req.user.sid)
  sessions.revoke(req.user.sid)
  return 204, nil, session.end_cookie(req.header("cookie"))
end

-- Whether the account that is made next is the first, and becomes operator: consoles greet newcomers by it.
local function first()
  return 200, { first = db.one("account_first").first }
end

-- A wrong one is no 401: clients take that for the end of their access token, get another, and try again, which would
-- count as the next failure.
local function change_password(req)
  local user = db.one("account_by_id", req.user.id)
  if not user then fail(401, "This account was deleted.") end
  local refusal = password.refusal(req.body.new_password, user.email)
  if refusal then refuse_password("new_password", refusal) end
  local account = find_account(req, user.email)
  if not crypto.verify_password(account.password, req.body.password) then
    count_failure(req, user.email)
    fail(422, "The password is wrong.", { errors = { { field = "password", message = "is not the one of this account" } } })
  end
  local done = db.one("account_change_password", user.id, account.password, crypto.hash_password(req.body.new_password),
    guard(req, user.email))
  if done.wait > 0 then failed_too_often(done.wait) end
  if not done.changed then fail(409, "The password was changed meanwhile.") end
  for _, sid in ipairs(done.sids) do sessions.revoke(sid) end
  return 204, nil, session.end_cookie(req.header("cookie"))
end

local function me(req)
  local user = db.one("account_by_id", req.user.id)
  if not user then fail(401, "This account was deleted.") end
  return 200, { user = user }
end

return {
  {
    method = "POST", path = "/auth/register", who = "anyone",
    body = {
      email = { "string", max = 254, check = email.refusal },
      password = { "string", min = 10, max = 128 },
    },
    handler = register,
  },
  {
    method = "POST", path = "/auth/login", who = "anyone",
    body = {
      email = { "string", max = 254 },
      password = { "string", max = 1000 },
      cookie = { "boolean", default = false },
    },
    handler = login,
  },
  { method = "POST", path = "/auth/refresh", who = "anyone", body = "raw", handler = refresh },
  { method = "GET", path = "/auth/first", who = "anyone", handler = first },
  { method = "POST", path = "/auth/logout", who = "user", handler = logout },
  {
    method = "POST", path = "/auth/password", who = "user",
    body = {
      password = { "string", max = 1000 },
      new_password = { "string", min = 10, max = 128 },
    },
    handler = change_password,
  },
  { method = "GET", path = "/auth/me", who = "user", handler = me },
}
