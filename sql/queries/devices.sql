-- Devices and their credentials. Who may see a device: $2 its owner's id, $3 true for operators.

-- name: device_create
-- $1: owner  $2: device_code  $3: name  $4: chip  $5: tags  $6: SHA-256 of the password, hex
with made as (
  insert into devices (user_id, device_code, name, chip, tags)
  values ($1::int, $2::text, $3::text, $4::text, coalesce($5::jsonb, '{}'))
  returning *
), credentials as (
  insert into device_credentials (device_id, password_sha256)
  select id, decode($6::text, 'hex') from made
)
select id, device_code, name, chip, chip_reported, tags, status, firmware_version, elf_sha256, last_seen,
       created_at, user_id
from made;

-- name: device_by_id read
select id, device_code, name, chip, chip_reported, tags, status, firmware_version, elf_sha256, last_seen,
       created_at, user_id
from devices where id = $1::int and (user_id = $2::int or $3::boolean);

-- name: device_visible read
select id from devices where id = $1::int and (user_id = $2::int or $3::boolean);

-- name: device_status read
select status, last_seen, firmware_version, telemetry
from devices where id = $1::int and (user_id = $2::int or $3::boolean);

-- The three lists differ in the index they walk: that of the third depends on what is asked for.
-- $1: after this id  $2: how many  $3: owner, or filter (devices_found() of the migrations)

-- name: devices_all read
select id, device_code, name, chip, chip_reported, tags, status, firmware_version, elf_sha256, last_seen,
       created_at, user_id,
       (select json_build_object('id', u.id, 'state', u.state, 'progress', u.progress, 'version', u.version)
        from updates u where u.device_id = d.id
          and u.state in ('pending', 'offered', 'downloading', 'installing')) as update
from devices d where id > $1::int order by id limit $2::int;

-- name: devices_of_user read
select id, device_code, name, chip, chip_reported, tags, status, firmware_version, elf_sha256, last_seen,
       created_at, user_id,
       (select json_build_object('id', u.id, 'state', u.state, 'progress', u.progress, 'version', u.version)
        from updates u where u.device_id = d.id
          and u.state in ('pending', 'offered', 'downloading', 'installing')) as update
from devices d where user_id = $3::int and id > $1::int order by id limit $2::int;

-- name: devices_filtered read anew
-- $4: account  $5: operator
select id, device_code, name, chip, chip_reported, tags, status, firmware_version, elf_sha256, last_seen,
       created_at, user_id,
       (select json_build_object('id', u.id, 'state', u.state, 'progress', u.progress, 'version', u.version)
        from updates u where u.device_id = d.id
          and u.state in ('pending', 'offered', 'downloading', 'installing')) as update
from devices_found($3::jsonb, $4::int, $5::boolean) d where id > $1::int order by id limit $2::int;

-- name: devices_counted read anew
-- $1: filter  $2: account  $3: operator
select count(*)::int as count, coalesce(max(id), 0) as newest from devices_found($1::jsonb, $2::int, $3::boolean);

-- name: devices_facets read anew
-- What there is to filter by, the most frequent first. $1: account  $2: operator  $3: how many of each
-- Tags are counted device by device: sets of tags are as many as devices where one tells a serial number, and grouping by
-- those took longer than all the rest.
with kinds as materialized (
  select chip, firmware_version as version, count(*)::int as n
  from devices where $2::boolean or user_id = $1::int group by chip, firmware_version
)
(select 'chips' as facet, chip as value, sum(n)::int as count from kinds
 where chip is not null group by chip order by count desc, value limit $3::int)
union all
(select 'versions', version, sum(n)::int as count from kinds
 where version is not null group by version order by count desc, version limit $3::int)
union all
(select 'tags', t.key || ':' || t.value as tag, count(*)::int as count from devices, jsonb_each_text(tags) t
 where $2::boolean or user_id = $1::int
 group by tag order by count desc, tag limit $3::int);

-- name: device_patch
-- $4: whether the name changes  $5: name  $6: tags, or null to leave them  $7: whether the chip changes  $8: chip, or
-- null for what the device reports
update devices
set name = case when $4::boolean then $5::text else name end, tags = coalesce($6::jsonb, tags),
    chip = case when $7::boolean then coalesce($8::text, chip_reported) else chip end
where id = $1::int and (user_id = $2::int or $3::boolean)
returning id, device_code, name, chip, chip_reported, tags, status, firmware_version, elf_sha256, last_seen,
          created_at, user_id;

-- name: device_rotate
-- $4: SHA-256 of the new password, hex
update device_credentials c
set password_sha256 = decode($4::text, 'hex'), rotated_at = now()
from devices d
where d.id = $1::int and (d.user_id = $2::int or $3::boolean) and c.device_id = d.id
returning c.device_id as id;

-- name: device_delete
-- The device, its update, its offer: locked in the order of updates.sql, before the deletion cascades.
with owned as (
  select id from devices where id = $1::int and (user_id = $2::int or $3::boolean) for update
), held as (
  select u.id from updates u join owned on u.device_id = owned.id
  where u.state in ('pending', 'offered', 'downloading', 'installing') for update of u
), gone as (
  delete from devices d using owned where d.id = owned.id and (select count(*) from held) >= 0 returning d.id
), cleared as (
  update offers o
  set update_id = null, payload = '', expires_at = null, changed_at = now(), published_at = null
  from gone where o.device_id = gone.id and o.payload <> ''
)
select id from gone;
