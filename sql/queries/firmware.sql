-- Firmware images: what is known of them. The bytes are in the store, by their SHA-256.

-- name: firmware_create
insert into firmware (version, file_url, chip, project, size, sha256, elf_sha256, secure_version, idf_version,
                      min_chip_revision, signature_kind, release_signature, release_key, notes, uploaded_by)
values ($1::text, 'file:' || $2::text, $3::text, $4::text, $5::int, $2::text, $6::text, $7::bigint, $8::text,
        $9::int, $10::text, $11::text, $12::text, $13::text, $14::int)
returning id, version, chip, project, size, sha256, elf_sha256, secure_version, idf_version, min_chip_revision,
          signature_kind, release_key, file_url, notes, uploaded_at;

-- name: firmware_by_id read
select id, version, chip, project, size, sha256, elf_sha256, secure_version, idf_version, min_chip_revision,
       signature_kind, release_key, file_url, notes, uploaded_at
from firmware where id = $1::int;

-- name: firmware_by_sha256 read
select id, version, chip, project, size, sha256, elf_sha256, secure_version, idf_version, min_chip_revision,
       signature_kind, release_key, file_url, notes, uploaded_at
from firmware where sha256 = $1::text;

-- name: firmware_by_version read
-- $1: chip  $2: project  $3: version
select sha256 from firmware where chip = $1::text and project = $2::text and version = $3::text;

-- name: firmware_sign
-- Gives an image that was uploaded without a release signature one.
update firmware set release_signature = $2::text, release_key = $3::text
where id = $1::int and release_signature is null
returning release_key;

-- name: firmware_list read
-- $1: before this id  $2: how many  $3: chip, or null
select id, version, chip, project, size, sha256, elf_sha256, secure_version, idf_version, min_chip_revision,
       signature_kind, release_key, file_url, notes, uploaded_at
from firmware where id < $1::int and ($3::text is null or chip = $3::text)
order by id desc limit $2::int;

-- name: firmware_devices read anew
-- How many devices that an account may see run each image, in one pass; devices_found() tells by the same rules who does.
-- $1: account  $2: operator
with kinds as materialized (
  select chip, firmware_version as version, elf_sha256, count(*) as n
  from devices where $2::boolean or user_id = $1::int group by chip, firmware_version, elf_sha256
), run as (
  select f.id, k.n from kinds k join firmware f on f.elf_sha256 = k.elf_sha256 where f.elf_sha256 ~ '[^0]'
  union all
  select f.id, k.n from kinds k join firmware f on f.version = k.version and f.chip = k.chip
  where k.elf_sha256 is null or f.elf_sha256 !~ '[^0]'
)
select id, sum(n)::int as devices from run group by id;

-- name: firmware_lock
-- Updates that are being made of it are waited for, and none can be made until the transaction ends.
select id, sha256 from firmware where id = $1::int for update;

-- name: firmware_needed read
-- By an update or a rollout under way.
select exists (select from updates where firmware_id = $1::int
               and state in ('pending', 'offered', 'downloading', 'installing'))
    or exists (select from rollouts where firmware_id = $1::int
               and state in ('running', 'paused', 'rolling_back')) as needed;

-- name: firmware_delete
delete from firmware where id = $1::int;

-- name: firmware_unknown read
-- Those of a list of images that no firmware has.
select n.sha256 from jsonb_array_elements_text($1::jsonb) as n (sha256)
where not exists (select from firmware f where f.sha256 = n.sha256);
