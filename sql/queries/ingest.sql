-- What devices say, written in batches: core/fleet/ingest.h. Times come as Unix seconds.

-- One row a device. A will (`will` is the session it belongs to) makes the device offline unless the device has a
-- newer session. What arrived before something already written (by another instance) sets nothing but telemetry
-- fields that are new. Clocks that go wrong: nothing arrives later than now, and where what was written lies ahead (the
-- clock has been set back since) it counts as no newer than what comes. Telemetry that has grown beyond reason is
-- begun anew. Answers with the devices where users can see a change, and with those `wanted`: what became of them,
-- null where nothing did, whose they are and their status; and with 'old' those whose will belongs to another session
-- than the device has.
-- name: ingest_devices
with n as (
  select m.id, case when m.at is not null then greatest(least(to_timestamp(m.at), now()), o.ahead) end as at, m.status,
         m.session, m.will,
         case when m.will_at is not null then greatest(least(to_timestamp(m.will_at), now()), o.ahead) end as will_at,
         m.version, m.chip, m.elf_sha256, m.telemetry, m.wanted, o.ahead, o.status as was, o.firmware_version as had,
         o.session as held
  from unnest($1::int[], $2::float8[], $3::text[], $4::text[], $5::text[], $6::float8[], $7::text[], $8::text[],
              $9::text[], $10::jsonb[], $11::bool[])
       as m (id, at, status, session, will, will_at, version, chip, elf_sha256, telemetry, wanted)
    join (select id, status, firmware_version, session,
                 case when last_seen > now() + interval '1 second' then last_seen end as ahead
          from devices) o on o.id = m.id
), written as (
  update devices d set
    status = case
      when n.will is not null and coalesce(n.will_at >= d.last_seen, true) and coalesce(d.session = n.will, true)
        then 'offline'
      when coalesce(n.at >= d.last_seen, true) then coalesce(n.status, d.status)
      else d.status end,
    session = case when coalesce(n.at >= d.last_seen, true) then coalesce(n.session, d.session) else d.session end,
    firmware_version = case when coalesce(n.at >= d.last_seen, true)
      then coalesce(n.version, d.firmware_version) else d.firmware_version end,
    elf_sha256 = case -- a new version without its hash makes the old hash worthless
      when not coalesce(n.at >= d.last_seen, true) then d.elf_sha256
      when n.elf_sha256 is null and n.version <> d.firmware_version then null
      else coalesce(n.elf_sha256, d.elf_sha256) end,
    chip = coalesce(d.chip, n.chip), -- as registered, else as first told
    chip_reported = case when coalesce(n.at >= d.last_seen, true)
      then coalesce(n.chip, d.chip_reported) else d.chip_reported end,
    telemetry = case
      when n.telemetry is null then d.telemetry
      when d.last_seen > n.at then n.telemetry || d.telemetry
      when pg_column_size(d.telemetry) > 8192 then n.telemetry
      else d.telemetry || n.telemetry end,
    last_seen = case when n.ahead is not null then now() else greatest(d.last_seen, n.at,
      case when n.will is not null and coalesce(d.session = n.will, true) then n.will_at end) end
  from n
  where d.id = n.id and (n.at is not null or coalesce(d.session = n.will, true))
  returning d.id, d.status, n.was, d.firmware_version, n.had, n.wanted, d.user_id
)
select id, case when status <> was then status end,
       case when firmware_version is distinct from had then firmware_version end, null, user_id, status
from written
where wanted or status <> was or firmware_version is distinct from had
union all
select id, null, null, 'old', null, null from n where will <> held;

-- name: ingest_telemetry
insert into telemetry (device_id, at, fields)
select n.id, least(to_timestamp(n.at), now()), n.fields
from unnest($1::int[], $2::float8[], $3::jsonb[]) as n (id, at, fields) join devices d on d.id = n.id;

-- Answers with the devices that exist, in order.
-- name: ingest_logs
with written as (
  insert into device_logs (device_id, at, level, message)
  select n.id, least(to_timestamp(n.at), now()), n.level, n.message
  from unnest($1::int[], $2::float8[], $3::text[], $4::text[]) with ordinality as n (id, at, level, message, place)
    join devices d on d.id = n.id
  order by n.place
  returning device_id
)
select distinct device_id from written order by device_id;

-- Devices silent for $1 seconds are offline; a bounded number at once. Several instances share the work. Those last
-- seen in the future (the clock has been set back) are taken to have been seen now.
-- name: ingest_sweep
with due as (
  select id, last_seen > now() as ahead from devices
  where status = 'online' and (last_seen < now() - make_interval(secs => $1::float8)
                               or last_seen > now() + interval '1 second')
  limit 5000 for update skip locked
), brought_back as (
  update devices d set last_seen = now() from due where d.id = due.id and due.ahead
)
update devices d set status = 'offline' from due where d.id = due.id and not due.ahead returning d.id, d.user_id;

-- name: ingest_partitions
-- Days to keep: $1 of telemetry  $2 of logs and events  $3 of decisions
call keep_days($1::int, $2::int, $3::int);

-- name: ingest_count read
select status, count(*) from devices group by status;
