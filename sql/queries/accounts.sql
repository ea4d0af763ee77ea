-- Accounts and their sessions. A key of login_failures is 'account:<email>' or 'address:<address>'; accounts that an
-- address asked for are counted there, too: 'register:<address>'.

-- name: account_create
insert into users (email, password) values ($1::text, $2::text)
returning id, email, role, created_at;

-- name: account_first read
select not exists (select from users) as first;

-- name: account_by_id read
select id, email, role, created_at from users where id = $1::int;

-- name: login_account read
-- $1: email  $2, $3: keys  $4: failures allowed  $5: in this many seconds. Always one row.
select u.id, u.role, u.password,
       greatest(login_wait($2::text, $4::int, $5::float8), login_wait($3::text, $4::int, $5::float8)) as wait
from (select) one left join users u on u.email = $1::text;

-- name: login_failed
-- $1, $2: keys, the account's first (all lock in this order)  $3: in this many seconds
insert into login_failures as f (key, at)
values ($1::text, array[now()]), ($2::text, array[now()])
on conflict (key) do update
  set at = array(select t from unnest(f.at) t where t > now() - $3::float8 * interval '1 second' order by t) || now()
returning cardinality(at) as failures;

-- name: registration_wait
-- Counts one, unless there were as many as allowed. Seconds to wait; 0: go on.
-- $1: key  $2: allowed  $3: in this many seconds
with counted as (
  insert into login_failures as f (key, at) values ($1::text, array[now()])
  on conflict (key) do update
    set at = array(select t from unnest(f.at) t where t > now() - $3::float8 * interval '1 second' order by t) || now()
    where (select count(*) from unnest(f.at) t where t > now() - $3::float8 * interval '1 second') < $2::int
  returning key
)
select case when exists (select from counted) then 0
            else greatest(login_wait($1::text, $2::int, $3::float8), 1) end as wait;

-- name: login_failures_forget
-- $1: in this many seconds
delete from login_failures where at[cardinality(at)] < now() - $1::float8 * interval '1 second';

-- name: session_create
-- sid is null where others failed meanwhile, so that this attempt came too late to count, although its password was right
-- (wait: seconds), and where the password is another one by now. Whoever changes it, or the role, waits for this or is
-- waited for, so that no session is left over from before.
-- $1: user  $2: SHA-256 of the refresh token's secret, hex  $3: seconds to live  $4..$7: as $2..$5 of login_account
-- $8: the password, hashed, as it was verified
with account as (
  update users set last_login = now()
  where id = $1::int and password = $8::text
    and login_wait($4::text, $6::int, $7::float8) = 0 and login_wait($5::text, $6::int, $7::float8) = 0
  returning id, role
), made as (
  insert into sessions (user_id, refresh_sha256, expires_at)
  select id, decode($2::text, 'hex'), now() + $3::float8 * interval '1 second' from account
  returning id
), cleared as (
  delete from login_failures where key = $4::text and exists (select from made)
)
select (select id::text from made) as sid, $1::int as id, (select role from account) as role,
       greatest(login_wait($4::text, $6::int, $7::float8), login_wait($5::text, $6::int, $7::float8)) as wait;

-- name: session_refresh
-- Spends a refresh token for the next, or ends the session when it was spent before. Whoever waited for a
-- parallel one sees that one's result, so of many exactly one is `good`.
-- $1: session  $2: SHA-256 of the secret presented, hex  $3: of the next  $4: seconds to live
update sessions s
set refresh_sha256 = case when s.refresh_sha256 = decode($2::text, 'hex') then decode($3::text, 'hex')
                          else s.refresh_sha256 end,
    expires_at = case when s.refresh_sha256 = decode($2::text, 'hex') then now() + $4::float8 * interval '1 second'
                      else s.expires_at end,
    revoked_at = case when s.refresh_sha256 = decode($2::text, 'hex') then null else now() end
from users u
where s.id = $1::uuid and u.id = s.user_id and s.revoked_at is null and s.expires_at > now()
returning u.id, u.role, s.revoked_at is null as good;

-- name: session_revoke
update sessions set revoked_at = now() where id = $1::uuid and revoked_at is null;

-- name: sessions_listen
listen otad_sessions;

-- name: sessions_revoked_recently read
-- $1: seconds
select id::text as sid from sessions where revoked_at > now() - $1::float8 * interval '1 second';

-- name: sessions_forget
-- $1: seconds since they ended
delete from sessions
where revoked_at < now() - $1::float8 * interval '1 second'
   or expires_at < now() - $1::float8 * interval '1 second';

-- name: account_change_password
-- Unless it is another one by now, or others failed meanwhile (wait: seconds). sids: of the sessions that this ended.
-- $1: user  $2: the password, hashed, as it was verified  $3: the new one  $4..$7: as $2..$5 of login_account
with changed as (
  update users set password = $3::text
  where id = $1::int and password = $2::text
    and login_wait($4::text, $6::int, $7::float8) = 0 and login_wait($5::text, $6::int, $7::float8) = 0
  returning id
), cleared as (
  delete from login_failures where key = $4::text and exists (select from changed)
)
select exists (select from changed) as changed,
       greatest(login_wait($4::text, $6::int, $7::float8), login_wait($5::text, $6::int, $7::float8)) as wait,
       (select coalesce(jsonb_agg(s.id), '[]') from sessions s
        where s.user_id = $1::int and s.revoked_at is null and s.expires_at > now()) as sids;

-- What operators see of accounts, and do to them.

-- name: users_list read
-- $1: after this id  $2: how many  $3: part of the address, lower case, or null
select id, email, role, created_at, last_login, (select count(*) from devices where user_id = users.id) as devices
from users where id > $1::int and ($3::text is null or strpos(email, $3::text) > 0)
order by id limit $2::int;

-- name: users_lock
-- First of all, by all who might leave no operator: whoever waited here sees, in the next statement, which are left.
select pg_advisory_xact_lock(hashtext('otad operators'));

-- name: user_lock
-- Nobody logs in, or registers a device, until the transaction ends.
select id, email, role, created_at, last_login from users where id = $1::int for update;

-- name: user_holdings
-- What account $1, locked, has. sids: of its sessions. operators: how many there are.
select (select count(*) from users where role = 'operator') as operators,
       (select count(*) from devices where user_id = $1::int) as devices,
       (select coalesce(jsonb_agg(id), '[]') from sessions
        where user_id = $1::int and revoked_at is null and expires_at > now()) as sids;

-- name: user_change_role
update users set role = $2::text where id = $1::int;

-- name: user_delete
delete from users where id = $1::int;

-- For `otad user`.

-- name: user_add
insert into users (email, password, role) values ($1, $2, $3) returning id, role;

-- name: user_set_role
with changed as (update users set role = $2 where email = $1 returning id, role),
     ended as (update sessions set revoked_at = now()
                where user_id = (select id from changed) and revoked_at is null)
select id, role from changed;

-- name: user_set_password
update users set password = $2 where email = $1 returning id, role;

-- name: user_list read
select id, email, role from users order by id;
