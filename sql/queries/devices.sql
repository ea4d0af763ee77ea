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

-- The three lists differ in the index they walk.
-- $1: after this id  $2: how many  $3: chip  $4: tags  $5: status  $6: version  $7: owner

-- name: devices_of_user read
select id, device_code, name, chip, chip_reported, tags, status, firmware_version, elf_sha256, last_seen,
       created_at, user_id
from devices
where user_id = $7::int and id > $1::int
  and ($3::text is null or chip = $3::text) and ($4::jsonb is null or tags @> $4::jsonb)
  and ($5::text is null or status = $5::text) and ($6::text is null or firmware_version = $6::text)
order by id limit $2::int;

-- name: devices_all read
select id, device_code, name, chip, chip_reported, tags, status, firmware_version, elf_sha256, last_seen,
       created_at, user_id
from devices
where id > $1::int
  and ($3::text is null or chip = $3::text)
  and ($4::text is null or status = $4::text) and ($5::text is null or firmware_version = $5::text)
order by id limit $2::int;

-- name: devices_tagged read
select id, device_code, name, chip, chip_reported, tags, status, firmware_version, elf_sha256, last_seen,
       created_at, user_id
from devices
where tags @> $4::jsonb and id > $1::int
  and ($3::text is null or chip = $3::text)
  and ($5::text is null or status = $5::text) and ($6::text is null or firmware_version = $6::text)
order by id limit $2::int;

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
