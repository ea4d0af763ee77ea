-- What the driver of rollouts does (scripts/tasks/rollouts.lua). $1 is its fence everywhere: once another instance
-- drives, `mine` is empty and the statement does nothing. A tick costs what changed, not what there is.

-- name: rollout_drive
-- Takes or keeps the lease. $1: this instance  $2: seconds  No row: another instance drives.
update rollout_driver
set owner = $1::text, until = now() + $2::float8 * interval '1 second',
    fence = fence + case when owner is distinct from $1::text then 1 else 0 end
where owner = $1::text or until < now()
returning fence;

-- name: rollout_leave
-- $1: fence. So that another instance need not wait for the end of the lease.
update rollout_driver set owner = null, until = '-infinity' where fence = $1::bigint;

-- name: rollouts_driven read
-- No fence: it is a look.
select r.id, r.name, r.state, r.policy, r.revision, p.revision as active, r.plan, r.firmware_id, r.firmware, r.params, r.stage, r.turned,
       coalesce(r.resumed_at > r.stage_entered_at, false) as resumed,
       extract(epoch from now() - r.stage_entered_at)::float8 as stage_age,
       extract(epoch from now() - r.created_at)::float8 as age,
       r.starts_at <= now() as started, r.credit, extract(epoch from now() - r.credited_at)::float8 as uncredited,
       r.verdict, r.verdict_line, r.reason, r.control,
       extract(epoch from now() - r.control_at)::float8 as control_age,
       (select jsonb_agg(jsonb_build_array(c.grp, c.state, c.in_stage, c.asleep, c.retry, c.n))
        from rollout_counts c where c.rollout_id = r.id and c.n > 0) as counts
from rollouts r join policies p on p.name = r.policy
where r.state in ('running', 'paused', 'rolling_back')
order by r.priority desc, r.id;

-- name: rollout_replan
-- Rollout $2 goes on by revision $3 of its policy, which declares $4; whom the one before held is asked anew.
with mine as (
  select from rollout_driver where fence = $1::bigint for share
), was as (
  select id, plan->'spread'->>'tag' as tag from rollouts where id = $2::int and exists (select from mine) for no key update
), rollout as (
  update rollouts r
  set revision = $3::text, plan = $4::jsonb, stage = least(r.stage, jsonb_array_length($4::jsonb->'stages') - 1)
  from was where r.id = was.id
  returning r.id
)
update rollout_devices m
set grp = coalesce(d.tags->>($4::jsonb->'spread'->>'tag'), ''),
    ask_at = case when m.state = 'held' and m.ask_at < 'infinity' then now() else m.ask_at end
from was, devices d
where m.rollout_id = was.id and d.id = m.device_id
  and (m.state = 'held' and m.ask_at < 'infinity' or was.tag is distinct from ($4::jsonb->'spread'->>'tag'));

-- name: rollout_fold_reports
-- Takes in what happened to updates. Returns how much there was: as much as asked for means there is more.
-- $2: how many at once
with mine as (
  select from rollout_driver where fence = $1::bigint for share
), took as (
  delete from rollout_reports
  where id = any (array(select id from rollout_reports order by id limit $2::int)) and exists (select from mine)
  returning update_id
), moved as (
  select distinct u.id, u.rollout_id, u.device_id, u.state, u.action, u.reason, u.taken_at, u.updated_at,
         r.state as rollout_state, u.firmware_id is distinct from r.firmware_id as is_step
  from took join updates u on u.id = took.update_id join rollouts r on r.id = u.rollout_id
), judged as (
  select m.*,
         case when m.state = 'succeeded' and m.action = 'rollback' then 'rolled_back'
              when m.state = 'succeeded' and m.is_step then 'waiting'
              else m.state end as becomes,
         m.state in ('failed', 'timed_out') and m.taken_at is not null
           and (m.rollout_state = 'rolling_back') = (m.action = 'rollback')
           and d.retry_after is not null as retry
  from moved m join rollout_devices d on d.rollout_id = m.rollout_id and d.device_id = m.device_id
  where d.update_id = m.id
), written as (
  update rollout_devices d
  set state = j.becomes,
      reason = case when j.state in ('pending', 'offered', 'downloading', 'installing') then d.reason
                    when j.becomes = 'rolled_back' and j.action = 'rollback' then 'rolled back by this rollout'
                    else j.reason end,
      asleep = case when j.state in ('pending', 'offered') then d.asleep
                    else j.state = 'timed_out' and j.taken_at is null end,
      attempts = case when j.becomes = 'waiting' then 0 else d.attempts end,
      ask_at = case when j.becomes = 'waiting' then now()
                    when j.retry then now() + d.retry_after * interval '1 second' else 'infinity' end,
      since = now()
  from judged j
  where d.rollout_id = j.rollout_id and d.device_id = j.device_id
)
select count(*)::int as n from took;

