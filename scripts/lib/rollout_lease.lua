-- The lease under which one instance drives all rollouts: what is written under it names its fence.

local LEASE, RENEW = 3, 1 -- seconds
local TICK = 5            -- seconds after which other rollouts have their turn

local leases = { TICK = TICK }

-- Of all generations of scripts in this process one drives at a time: no task runs beside itself (lua/tasks).
function leases.take()
  local row = db.one("rollout_drive", server.instance(), LEASE, server.ready().mqtt)
  return row and { fence = row.fence, at = now(), reports = row.reports, changes = row.changes }
end

function leases.keep(lease)
  if now() - lease.at < RENEW then return true end
  local renewed = leases.take()
  if not renewed or renewed.fence ~= lease.fence then return false end
  lease.at = renewed.at
  return true
end

-- Runs a statement that takes `most` at once until it finds fewer, or others shall have their turn. How many it found.
function leases.drain(lease, statement, most, ...)
  local all, ends = 0, now() + TICK
  repeat
    local part = db.one(statement, lease.fence, ...)
    if part.updates then events.updates(part.updates) end
    all = all + part.n
  until part.n < most or now() > ends or not leases.keep(lease)
  return all
end

return leases
