-- Refresh tokens: "<session id>.<secret>". The database keeps the SHA-256 of the one secret that is good now.

local session = {}

local COOKIE = "otad_refresh"
local UUID = "^(%x%x%x%x%x%x%x%x%-%x%x%x%x%-%x%x%x%x%-%x%x%x%x%-%x%x%x%x%x%x%x%x%x%x%x%x)%.([%w_-]+)$"

function session.new_secret()
  local secret = crypto.random(32)
  return secret, crypto.sha256(secret)
end

-- Session id and hash of the secret; nil for what is no refresh token.
function session.read(token)
  if type(token) ~= "string" or #token > 200 then return nil end
  local sid, secret = token:match(UUID)
  if not sid then return nil end
  return sid:lower(), crypto.sha256(secret)
end

-- For consoles on other sites it must be partitioned, too: browsers give pages there no other cookie of ours.
function session.cookie(value, life)
  local site = config["auth.cookie_samesite"]
  if site == "None" then site = "None; Partitioned" end
  return ("%s=%s; Path=/auth; HttpOnly; Secure; SameSite=%s; Max-Age=%d"):format(COOKIE, value, site, life)
end

-- The refresh token in a Cookie header (RFC 6265).
function session.from_cookie(header)
  return header and ("; " .. header):match(";%s*" .. COOKIE .. "=([%w._-]+)")
end

-- Takes the cookie away, whatever it holds; nil where none came. For headers.
function session.end_cookie(header)
  if not header or not ("; " .. header):find(";%s*" .. COOKIE .. "=") then return nil end
  return { ["set-cookie"] = session.cookie("", 0) }
end

-- The answer to a login or refresh. user: id, role.
function session.answer(user, sid, secret, with_cookie)
  local token, life = jwt.sign { sub = user.id, role = user.role, sid = sid }
  local body = { access_token = token, token_type = "Bearer", expires_in = life }
  local refresh = sid .. "." .. secret
  if with_cookie then
    return 200, body, { ["set-cookie"] = session.cookie(refresh, math.floor(config["auth.refresh_ttl"])) }
  end
  body.refresh_token = refresh
  return 200, body
end

return session