-- name: rollout_fold_devices
-- Takes in devices that came, came online, or changed so that a target may name them now, or no longer.
-- $2: how many at once
with mine as (
  select from rollout_driver where fence = $1::bigint for share
), took as (
  delete from devices_changed
  where id = any (array(select id from devices_changed order by id limit $2::int)) and exists (select from mine)
  returning device_id
), seen as (
  select r.id as rollout_id, d.id as device_id, rollout_bucket(r.id, d.id) as bucket, r.threshold,
         coalesce(d.tags->>(r.plan->'spread'->>'tag'), '') as grp, d.status = 'online' as online,
         rollout_targets(r.target, d)
           and (r.target->'device_ids' is null or r.target->'device_ids' @> to_jsonb(d.id)) as targeted,
         rollout_exclusion(r.plan, f, d.chip, d.chip_reported, d.firmware_version, d.elf_sha256) as exclusion,
         r.state = 'rolling_back' as back,
         d.elf_sha256 = f.elf_sha256 as runs_it
  from (select distinct device_id from took) t
  join devices d on d.id = t.device_id
  cross join rollouts r join firmware f on f.id = r.firmware_id
  where r.state in ('running', 'paused', 'rolling_back')
), came as (
  insert into rollout_devices (rollout_id, device_id, bucket, grp, state, reason, in_stage, ask_at)
  select rollout_id, device_id, bucket, grp, case when exclusion is null then 'waiting' else 'excluded' end, exclusion,
         bucket <= threshold,
         case when bucket <= threshold and exclusion is null then now() else 'infinity'::timestamptz end
  from seen where targeted and not back
  on conflict (rollout_id, device_id) do nothing
), changed as (
  update rollout_devices d
  set state = n.state, reason = n.reason, grp = s.grp, asleep = false, since = now(),
      ask_at = case when n.state = 'waiting' and d.in_stage then now() else 'infinity' end
  from seen s cross join lateral
    (select case when not s.targeted or s.exclusion is not null then 'excluded' else 'waiting' end as state,
            case when not s.targeted then 'is no longer named by the target' else s.exclusion end as reason) n
  where d.rollout_id = s.rollout_id and d.device_id = s.device_id and not s.back
    and (d.state in ('waiting', 'held', 'excluded')
           and (d.state = 'excluded' or n.state = 'excluded')
           and (d.state, d.reason) is distinct from (n.state, n.reason)
         or d.state = 'held' and d.asleep and n.state = 'waiting' and s.online
         or d.state = 'timed_out' and d.asleep and s.online and n.state = 'waiting')
), late as ( -- one whose update was cancelled when the rollback began, and which has installed it all the same
  update rollout_devices d
  set state = 'waiting', reason = null, attempts = 0, since = now(),
      ask_at = case when d.in_stage then now() else 'infinity' end
  from seen s
  where d.rollout_id = s.rollout_id and d.device_id = s.device_id and s.back and s.runs_it
    and d.state in ('cancelled', 'failed', 'timed_out') and d.update_id is not null
)
select count(*)::int as n from took;

