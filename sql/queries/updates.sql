-- Updates: the state machine's transitions. Under way: pending offered downloading installing. Whatever ends an
-- update clears its offer in the same statement. Locks are taken in one order, so that nobody waits for each other:
-- devices by id, then updates by id, then offers by device; whoever has offers first (offers.sql) does not wait for
-- updates.

-- name: update_device read
-- What decides whether a device may be updated. $2: owner  $3: operator
-- secure_version: the least that the image it runs can have, as far as images are known here.
select d.id, d.chip, d.chip_reported, d.elf_sha256, d.firmware_version, d.status, d.last_seen,
       (select min(f.secure_version) from firmware f
        where f.chip = d.chip and case when d.elf_sha256 is not null then f.elf_sha256 = d.elf_sha256
                                       else f.version = d.firmware_version end) as secure_version
from devices d where d.id = $1::int and (d.user_id = $2::int or $3::boolean);

-- name: device_named read
-- As update_device, by id or device_code, for the command line.
select d.id, d.chip, d.chip_reported, d.elf_sha256, d.firmware_version, d.status, d.last_seen
from devices d
where d.id = case when $1::text ~ '^[1-9]\d{0,8}$' then $1::int end or d.device_code = $1::text
order by d.device_code = $1::text limit 1;

-- name: update_firmware read
-- Candidates: the one with the id $1, or those with the version $2, the likelier first. `running`: of the project that
-- device $3 runs now.
select f.id, f.version, f.chip, f.project, f.size, f.sha256, f.elf_sha256, f.secure_version,
       f.release_signature, f.release_key,
       exists (select from firmware r where r.elf_sha256 = d.elf_sha256 and r.project = f.project) as running
from firmware f left join devices d on d.id = $3::int
where f.id = $1::int or f.version = $2::text
order by (f.chip = d.chip) desc nulls last, running desc, f.id desc limit 50;

-- name: update_ids
-- Ids for $1 updates to be made: an offer names its update and is signed before both are written.
select nextval('updates_id_seq')::int as id from generate_series(1, $1::int);

-- name: updates_create
-- Makes updates with their offers. A device that has one under way, or for whose chip the image is not, is left out.
-- While nobody has told the chip, the offer is held until the device was heard of.
-- $1: [{id, device_id, firmware_id, rollout_id, version, from_version, payload, expires_at (Unix seconds)}]
with wanted as (
  select * from jsonb_to_recordset($1::jsonb) as w (id int, device_id int, firmware_id int, rollout_id int,
    version text, from_version text, payload text, expires_at bigint)
), fit as ( -- locked: what is learnt of a chip meanwhile comes before, or sees the update
  select w.*, d.chip is null and d.last_seen is null as held
  from wanted w join devices d on d.id = w.device_id left join firmware f on f.id = w.firmware_id
  where chip_fits(f.chip, d.chip, d.chip_reported)
  order by d.id for share of d
), made as (
  insert into updates (id, device_id, firmware_id, rollout_id, version, from_version)
  select id, device_id, firmware_id, rollout_id, version, from_version from fit order by device_id
  on conflict (device_id) where state in ('pending', 'offered', 'downloading', 'installing') do nothing
  returning *
), offered as (
  insert into offers (device_id, update_id, payload, expires_at, held)
  select w.device_id, w.id, w.payload, to_timestamp(w.expires_at), w.held from fit w join made using (id)
  order by w.device_id
  on conflict (device_id) do update
    set update_id = excluded.update_id, payload = excluded.payload, expires_at = excluded.expires_at,
        changed_at = now(), published_at = null, held = excluded.held
)
select id, device_id, firmware_id, rollout_id, version, from_version, state, progress, reason, created_at, updated_at
from made order by id;

-- name: update_create_done
-- For a device that runs the image already. No row: one is under way.
-- $1: device  $2: firmware  $3: version  $4: the device's version
insert into updates (device_id, firmware_id, version, from_version, state, progress, reason)
select $1::int, $2::int, $3::text, $4::text, 'succeeded', 100, 'the device runs this image already'
where not exists (select from updates where device_id = $1::int
                  and state in ('pending', 'offered', 'downloading', 'installing'))
