-- What devices say, written in batches: core/fleet/ingest.h. Times come as Unix seconds.

-- One row a device. A will (`will` is the session it belongs to) makes the device offline unless the device has a
-- newer session. What arrived before something already written (by another instance) sets nothing but telemetry
-- fields that are new. Telemetry that has grown beyond reason is begun anew. Answers with the devices where users
-- can see a change, and with those `wanted`: what became of them, null where nothing did.
-- name: ingest_devices
with n as (
  select id, to_timestamp(at) as at, status, session, will, to_timestamp(will_at) as will_at, version, chip,
         elf_sha256, telemetry, wanted
  from unnest($1::int[], $2::float8[], $3::text[], $4::text[], $5::text[], $6::float8[], $7::text[], $8::text[],
              $9::text[], $10::jsonb[], $11::bool[])
       as n (id, at, status, session, will, will_at, version, chip, elf_sha256, telemetry, wanted)
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
    last_seen = greatest(d.last_seen, n.at,
      case when n.will is not null and coalesce(d.session = n.will, true) then n.will_at end)
  from n join devices o on o.id = n.id
  where d.id = n.id and (n.at is not null or coalesce(d.session = n.will, true))
  returning d.id, d.status, o.status as was, d.firmware_version, o.firmware_version as had, n.wanted
)
select id, case when status <> was then status end,
       case when firmware_version is distinct from had then firmware_version end
from written
where wanted or status <> was or firmware_version is distinct from had;

-- name: ingest_telemetry
insert into telemetry (device_id, at, fields)
select n.id, to_timestamp(n.at), n.fields
from unnest($1::int[], $2::float8[], $3::jsonb[]) as n (id, at, fields) join devices d on d.id = n.id;

-- Answers with the devices that exist, in order.
-- name: ingest_logs
with written as (
  insert into device_logs (device_id, at, level, message)
  select n.id, to_timestamp(n.at), n.level, n.message
  from unnest($1::int[], $2::float8[], $3::text[], $4::text[]) with ordinality as n (id, at, level, message, place)
    join devices d on d.id = n.id
  order by n.place
  returning device_id
)
select distinct device_id from written order by device_id;

-- Devices silent for $1 seconds are offline; a bounded number at once. Several instances share the work.
-- name: ingest_sweep
update devices set status = 'offline'
where id in (select id from devices
             where status = 'online' and last_seen < now() - make_interval(secs => $1::float8)
             limit 5000 for update skip locked)
returning id;

-- name: ingest_partitions
select keep_partitions('telemetry', 7, $1::int), keep_partitions('device_logs', 7, $2::int);

-- name: ingest_count read
select status, count(*) from devices group by status;
