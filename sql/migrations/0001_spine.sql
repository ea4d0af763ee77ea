-- Accounts, devices, firmware, updates and what devices tell. Times are timestamptz throughout.

create table users (
  id          serial primary key,
  email       varchar(255) unique not null,       -- lower case
  password    text not null,                      -- Argon2id, libsodium's string form
  role        text not null default 'user' check (role in ('user', 'operator')),
  created_at  timestamptz not null default now()
);

-- The first account of an empty installation becomes operator. A statement in here sees what was committed while
-- it waited for the lock, so two first accounts at once cannot both be it.
create function promote_first_user() returns trigger language plpgsql as $$
begin
  if not exists (select from users) then
    perform pg_advisory_xact_lock(hashtext('otad first user'));
    if not exists (select from users) then
      new.role := 'operator';
    end if;
  end if;
  return new;
end $$;
create trigger users_first before insert on users for each row execute function promote_first_user();

-- Failed logins of an account or an address: 'account:<email>', 'address:<address>'. Every attempt costs a password
-- hash anyway, so this needs no faster place, and it holds whatever becomes of Redis.
create table login_failures (
  key  text primary key,
  at   timestamptz[] not null                     -- within the last window, oldest first
);

-- Seconds until `key` may try again after `most` failures within `span` seconds; 0: now.
create function login_wait(key text, most int, span float8) returns int language sql stable as $$
  select coalesce(max(ceil(extract(epoch from t - now()) + span)), 0)::int
  from (select t from login_failures f, unnest(f.at) t
        where f.key = login_wait.key and t > now() - span * interval '1 second'
        order by t desc offset most - 1 limit 1) nth
$$;

-- One row a login. The access tokens of a session carry its id as `sid`.
create table sessions (
  id              uuid primary key default gen_random_uuid(),
  user_id         int not null references users on delete cascade,
  refresh_sha256  bytea not null,                 -- of the one refresh token that is good now
  created_at      timestamptz not null default now(),
  expires_at      timestamptz not null,
  revoked_at      timestamptz
);
create index sessions_user on sessions (user_id);
create index sessions_revoked on sessions (revoked_at) where revoked_at is not null;