returning id, device_id, firmware_id, rollout_id, version, from_version, state, progress, reason, created_at,
          updated_at;

-- name: update_cancel
-- $1: device  $2: reason
with ended as (
  update updates set state = 'cancelled', reason = $2::text, updated_at = now()
  where device_id = $1::int and state in ('pending', 'offered', 'downloading', 'installing')
  returning *
), cleared as (
  update offers o
  set update_id = null, payload = '', expires_at = null, changed_at = now(), published_at = null
  from ended where o.device_id = ended.device_id and o.update_id = ended.id
)
select id, device_id, firmware_id, rollout_id, version, from_version, state, progress, reason, created_at, updated_at
from ended;

-- name: update_under_way read
select id, device_id, firmware_id, rollout_id, version, from_version, state, progress, reason, created_at, updated_at
from updates where device_id = $1::int and state in ('pending', 'offered', 'downloading', 'installing');

-- name: updates_of_device read
-- $1: device  $2: before this id  $3: how many
select id, device_id, firmware_id, rollout_id, version, from_version, state, progress, reason, created_at, updated_at
from updates where device_id = $1::int and id < $2::int
order by id desc limit $3::int;

-- name: updates_told read
-- What the live feed tells of updates $1 (core/fleet/update_news.h): device, owner, rollout, and the update as JSON.
select u.device_id, d.user_id, u.rollout_id, json_build_object(
    'id', u.id, 'device_id', u.device_id, 'firmware_id', u.firmware_id, 'rollout_id', u.rollout_id, 'version', u.version,
    'from_version', u.from_version, 'state', u.state, 'progress', u.progress, 'reason', u.reason,
    'created_at', replace(to_jsonb(u.created_at)#>>'{}', '+00:00', 'Z'),
    'updated_at', replace(to_jsonb(u.updated_at)#>>'{}', '+00:00', 'Z'))::text
from updates u join devices d on d.id = u.device_id where u.id = any ($1::int[]) order by u.id;

-- name: update_offer read
-- How the offer of a device stands.
select expires_at, held from offers where device_id = $1::int and payload <> '';

-- name: update_image read
-- What the download link of update $1 leads to, while the update is under way.
select f.sha256, f.uploaded_at from updates u join firmware f on f.id = u.firmware_id
where u.id = $1::int and u.state in ('pending', 'offered', 'downloading', 'installing');

-- name: updates_report
-- What devices say of their updates, after their rows were written. Returns the updates that changed.
-- $1: [{device_id, update_id, state, progress, error}], the newest of a device last
-- A device that confirms what it was not offered, or has not told its version yet, has not succeeded; nor is that
-- a sign of life, so that it times out.
with told as (
  select distinct on (t.device_id) t.*, d.firmware_version as runs, d.elf_sha256 as elf
  from rows from (jsonb_to_recordset($1::jsonb) as (device_id int, update_id int, state text, progress int, error text))
       with ordinality as t (device_id, update_id, state, progress, error, nth)
  join devices d on d.id = t.device_id
  order by t.device_id, t.nth desc
), found as (
  select u.id, u.device_id, u.state as was, t.state as told, t.progress, nullif(left(t.error, 255), '') as error,
         t.runs, coalesce(t.runs = u.version and coalesce(t.elf = f.elf_sha256, true), false) as fits
  from told t join updates u on u.id = t.update_id and u.device_id = t.device_id
              left join firmware f on f.id = u.firmware_id
  where u.state in ('pending', 'offered', 'downloading', 'installing')
  order by u.id for update of u
), judged as (
  select id, told = 'confirmed' and not fits as unfit,
         case when told = 'accepted' then 'offered'
              when told in ('verifying', 'rebooting') then 'installing'
              when told = 'confirmed' then case when fits then 'succeeded' else 'installing' end
              when told in ('downloading', 'failed', 'rolled_back', 'rejected') then told
              else was end as state,
         case when told = 'downloading' then progress
              when told = 'accepted' then 0
              when told in ('verifying', 'rebooting', 'confirmed') then 100 end as progress,
         case when told in ('failed', 'rolled_back', 'rejected') then error
              when told = 'confirmed' and not fits
                then 'the device confirmed, but ' || coalesce('runs another image: ' || runs, 'told no version') end
           as reason
  from found
), moved as (
  update updates u
  set state = j.state, reason = j.reason,
      progress = least(greatest(coalesce(j.progress, u.progress), 0), 100),
      taken_at = coalesce(u.taken_at, now()),
      updated_at = case when j.unfit and u.state = j.state then u.updated_at else now() end
  from judged j
  where u.id = j.id and u.state in ('pending', 'offered', 'downloading', 'installing')
  returning u.id, u.device_id, u.firmware_id, u.rollout_id, u.version, u.from_version, u.state, u.progress, u.reason,
            u.created_at, u.updated_at,
            u.state not in ('pending', 'offered', 'downloading', 'installing') as ended
), over as ( -- offers not to stand any longer: of updates that ended now, or long ago without the device knowing
  select device_id, id as update_id from moved where ended
  union all
  select device_id, update_id from told where device_id not in (select device_id from found)
), cleared as (
  insert into offers (device_id, update_id, payload) select device_id, update_id, '' from over order by device_id
  on conflict (device_id) do update
    set update_id = null, payload = '', expires_at = null, changed_at = now(), published_at = null
    where offers.update_id = excluded.update_id and offers.payload <> ''
)
select * from moved order by id;

-- name: updates_time_out
-- $1: seconds of silence once the device took its offer, of those in which it could be heard (table rollout_driver)
-- $2: seconds an offer may wait  $3: how many at once
with due as (
  select id from updates cross join (select heard_at, heard_since from rollout_driver) as ears
  where state in ('pending', 'offered', 'downloading', 'installing')
    and (taken_at is not null and greatest(updated_at, heard_since) < heard_at - $1::float8 * interval '1 second'
         or taken_at is null and created_at < now() - $2::float8 * interval '1 second')
    and not exists (select from rollouts r where r.id = updates.rollout_id
                    and r.state in ('running', 'paused', 'rolling_back')) -- its driver does, by its policy
  limit $3::int for update of updates skip locked
), ended as (
  update updates u
  set state = 'timed_out', updated_at = now(),
      reason = coalesce(u.reason, case when u.taken_at is null then 'the device never took the offer'
                                       else 'the device fell silent while ' || u.state end)
  from due where u.id = due.id
  returning u.id, u.device_id
), held as (
  select o.device_id from offers o join ended on o.device_id = ended.device_id and o.update_id = ended.id
  order by o.device_id for update of o
), cleared as (
  update offers o
  set update_id = null, payload = '', expires_at = null, changed_at = now(), published_at = null
  from held where o.device_id = held.device_id
)
select id, device_id from ended;

-- name: updates_expiring read
-- Offers of updates under way that end within $1 seconds. $2: how many at once
select u.id, u.device_id, extract(epoch from o.expires_at)::bigint as expires_at,
       f.version, f.chip, f.size, f.sha256, f.elf_sha256, f.release_signature, f.release_key
from offers o
join updates u on u.id = o.update_id and u.state in ('pending', 'offered', 'downloading', 'installing')
join firmware f on f.id = u.firmware_id
where o.payload <> '' and o.expires_at < now() + $1::float8 * interval '1 second'
order by o.expires_at limit $2::int;

-- name: updates_renew
-- Replaces offers that still stand as they were read: what was cancelled or renewed meanwhile is left alone.
-- $1: [{id, device_id, was (its expires_at), payload, expires_at}]
with renewed as (
  select * from jsonb_to_recordset($1::jsonb)
    as r (id int, device_id int, was bigint, payload text, expires_at bigint)
), held as (
  select r.* from renewed r join offers o on o.device_id = r.device_id and o.update_id = r.id
  where o.payload <> '' and o.expires_at = to_timestamp(r.was)
  order by o.device_id for update of o skip locked
)
update offers o
set payload = held.payload, expires_at = to_timestamp(held.expires_at), changed_at = now(), published_at = null
from held
where o.device_id = held.device_id and o.update_id = held.id and o.payload <> '' and
      o.expires_at = to_timestamp(held.was);