-- name: rollout_watch
-- Compares devices of rollout $2 that were updated with those that were not, marks updated ones that fell silent for
-- $3 seconds as vanished (and back), and offers that wait for a device which is offline as asleep.
with mine as (
  select from rollout_driver where fence = $1::bigint for share
), seen as (
  select m.device_id, m.state, m.asleep, d.status = 'offline' as offline,
         d.status = 'offline' and d.last_seen < now() - $3::float8 * interval '1 second' as silent,
         d.last_seen > r.stage_entered_at - interval '1 hour' as alive,
         (d.telemetry->>'reset_reason') in ('panic', 'int_wdt', 'task_wdt', 'wdt', 'brownout') as crashed,
         case when jsonb_typeof(d.telemetry->'heap') = 'number' then (d.telemetry->>'heap')::float8 end as heap
  from rollouts r join rollout_devices m on m.rollout_id = r.id join devices d on d.id = m.device_id
  where r.id = $2::int and m.state <> 'excluded' and exists (select from mine)
), compared as (
  select jsonb_build_object(
           'updated', jsonb_build_object('devices', count(*) filter (where done),
             'vanished', count(*) filter (where done and silent), 'crashed', count(*) filter (where done and crashed),
             'heap', round(avg(heap) filter (where done))),
           'control', jsonb_build_object('devices', count(*) filter (where control),
             'vanished', count(*) filter (where control and silent), 'crashed', count(*) filter (where control and crashed),
             'heap', round(avg(heap) filter (where control)))) as control
  from (select *, state in ('succeeded', 'vanished') as done, state in ('waiting', 'held') and alive as control
        from seen) s
), kept as (
  update rollouts set control = c.control, control_at = now() from compared c
  where id = $2::int and exists (select from mine)
)
update rollout_devices m
set state = case when m.state in ('succeeded', 'vanished') then case when s.silent then 'vanished' else 'succeeded' end
                 else m.state end,
    reason = case when m.state = 'succeeded' then 'fell silent after the update'
                  when m.state = 'vanished' then null else m.reason end,
    asleep = m.state in ('pending', 'offered') and s.offline, since = now()
from seen s
where m.rollout_id = $2::int and m.device_id = s.device_id
  and (m.state = 'succeeded' and s.silent or m.state = 'vanished' and not s.offline
       or m.state in ('pending', 'offered') and m.asleep <> s.offline);

-- name: rollout_candidates read
-- Devices of rollout $1 to be asked about now, in the order in which they became due. $2: how many  $3: how many of a
-- group at once, or null  $4: how many may be offline
with room as (
  select grp, least($2::int, $3::int - coalesce(sum(n) filter (where
                state in ('pending', 'offered', 'downloading', 'installing')), 0))::int as free
  from rollout_counts where rollout_id = $1::int group by grp
), due as (
  select m.* from room cross join lateral
    (select * from rollout_devices
     where rollout_id = $1::int and grp = room.grp and ask_at <= now()
     order by ask_at, bucket limit greatest(room.free, 0)) m
  order by m.ask_at, m.bucket limit $2::int
)
select d.id, d.elf_sha256, d.firmware_version, m.state, m.attempts, m.update_id, m.verdict, m.reason,
       m.asked, d.status = 'online' as online,
       row_number() over (partition by d.status = 'offline' order by m.ask_at, m.bucket) > $4::int
         and d.status = 'offline' as no_room,
       (select u.id from updates u where u.device_id = d.id
        and u.state in ('pending', 'offered', 'downloading', 'installing')) as other_update,
       (select o.id from rollout_devices om join rollouts o on o.id = om.rollout_id
        where om.device_id = d.id and o.state = 'running' and om.in_stage
          and om.state in ('waiting', 'held') and (o.priority, -o.id) > (r.priority, -r.id)
        order by o.priority desc, o.id limit 1) as other_rollout,
       (select jsonb_build_object('id', f.id, 'version', f.version, 'chip', f.chip, 'size', f.size, 'sha256', f.sha256,
                                  'elf_sha256', f.elf_sha256, 'release_signature', f.release_signature,
                                  'release_key', f.release_key)
        from jsonb_to_recordset(r.plan->'steps') as s (below text, via text)
        join firmware f on f.chip = d.chip and f.version = s.via and f.project = r.firmware->>'project'
        where version_rank(d.firmware_version) < version_rank(s.below)
        order by version_rank(s.below) limit 1) as step,
       jsonb_build_object('id', d.id, 'device_code', d.device_code, 'name', d.name, 'chip', d.chip,
         'firmware_version', d.firmware_version, 'tags', d.tags, 'online', d.status = 'online',
         'silent_for', round(extract(epoch from now() - d.last_seen)), 'telemetry', d.telemetry,
         'attempts', m.attempts)::text as device
