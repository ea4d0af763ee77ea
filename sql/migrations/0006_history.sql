-- History that answers fast: telemetry rolled up by the hour, and what happened to devices.

-- One row a device and hour, of the rows of `telemetry` that begin in it: {"rssi": [count, min, max, sum], ...}.
create table telemetry_hours (
  device_id  int not null,
  at         timestamptz not null,
  fields     jsonb not null,
  primary key (device_id, at)
) partition by range (at);

-- How far the devices of a range (telemetry_range) are rolled up. Whoever rolls up locks the row.
create table telemetry_ranges (
  first_id  int primary key,
  until     timestamptz not null                  -- the beginning of an hour
) with (fillfactor = 50);

-- The first id of the range that a device belongs to.
create function telemetry_range(device int) returns int language sql immutable parallel safe as $$
  select device - device % 100
$$;

-- Hours that got rows 2 minutes after their end or later, when they may have been rolled up already: a queue, so that
-- who writes waits for nobody.
create table telemetry_late (
  id         bigint generated always as identity primary key,
  device_id  int not null,
  at         timestamptz not null
);
create index telemetry_late_device on telemetry_late (device_id, at);

create function note_late_telemetry() returns trigger language plpgsql as $$
begin
  insert into telemetry_late (device_id, at)
  select distinct device_id, date_trunc('hour', at, 'UTC') from came
  where date_trunc('hour', at, 'UTC') < now() - interval '62 minutes';
  return null;
end $$;
create trigger telemetry_came after insert on telemetry
  referencing new table as came for each statement execute function note_late_telemetry();

-- Days that have telemetry get their hours.
do $$
declare
  day date;
begin
  for day in select right(c.relname, 8)::date from pg_inherits i join pg_class c on c.oid = i.inhrelid
             where i.inhparent = 'telemetry'::regclass loop
    execute format('create table %I partition of telemetry_hours for values from (%L) to (%L)',
                   'telemetry_hours_' || to_char(day, 'YYYYMMDD'), day, day + 1);
  end loop;
end $$;

-- What happened to devices; days are those of UTC. No foreign key: events outlive what they tell of, until their day goes.
create table device_events (
  id         bigint generated always as identity,
  device_id  int not null,
  at         timestamptz not null default now(),
  kind       text not null check (kind in ('online', 'offline', 'restart', 'firmware', 'update')),
  data       jsonb not null default '{}',
  nth        smallint not null                    -- of the device's own, or of its updates, in this hour
) partition by range (at);
create index device_events_device on device_events (device_id, at desc, id desc);

-- Keeps 30 events of the device's own and 30 of its updates an hour: one that flaps fills no disk. Where the day has no
-- table yet it keeps none: what an event tells of matters more than the event.
create function keep_event(device int, what text, more jsonb) returns void language plpgsql as $$
begin
  if to_regclass('device_events_' || to_char(now() at time zone 'UTC', 'YYYYMMDD')) is null then
    return;
  end if;
  insert into device_events (device_id, kind, data, nth)
  select device, what, more, coalesce(newest.nth, 0) + 1
  from (select) one left join lateral
    (select nth from device_events
     where device_id = device and (kind = 'update') = (what = 'update')
       and at >= date_trunc('hour', now(), 'UTC') and at < date_trunc('hour', now(), 'UTC') + interval '1 hour'
     order by at desc, id desc limit 1) newest on true
  where coalesce(newest.nth, 0) < 30;
end $$;

-- A new session that tells why the device was reset is a restart, unless its uptime says that it came back without one:
-- then it had started before it was last heard of. An uptime that is the same as before may be an old one.
create function note_device_events() returns trigger language plpgsql as $$
begin
  if old.status = 'online' and new.status = 'offline' then
    perform keep_event(new.id, 'offline', '{}');
  end if;
  if new.session is distinct from old.session and old.last_seen is not null
     and new.telemetry ->> 'reset_reason' is not null
     and (jsonb_typeof(new.telemetry -> 'uptime') is distinct from 'number'
          or new.telemetry -> 'uptime' = old.telemetry -> 'uptime'
          or (new.telemetry ->> 'uptime')::float8 < extract(epoch from new.last_seen - old.last_seen)) then
    perform keep_event(new.id, 'restart', jsonb_build_object('reset_reason', left(new.telemetry ->> 'reset_reason', 100)));
  end if;
  if old.status = 'offline' and new.status = 'online' then
    perform keep_event(new.id, 'online', '{}');
  end if;
  if new.firmware_version is distinct from old.firmware_version or new.elf_sha256 <> old.elf_sha256 then
    perform keep_event(new.id, 'firmware', jsonb_strip_nulls(jsonb_build_object(
      'version', new.firmware_version, 'was', old.firmware_version, 'elf_sha256', new.elf_sha256)));
  end if;
  return null;
end $$;
create trigger devices_events after update on devices for each row
  when (old.status <> new.status or old.firmware_version is distinct from new.firmware_version
        or old.elf_sha256 <> new.elf_sha256 or old.session is distinct from new.session)
  execute function note_device_events();

-- The states that an update came to after the one it was made in, which table updates tells.
create function note_update_event() returns trigger language plpgsql as $$
begin
  perform keep_event(new.device_id, 'update', jsonb_strip_nulls(jsonb_build_object(
    'update_id', new.id, 'firmware_id', new.firmware_id, 'rollout_id', new.rollout_id, 'action', new.action,
    'version', new.version, 'from_version', new.from_version, 'state', new.state, 'reason', new.reason)));
  return null;
end $$;
create trigger updates_events after update of state on updates for each row
  when (old.state <> new.state) execute function note_update_event();

-- By time instead of by id: pages of a device's timeline are read from the newest day on, and end there.
drop index decisions_device;
create index decisions_device on decisions (device_id, at desc, id desc) where device_id is not null;

-- Makes and drops days of all tables; of telemetry, of logs and events, and of decisions as many as told are kept. Each
-- table for itself: a new day is waited for by all who use the table, and who uses two of them takes them in any order.
create procedure keep_days(telemetry int, logs int, decisions int) language plpgsql as $$
begin
  perform keep_partitions('telemetry', 7, telemetry);
  commit;
  perform keep_partitions('telemetry_hours', 7, telemetry);
  commit;
  perform keep_partitions('device_logs', 7, logs);
  commit;
  perform keep_partitions('device_events', 7, logs);
  commit;
  perform keep_partitions('decisions', 7, decisions);
end $$;
