-- Whom a rollout offers its firmware (rollout_driver.sql).

-- name: rollout_candidates read
-- Devices of rollout $1 to be asked about now, in the order in which they became due. $2: how many, 1000 at most
-- $3: how many of a group at once, or null  $4: how many may be offline; of a group those are half of it at most, for
-- each may keep its place for days  $5, $6: ask_at and bucket of the last that was asked in this tick ('-infinity', -1: none),
-- which is being written
-- The limit inside is a number, and not what is free, for the planner to see that few are wanted; 'infinity' is named
-- for it to see that the index has all that can be due.
with room as (
  select grp, least($2::int, $3::int - busy)::int as free, $3::int / 2 - dozing as beds
  from (select grp, coalesce(sum(n) filter (where under_way), 0) as busy,
               coalesce(sum(n) filter (where under_way and asleep), 0) as dozing
        from (select *, state in ('pending', 'offered', 'downloading', 'installing') as under_way
              from rollout_counts where rollout_id = $1::int) c
        group by grp) g
), due as (
  select m.* from room cross join lateral
    (select place.*, room.beds, row_number() over (order by ask_at, bucket) as nth from
      (select * from rollout_devices
       where rollout_id = $1::int and grp = room.grp and ask_at <= now() and ask_at < 'infinity'
         and (ask_at, bucket) > ($5::timestamptz, $6::bigint)
       order by ask_at, bucket limit 1000) place) m
  where m.nth <= room.free
  order by m.ask_at, m.bucket limit $2::int
), kinds as materialized ( -- what has happened since rollout_fold_devices looked
  select k.*, rollout_exclusion(case when begun then r.plan - 'from' else r.plan end, f, k.chip, k.chip_reported,
                                k.firmware_version, k.elf_sha256) as unfit
  from (select distinct due.update_id is not null as begun, chip, chip_reported, firmware_version, elf_sha256
        from due join devices d on d.id = due.device_id) k,
       rollouts r join firmware f on f.id = r.firmware_id
  where r.id = $1::int and r.state = 'running'
), before as materialized ( -- rollouts that come first: mostly none
  select o.id, o.priority from rollouts r join rollouts o on (o.priority, -o.id) > (r.priority, -r.id)
  where r.id = $1::int and o.state = 'running'
)
select d.id, m.ask_at, m.bucket, d.elf_sha256, d.firmware_version, m.state, m.attempts, m.update_id, m.verdict, m.reason,
       m.asked, d.status = 'online' as online,
       d.status = 'offline' and
         (row_number() over (partition by d.status = 'offline' order by m.ask_at, m.bucket) > $4::int
          or row_number() over (partition by d.status = 'offline', m.grp order by m.ask_at, m.bucket) > m.beds)
         as no_room,
       coalesce(k.unfit, case when coalesce(d.tags->>(r.plan->'spread'->>'tag'), '') <> m.grp then 'is of another group' end)
         as unfit,
       (select u.id from updates u where u.device_id = d.id
        and u.state in ('pending', 'offered', 'downloading', 'installing')) as other_update,
       case when exists (select from before) then
         (select o.id from rollout_devices om join before o on o.id = om.rollout_id
          where om.device_id = d.id and om.in_stage
            and (om.state in ('waiting', 'held') or om.state in ('failed', 'timed_out') and om.ask_at < 'infinity')
          order by o.priority desc, o.id limit 1) end as other_rollout,
       step.via, step.image as step,
       json_build_object('id', d.id, 'device_code', d.device_code, 'name', d.name, 'chip', d.chip,
         'firmware_version', d.firmware_version, 'tags', d.tags, 'online', d.status = 'online',
         'silent_for', round(extract(epoch from now() - d.last_seen)), 'telemetry', d.telemetry,
         'attempts', m.attempts)::text as device
from due m join devices d on d.id = m.device_id join rollouts r on r.id = m.rollout_id
left join kinds k on k.begun = (m.update_id is not null) and coalesce(k.chip, '') = coalesce(d.chip, '')
  and coalesce(k.chip_reported, '') = coalesce(d.chip_reported, '')
  and coalesce(k.firmware_version, '') = coalesce(d.firmware_version, '')
  and coalesce(k.elf_sha256, '') = coalesce(d.elf_sha256, '')
left join lateral ( -- the version it has to pass through next
  select s.via,
         (select jsonb_build_object('id', f.id, 'version', f.version, 'chip', f.chip, 'size', f.size, 'sha256', f.sha256,
                                    'elf_sha256', f.elf_sha256, 'release_signature', f.release_signature,
                                    'release_key', f.release_key)
          from firmware f
          where f.chip = r.firmware->>'chip' and f.version = s.via and f.project = r.firmware->>'project'
            and f.release_signature is not null
          order by f.id desc limit 1) as image
  from jsonb_array_elements_text(r.plan->'steps') with ordinality as s (via, nth)
  where version_rank(s.via) < version_rank(r.firmware->>'version')
    and coalesce(version_rank(d.firmware_version) < version_rank(s.via), true)
  order by s.nth limit 1) step on true
order by m.ask_at, m.bucket;

