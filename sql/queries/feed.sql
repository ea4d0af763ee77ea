-- Tickets of the live feed (scripts/routes/feed.lua).

-- name: ticket_create
-- $1: SHA-256 of the ticket, hex  $2: session  $3: seconds to live  $4: end of the access token, Unix seconds
insert into feed_tickets (sha256, session_id, expires_at, token_expires)
values (decode($1::text, 'hex'), $2::uuid, now() + $3::float8 * interval '1 second', $4::bigint);

-- name: ticket_spend
-- Whoever comes second finds none. Whose it was, where it is good.
with spent as (
  delete from feed_tickets where sha256 = decode($1::text, 'hex') returning session_id, expires_at, token_expires
)
select u.id, u.role = 'operator' as operator, s.id::text as sid, spent.token_expires as expires
from spent join sessions s on s.id = spent.session_id join users u on u.id = s.user_id
where spent.expires_at > now() and s.revoked_at is null and s.expires_at > now();

-- name: tickets_forget
delete from feed_tickets where expires_at < now();

-- name: feed_devices_visible read
-- Of the devices $1, those that account $2 may see ($3: all).
select id from devices
where id = any (array(select jsonb_array_elements_text($1::jsonb)::int)) and (user_id = $2::int or $3::boolean);

-- name: feed_rollouts_there read
-- Of the rollouts $1, those that there are.
select id from rollouts where id = any (array(select jsonb_array_elements_text($1::jsonb)::int));