-- Tells every instance (channel otad_sessions, payload the session's id) that its access tokens are worthless.
create function notify_session() returns trigger language plpgsql as $$
begin
  perform pg_notify('otad_sessions', old.id::text);
  return null;
end $$;
create trigger sessions_revoked after update of revoked_at on sessions for each row
  when (old.revoked_at is null and new.revoked_at is not null) execute function notify_session();
create trigger sessions_deleted after delete on sessions for each row
  when (old.revoked_at is null and old.expires_at > now()) execute function notify_session();

-- Whoever changes a password, or takes the role of operator away, ends the account's sessions.
create function end_sessions() returns trigger language plpgsql as $$
begin
  update sessions set revoked_at = now() where user_id = new.id and revoked_at is null;
  return null;
end $$;
create trigger users_changed after update of password, role on users for each row
  when (old.password <> new.password or (old.role = 'operator' and new.role <> 'operator'))
  execute function end_sessions();

-- Heartbeats change status, last_seen, telemetry and their like; none of these is indexed and pages keep
-- room, so that such an update stays on its page (heap-only).
create table devices (
  id                serial primary key,
  user_id           int references users on delete cascade,
  device_code       varchar(50) unique not null,
  status            text not null default 'offline' check (status in ('online', 'offline')),
  firmware_version  varchar(50),
  last_seen         timestamptz,
  created_at        timestamptz not null default now(),
  name              text,
  chip              text,
  tags              jsonb not null default '{}',
  elf_sha256        text,                         -- of the running image, as the device reports it
  session           text,                         -- the device's name for its present connection
  telemetry         jsonb not null default '{}'   -- the newest value of each field
) with (fillfactor = 70);
create index devices_user on devices (user_id, id);
create index devices_tags on devices using gin (tags jsonb_path_ops);

-- The password is 256 random bits, so one SHA-256 of it is enough. The user name is 'device-<id>'.
create table device_credentials (
  device_id        int primary key references devices on delete cascade,
  password_sha256  bytea not null,
  rotated_at       timestamptz not null default now()
);

-- Tells every broker plugin (channel otad_credentials, payload the device's id) in the transaction that
-- made the old password worthless.
create function notify_credentials() returns trigger language plpgsql as $$
begin
  perform pg_notify('otad_credentials', old.device_id::text);
  return null;
end $$;
create trigger device_credentials_changed after update or delete on device_credentials
  for each row execute function notify_credentials();

create table firmware (
  id                 serial primary key,
  version            varchar(50) not null,
  file_url           text not null,               -- where the store keeps it: file:<sha256>
  uploaded_at        timestamptz not null default now(),
  chip               text not null,
  project            text not null,
  size               int not null,
  sha256             text unique not null,        -- of the whole file, lower-case hex
  elf_sha256         text not null,
  secure_version     bigint not null,
  idf_version        text not null,
  min_chip_revision  int not null,
  signature_kind     text not null default 'none',
  release_signature  text,                        -- base64 Ed25519
  release_key        text,                        -- first 8 hex of SHA-256 of the public key
  notes              text,
  uploaded_by        int references users on delete set null,
  unique (chip, project, version)
);

create table updates (
  id            serial primary key,
  device_id     int not null references devices on delete cascade,
  firmware_id   int references firmware on delete set null,
  rollout_id    int,
  version       varchar(50) not null,
  from_version  varchar(50),
  state         text not null default 'pending' check (state in
                  ('pending', 'offered', 'downloading', 'installing',
                   'succeeded', 'failed', 'rolled_back', 'rejected', 'timed_out', 'cancelled')),
  progress      smallint not null default 0 check (progress between 0 and 100),
  reason        text,
  created_at    timestamptz not null default now(),
  updated_at    timestamptz not null default now(),  -- of the last report or decision
  taken_at      timestamptz                          -- first report of the device about it
);
-- At most one update of a device is under way, whatever races.
create unique index updates_under_way on updates (device_id)
  where state in ('pending', 'offered', 'downloading', 'installing');
create index updates_device on updates (device_id, id);
create index updates_firmware on updates (firmware_id);
-- By how long they are silent: what to time out.
create index updates_taken on updates (updated_at)
  where taken_at is not null and state in ('pending', 'offered', 'downloading', 'installing');
create index updates_waiting on updates (created_at)
  where taken_at is null and state in ('pending', 'offered', 'downloading', 'installing');

-- What shall stand retained on device/{id}/ota: an offer, or '' to clear it. Written in the transaction
-- that decides it, published afterwards, marked once the broker has acknowledged. No foreign key: the
-- clearing of a deleted device's topic outlives the device.
create table offers (
  device_id     int primary key,
  update_id     int,
  payload       text not null,
  expires_at    timestamptz,
  changed_at    timestamptz not null default now(),
  published_at  timestamptz                       -- null: still to be published
);
create index offers_unpublished on offers (changed_at) where published_at is null;
create index offers_standing on offers (expires_at) where payload <> '';

create table device_logs (
  id         bigint generated always as identity,
  device_id  int not null,
  at         timestamptz not null,
  level      text not null,
  message    text not null
) partition by range (at);
create index device_logs_device on device_logs (device_id, at desc, id desc);

-- One row a device and window: {"rssi": [count, min, max, sum], ...}; a window is some seconds long.
create table telemetry (
  device_id  int not null,
  at         timestamptz not null,
  fields     jsonb not null
) partition by range (at);
create index telemetry_device on telemetry (device_id, at);

-- Makes the day partitions of `parent` from today to `ahead` days ahead and drops those that ended more
-- than `keep` days ago.
create function keep_partitions(parent text, ahead int, keep int) returns void language plpgsql as $$
declare
  day date;
  old text;
begin
  for day in select generate_series(current_date - 1, current_date + ahead, interval '1 day')::date loop
    execute format('create table if not exists %I partition of %I for values from (%L) to (%L)',
                   parent || '_' || to_char(day, 'YYYYMMDD'), parent, day, day + 1);
  end loop;
  for old in select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
             where i.inhparent = parent::regclass
               and right(c.relname, 8) < to_char(current_date - keep, 'YYYYMMDD') loop
    execute format('drop table %I', old);
  end loop;
end $$;
