-- The live feed: who may connect. What clients say then is answered by topics/feed.lua.

local TICKET_LIFE = 30 -- seconds

local function ticket(req)
  local text = crypto.random(32)
  local _, violation = db.run("ticket_create", crypto.sha256(text), req.user.sid, TICKET_LIFE, req.user.expires)
  if violation then fail(401, "The session has ended.") end
  return 201, { ticket = text, expires_in = TICKET_LIFE }
end

local function connect(req)
  if req.user then return 101, req.user end
  if not req.query.ticket then fail(401, "This needs an access token, or ?ticket= of POST /ws/ticket.") end
  return 101, db.one("ticket_spend", crypto.sha256(req.query.ticket)) or
    fail(401, "The ticket is not good, or was used: POST /ws/ticket gives another.")
end

return {
  { method = "POST", path = "/ws/ticket", who = "user", handler = ticket },
  {
    method = "GET", path = "/ws", who = "guest",
    query = { ticket = { "string", min = 1, max = 100, optional = true } },
    handler = connect,
  },
}