-- name: rollout_apply
-- Writes what was decided on devices of rollout $2, all or nothing. $3: state in which the rollout must still be
-- $4: credit left  $5: policy  $6: revision
-- $7: [{device_id, verdict, reason, line, file, asleep (held because it is offline), again (seconds; holds), retry_after
--      (offers), device (its JSON, as text), at (Unix seconds), update?: {id, action, firmware_id, version, from_version,
--      from_elf_sha256, payload, expires_at}}], sorted by device
-- $8: whether somebody wants to see the decisions that are kept, and the ids of the updates made
with mine as (
  select from rollout_driver where fence = $1::bigint for share
), rollout as (
  update rollouts set credit = $4::float8, credited_at = now(), revision = $6::text, updated_at = now()
  where id = $2::int and state = $3::text and exists (select from mine)
  returning id, stage
), decided as (
  select t.*, u.id as update_id, u.action, u.firmware_id, u.version, u.from_version, u.from_elf_sha256, u.payload,
         u.expires_at
  from rollout cross join jsonb_to_recordset($7::jsonb) as t (device_id int, verdict text, reason text, line int, file text, asleep boolean,
         again float8, retry_after float8, device text, at bigint, update jsonb)
  left join lateral jsonb_to_record(t.update) as u (id int, action text, firmware_id int, version text,
         from_version text, from_elf_sha256 text, payload text, expires_at bigint) on t.update is not null
), fit as ( -- locked: what is learnt of a chip meanwhile comes before, or sees the update
  select w.* from decided w join devices d on d.id = w.device_id join firmware f on f.id = w.firmware_id
  where chip_fits(f.chip, d.chip, d.chip_reported)
  order by d.id for share of d
), made as (
  insert into updates (id, device_id, firmware_id, rollout_id, action, version, from_version, from_elf_sha256)
  select update_id, device_id, firmware_id, $2::int, action, version, from_version, from_elf_sha256
  from fit order by device_id
  on conflict (device_id) where state in ('pending', 'offered', 'downloading', 'installing') do nothing
  returning id, device_id
), offered as (
  insert into offers (device_id, update_id, payload, expires_at)
  select w.device_id, w.update_id, w.payload, to_timestamp(w.expires_at)
  from decided w join made on made.id = w.update_id order by w.device_id
  on conflict (device_id) do update
    set update_id = excluded.update_id, payload = excluded.payload, expires_at = excluded.expires_at,
        changed_at = now(), published_at = null, held = false
), final as (
  select d.device_id, d.line, d.file, d.asleep, d.device, d.at, coalesce(d.again, 60) as again, d.retry_after,
         made.id as update_id, n.verdict, n.reason, m.state as was,
         (m.verdict, m.reason, m.revision) is not distinct from (n.verdict, n.reason, $6::text) as alike
  from decided d left join made on made.id = d.update_id
  join rollout_devices m on m.rollout_id = $2::int and m.device_id = d.device_id
  cross join lateral
    (select case when d.update_id is not null and made.id is null then 'hold' else d.verdict end as verdict,
            case when d.update_id is not null and made.id is null
                 then 'another update of the device is under way, or its chip changed' else d.reason end as reason) n
), written as (
  update rollout_devices m
  set state = case when f.verdict = 'offer' then 'pending' when bad.it then m.state
                   when f.verdict = 'skip' then 'skipped' else 'held' end,
      update_id = coalesce(f.update_id, m.update_id),
      asleep = case when bad.it and f.verdict <> 'offer' then f.verdict = 'hold' else coalesce(f.asleep, false) end,
      attempts = m.attempts + case when f.update_id is null then 0 else 1 end,
      retry_after = f.retry_after,
      ask_at = case when f.verdict = 'hold' then now() + f.again * interval '1 second'
                    else 'infinity'::timestamptz end,
      verdict = f.verdict, reason = f.reason, line = f.line, file = f.file, revision = $6::text,
      asked = case when f.alike then m.asked + 1 else 1 end,
      since = case when f.alike then m.since else now() end
  from final f cross join lateral (select f.was in ('failed', 'timed_out') as it) bad -- tried again or not, it has failed
  where m.rollout_id = $2::int and m.device_id = f.device_id
), kept as (
  insert into decisions (rollout_id, device_id, verdict, reason, policy, revision, line, file, inputs)
  select $2::int, f.device_id, f.verdict, f.reason, $5::text, $6::text, f.line, f.file,
         case when f.device is not null
              then jsonb_build_object('device', f.device::jsonb, 'now', f.at, 'stage', rollout.stage) end
  from final f cross join rollout where not f.alike or f.verdict = 'offer'
  returning id, at, rollout_id, device_id, verdict, reason, policy, revision, line, file
)
select (select count(*) from rollout)::int as driven, (select count(*) from made)::int as offered,
       case when $8::boolean then (select jsonb_agg(to_jsonb(kept) || jsonb_build_object(
         'at', replace(to_jsonb(kept.at)#>>'{}', '+00:00', 'Z'))) from kept) end as decisions,
       case when $8::boolean then (select jsonb_agg(id) from made) else '[]' end as updates;

-- name: rollout_previous read
-- Where devices $2 of rollout $1 are to go back to: the image that each ran before, where it is known.
select m.device_id, d.firmware_version, d.elf_sha256, u.from_version, u.from_elf_sha256,
       (select jsonb_build_object('id', f.id, 'version', f.version, 'chip', f.chip, 'size', f.size, 'sha256', f.sha256,
                                  'elf_sha256', f.elf_sha256, 'release_signature', f.release_signature,
                                  'release_key', f.release_key)
        from firmware f where f.chip = d.chip
          and case when u.from_elf_sha256 is null then f.version = u.from_version and f.project = r.firmware->>'project'
                   else f.elf_sha256 = u.from_elf_sha256 end
        order by f.id desc limit 1) as image
from rollout_devices m join rollouts r on r.id = m.rollout_id join devices d on d.id = m.device_id
join lateral (select from_version, from_elf_sha256 from updates u
              where u.device_id = m.device_id and u.rollout_id = m.rollout_id and u.action = 'install'
              order by u.id limit 1) u on true
where m.rollout_id = $1::int and m.device_id = any (array(select jsonb_array_elements_text($2::jsonb)::int));