from due m join devices d on d.id = m.device_id join rollouts r on r.id = m.rollout_id
order by m.ask_at, m.bucket;

-- name: rollout_apply
-- Writes what was decided on devices of rollout $2, all or nothing. $3: state in which the rollout must still be
-- $4: credit left  $5: policy  $6: revision
-- $7: [{device_id, verdict, reason, line, file, asleep (held because it is offline), again (seconds; holds), retry_after
--      (offers), device (its
--      JSON, as text), at (Unix seconds), update?: {id, action, firmware_id, version,
--      from_version, from_elf_sha256, payload, expires_at}}], sorted by device
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
  select d.device_id, d.line, d.file, d.asleep, d.device, d.at, coalesce(d.again, 60) as again, d.retry_after, made.id as update_id,
         case when d.update_id is not null and made.id is null then 'hold' else d.verdict end as verdict,
         case when d.update_id is not null and made.id is null then 'another update of the device is under way, or its chip changed'
              else d.reason end as reason
  from decided d left join made on made.id = d.update_id
), was as (
  select m.device_id, m.verdict, m.reason, m.revision, m.asked
  from rollout_devices m join final using (device_id) where m.rollout_id = $2::int
), written as (
  update rollout_devices m
  set state = case f.verdict when 'offer' then 'pending' when 'skip' then 'skipped'
                             else case when m.state in ('failed', 'timed_out') then m.state else 'held' end end,
      update_id = coalesce(f.update_id, m.update_id), asleep = coalesce(f.asleep, false),
      attempts = m.attempts + case when f.update_id is null then 0 else 1 end,
      retry_after = f.retry_after,
      ask_at = case when f.verdict = 'hold' then now() + f.again * interval '1 second'
                    else 'infinity'::timestamptz end,
      verdict = f.verdict, reason = f.reason, line = f.line, file = f.file, revision = $6::text,
      asked = case when same.alike then m.asked + 1 else 1 end,
      since = case when same.alike then m.since else now() end
  from final f join was w using (device_id) cross join lateral
    (select (w.verdict, w.reason, w.revision) is not distinct from (f.verdict, f.reason, $6::text) as alike) same
  where m.rollout_id = $2::int and m.device_id = f.device_id
), kept as (
  insert into decisions (rollout_id, device_id, verdict, reason, policy, revision, line, file, inputs)
  select $2::int, f.device_id, f.verdict, f.reason, $5::text, $6::text, f.line, f.file,
         case when f.device is not null
              then jsonb_build_object('device', f.device::jsonb, 'now', f.at, 'stage', rollout.stage) end
  from final f join was w using (device_id) cross join rollout
  where (w.verdict, w.reason, w.revision) is distinct from (f.verdict, f.reason, $6::text) or f.verdict = 'offer'
  returning id, at, rollout_id, device_id, verdict, reason, policy, revision, line, file
)
select (select count(*) from rollout)::int as driven, (select count(*) from made)::int as offered,
       case when $8::boolean then (select jsonb_agg(to_jsonb(kept) || jsonb_build_object(
         'at', replace(to_jsonb(kept.at)#>>'{}', '+00:00', 'Z'))) from kept) end as decisions,
       case when $8::boolean then (select jsonb_agg(id) from made) else '[]' end as updates;

-- name: rollout_enter_stage
-- Rollout $2 goes from stage $3 (an index; -1: it begins) to the next, which has share $4. $5: reason
with mine as (
  select from rollout_driver where fence = $1::bigint for share
), counted as (
  select count(*) as n from rollout_devices where rollout_id = $2::int and state <> 'excluded'
), reached as (
  select coalesce((select bucket from rollout_devices where rollout_id = $2::int and state <> 'excluded'
                   order by bucket offset (select greatest(ceil($4::float8 * n)::int - 1, 0) from counted)
                   limit 1), -1) as bucket
), rollout as (
  update rollouts r
  set stage = $3::int + 1, stage_entered_at = now(), updated_at = now(), reason = $5::text, control_at = null,
      threshold = case when $4::float8 >= 1 then 4294967295 else greatest(r.threshold, reached.bucket) end
  from reached where r.id = $2::int and r.stage = $3::int and r.state in ('running', 'rolling_back') and exists (select from mine)
  returning r.id, r.threshold
), entered as (
  update rollout_devices m
  set in_stage = true, ask_at = case when m.state in ('waiting', 'held') then now() else m.ask_at end
  from rollout where m.rollout_id = rollout.id and m.bucket <= rollout.threshold and not m.in_stage
)
select threshold from rollout;

-- name: rollout_decide
-- Keeps the verdict on a stage of rollout $2, and moves the rollout where it says so. $3: state it must be in
-- $4: stage it must be in  $5: verdict  $6: reason  $7: line  $8: policy  $9: revision  $10: inputs  $11: new state
-- $12: file of the line, or null
with mine as (
  select from rollout_driver where fence = $1::bigint for share
), was as (
  select id, verdict, verdict_line, revision from rollouts
  where id = $2::int and state = $3::text and stage = $4::int and exists (select from mine) for no key update
), same as (
  select id, (verdict, verdict_line, revision) is not distinct from ($5::text, $7::int, $9::text) as alike from was
), written as (
  update rollouts r
  set verdict = $5::text, verdict_line = $7::int, verdict_file = $12::text,
      verdict_count = case when same.alike then r.verdict_count + 1 else 1 end,
      revision = $9::text, reason = $6::text, state = $11::text, updated_at = now()
  from same where r.id = same.id
)
insert into decisions (rollout_id, verdict, reason, policy, revision, line, file, inputs)
select id, $5::text, $6::text, $8::text, $9::text, $7::int, $12::text, $10::jsonb from same where not alike or $5::text <> 'hold'
returning id, at, rollout_id, device_id, verdict, reason, policy, revision, line, file;

-- name: rollout_time_out
-- Ends updates of rollout $2: taken and silent for $3 seconds, or never taken for $4 seconds. $5: how many at once
with mine as (
  select from rollout_driver where fence = $1::bigint for share
), due as (
  select id from updates
  where rollout_id = $2::int and state in ('pending', 'offered', 'downloading', 'installing')
    and exists (select from mine)
    and (taken_at is not null and updated_at < now() - $3::float8 * interval '1 second'
         or taken_at is null and created_at < now() - $4::float8 * interval '1 second')
  limit $5::int for update skip locked
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

-- name: rollout_turn_back
-- Begins the rollback of rollout $2, which was decided: ends what is under way, and lets those that run the new image
-- wait for their turn. Answers with the updates that it ended.
with mine as (
  select from rollout_driver where fence = $1::bigint for share
), rollout as (
  update rollouts set turned = true, stage = -1, threshold = -1, credit = 0, credited_at = now()
  where id = $2::int and state = 'rolling_back' and not turned and exists (select from mine)
  returning id, firmware_id
), ended as (
  update updates u
  set state = 'cancelled', reason = 'the rollout is rolled back', updated_at = now()
  from rollout where u.rollout_id = rollout.id and u.action = 'install'
    and u.state in ('pending', 'offered', 'downloading', 'installing')
  returning u.id, u.device_id
), held as (
  select o.device_id from offers o join ended on o.device_id = ended.device_id and o.update_id = ended.id
  order by o.device_id for update of o
), cleared as (
  update offers o
  set update_id = null, payload = '', expires_at = null, changed_at = now(), published_at = null
  from held where o.device_id = held.device_id
), turned as (
  update rollout_devices m
  set in_stage = false, attempts = 0, asked = 0, verdict = null, since = now(), ask_at = 'infinity', asleep = false,
      state = case when m.state in ('succeeded', 'vanished') or m.update_id is not null and d.elf_sha256 = f.elf_sha256
                     then 'waiting'
                   when m.state in ('waiting', 'held', 'pending', 'offered', 'downloading', 'installing') then 'cancelled'
                   else m.state end,
      reason = case when m.state in ('waiting', 'held', 'pending', 'offered', 'downloading', 'installing')
                      then 'the rollout is rolled back' else m.reason end
  from rollout join firmware f on f.id = rollout.firmware_id, devices d
  where m.rollout_id = rollout.id and d.id = m.device_id and m.state <> 'excluded'
)
select id from ended;

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
