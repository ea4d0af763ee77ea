-- What the driver of rollouts does (scripts/tasks/rollouts.lua). $1 is its fence everywhere: once another instance
-- drives, `mine` is empty and the statement does nothing. A tick costs what changed, not what there is.

-- name: rollout_drive
-- Takes or keeps the lease. $1: this instance  $2: seconds  $3: whether it hears devices
-- No row: another instance drives.
with driver as (
  update rollout_driver
  set owner = $1::text, until = now() + $2::float8 * interval '1 second',
      fence = fence + case when owner is distinct from $1::text then 1 else 0 end,
      heard_at = case when $3::boolean then now() else heard_at end,
      heard_since = case when $3::boolean and heard_at < now() - interval '10 seconds' then now() else heard_since end,
      unheard = case when $3::boolean and heard_at < now() - interval '10 seconds'
                     then extract(epoch from now() - heard_at) else 0 end
  where owner = $1::text or until < now()
  returning fence, unheard
), aged as ( -- a soak nobody watched was none
  update rollouts r set unheard = r.unheard + driver.unheard from driver
  where driver.unheard > 0 and r.state in ('running', 'paused', 'rolling_back')
)
select fence, exists (select from rollout_reports) as reports, exists (select from devices_changed) as changes from driver;

-- name: rollout_analyze
-- Plans are kept for as long as the planner knows nothing new. Tables that a rollout has just filled are no longer what
-- they were planned for, and autovacuum would see it a minute later.
analyze (skip_locked) rollout_devices, updates, offers;

-- name: rollout_leave
-- Gives up the lease. What was said under it and may still be on its way to a backend then does nothing: who drives
-- next, be it the same instance, has another fence, and this waits for what has begun.
update rollout_driver set owner = null, until = '-infinity' where fence = $1::bigint;

-- name: rollouts_driven read
-- No fence: it is a look.
select r.id, r.name, r.state, r.policy, r.revision, p.revision as active,
       case when p.held then p.note end as held, r.plan, r.firmware_id, r.firmware, r.params, r.stage, r.turned,
       coalesce(r.resumed_at > r.stage_entered_at, false) as resumed, r.known_succeeded, r.known_failed,
       greatest(extract(epoch from now() - r.stage_entered_at)::float8 - r.unheard, 0) as stage_age,
       extract(epoch from now() - r.created_at)::float8 as age,
       r.starts_at <= now() as started, r.credit, extract(epoch from now() - r.credited_at)::float8 as uncredited,
       r.verdict, r.verdict_line, r.reason, r.control,
       extract(epoch from now() - r.control_at)::float8 as control_age,
       (select jsonb_agg(jsonb_build_array(c.grp, c.state, c.in_stage, c.asleep, c.retry, c.n))
        from rollout_counts c where c.rollout_id = r.id and c.n > 0) as counts
from rollouts r join policies p on p.name = r.policy
where r.state in ('running', 'paused', 'rolling_back')
order by r.priority desc, r.id;

-- name: rollout_know
-- How many devices of rollout $2 had succeeded ($3) and failed ($4) when somebody resumed it.
update rollouts set known_succeeded = $3::int, known_failed = $4::int
where id = $2::int and exists (select from rollout_driver where fence = $1::bigint for share);

-- name: rollout_regroup
-- Prepares devices after $3 of rollout $2, $4 of them, for the plan $5: they are grouped by its tag, whom a policy held is
-- asked anew, and who can have the firmware is looked at again where the plan says otherwise. Answers as rollout_enlist.
with mine as (
  select from rollout_driver where fence = $1::bigint for share
), rollout as (
  select id, $5::jsonb->'spread'->>'tag' as tag,
         (plan->'from', plan->'downgrade') is distinct from ($5::jsonb->'from', $5::jsonb->'downgrade') as refits
  from rollouts where id = $2::int and exists (select from mine)
), part as materialized (
  select m.device_id, m.state, rollout.tag, rollout.refits from rollout cross join lateral
    (select device_id, state from rollout_devices
     where rollout_id = rollout.id and device_id > $3::int order by device_id limit $4::int) m
), unsure as (
  insert into devices_changed (device_id)
  select device_id from part
  where refits and state in ('waiting', 'held', 'excluded', 'failed', 'timed_out')
), grouped as (
  update rollout_devices m
  set grp = n.grp,
      ask_at = case when m.ask_at < 'infinity' and (m.state = 'held' or m.asleep) then now() else m.ask_at end
  from part join devices d on d.id = part.device_id
    cross join lateral (select coalesce(d.tags->>part.tag, '') as grp) n
  where m.rollout_id = $2::int and m.device_id = part.device_id
    and (m.ask_at < 'infinity' and (m.state = 'held' or m.asleep) or m.grp <> n.grp)
)
select max(device_id) as last, count(*)::int as n from part;

-- name: rollout_replan
-- Rollout $2 goes on by revision $3 of its policy, which declares $4.
with mine as (
  select from rollout_driver where fence = $1::bigint for share
)
update rollouts r
set revision = $3::text, plan = $4::jsonb, stage = least(r.stage, jsonb_array_length($4::jsonb->'stages') - 1)
where id = $2::int and exists (select from mine);

-- name: rollout_revert
-- Takes revision $3 of policy $2, whose calls fail, out of force: the one before it comes back. Where there is none,
-- or where that is what another revert brought, all is held until somebody brings another. $4: what happened, in words.
-- Each rollout under the policy gets a decision.
-- No row: another revision is in force by now, or this one is held already.
with mine as (
  select from rollout_driver where fence = $1::bigint for share
), was as (
  select p.name, p.revision, case when p.note like 'reverted: %' then null else r.parent end as parent
  from policies p join policy_revisions r on r.policy = p.name and r.revision = p.revision
  where p.name = $2::text and p.revision = $3::text and not p.held and exists (select from mine) for no key update of p
), back as (
  update policies p
  set revision = coalesce(was.parent, p.revision), held = was.parent is null, updated_at = now(),
      note = case when was.parent is null then 'all is held: ' else 'reverted: ' end || $4::text
  from was where p.name = was.name
  returning p.name, p.note, was.parent
), told as (
  insert into decisions (rollout_id, verdict, reason, policy, revision)
  select r.id, case when back.parent is null then 'hold' else 'revert' end, back.note, back.name, $3::text
  from back join rollouts r on r.policy = back.name and r.state in ('running', 'paused', 'rolling_back')
)
select parent, note from back;

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
         r.state as rollout_state, r.turned, u.firmware_id is distinct from r.firmware_id as is_step,
         greatest((r.plan->'stages'->r.stage->>'soak')::float8, 3600) as watched -- as rollout_watched() in C
  from took join updates u on u.id = took.update_id join rollouts r on r.id = u.rollout_id
), judged as (
  select m.*,
         case when m.state = 'succeeded' and m.action = 'rollback' then 'rolled_back'
              when m.state = 'succeeded' and (m.is_step or m.turned) then 'waiting' -- its turn to go back may come
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
      watched_until = case when j.becomes = 'succeeded' then now() + j.watched * interval '1 second' end,
      ask_at = case when j.becomes = 'waiting' and d.in_stage then now()
                    when j.retry then now() + d.retry_after * interval '1 second' else 'infinity' end,
      since = now()
  from judged j
  where d.rollout_id = j.rollout_id and d.device_id = j.device_id
)
select count(*)::int as n from took;

-- name: rollout_fold_devices
-- Takes in devices that came, came online, or changed so that a target may name them now, or no longer. Whom the
-- rollout has offered anything is not judged by the version it ran before: steps and attempts change that.
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
         named.it as named,
         case when not named.it then 'is no longer named by the target' else
           rollout_exclusion(case when m.update_id is null then r.plan else r.plan - 'from' end, f, d.chip, d.chip_reported,
                             d.firmware_version, d.elf_sha256)
         end as unfit,
         r.state = 'rolling_back' as back, d.elf_sha256 = f.elf_sha256 as runs_it,
         greatest((r.plan->'stages'->r.stage->>'soak')::float8, 3600) as watched -- as rollout_watched() in C
  from (select distinct device_id from took) t
  join devices d on d.id = t.device_id
  cross join rollouts r join firmware f on f.id = r.firmware_id
  left join rollout_devices m on m.rollout_id = r.id and m.device_id = d.id
  cross join lateral
    (select rollout_targets(case when m.update_id is null then r.target else r.target - 'versions' end, d)
            and (r.target->'device_ids' is null or r.target->'device_ids' @> to_jsonb(d.id)) as it) named
  where r.state in ('running', 'paused', 'rolling_back')
), came as (
  insert into rollout_devices (rollout_id, device_id, bucket, grp, state, reason, in_stage, ask_at)
  select rollout_id, device_id, bucket, grp, case when unfit is null then 'waiting' else 'excluded' end, unfit,
         bucket <= threshold,
         case when bucket <= threshold and unfit is null then now() else 'infinity'::timestamptz end
  from seen where named and not back
  on conflict (rollout_id, device_id) do nothing
), judged as (
  select s.*, d.state as was, d.ask_at < 'infinity' and d.state in ('failed', 'timed_out') as retry,
         case when s.back then -- woke up, or installed it although that was cancelled when the rollback began
                case when d.state = 'held' and d.asleep and s.online
                       or d.state in ('cancelled', 'failed', 'timed_out') and d.update_id is not null and s.runs_it
                          and (d.attempts = 0 or d.state = 'timed_out' and d.asleep and s.online)
                       then 'waiting' else d.state end
              when s.unfit is null then -- fits again, or woke up
                case when d.state = 'excluded'
                       or s.online and d.asleep and (d.state = 'held' or d.state = 'timed_out' and d.ask_at = 'infinity')
                       then 'waiting' else d.state end
              when d.state in ('waiting', 'held') then 'excluded'
              when s.runs_it and d.state in ('failed', 'timed_out') and (d.asleep or d.ask_at < 'infinity')
                then 'succeeded' -- later than it was waited for
              else d.state end as becomes
  from seen s join rollout_devices d on d.rollout_id = s.rollout_id and d.device_id = s.device_id
), changed as (
  update rollout_devices d
  set state = j.becomes, grp = j.grp, since = case when j.becomes = j.was then d.since else now() end,
      reason = case when j.becomes = 'excluded' then j.unfit
                    when j.becomes = j.was then d.reason
                    when j.becomes = 'succeeded' then 'runs the image, though its update had not ended well' end,
      asleep = d.asleep and j.becomes = j.was and not stops.it,
      attempts = case when j.back and j.becomes = 'waiting' then 0 else d.attempts end,
      watched_until = case when j.becomes = 'succeeded' and j.was <> 'succeeded'
                             then now() + j.watched * interval '1 second' else d.watched_until end,
      ask_at = case when j.becomes = 'waiting' and j.was <> 'waiting' and d.in_stage then now()
                    when j.becomes <> j.was or stops.it then 'infinity' else d.ask_at end
  from judged j cross join lateral (select j.retry and j.unfit is not null and not j.back as it) stops
  where d.rollout_id = j.rollout_id and d.device_id = j.device_id
    and (j.becomes <> j.was or j.grp <> d.grp or stops.it or j.was = 'excluded' and d.reason is distinct from j.unfit)
)
select count(*)::int as n from took;

-- name: rollout_look_again
-- Devices $2 are no longer what their rollouts took them for.
insert into devices_changed (device_id)
select jsonb_array_elements_text($2::jsonb)::int from rollout_driver where fence = $1::bigint;

-- name: rollout_watch
-- Compares devices of rollout $2 that were updated with those that were not, marks as vanished (and back) updated ones
-- that have been silent for $3 seconds and fell so within the soak of their update, an hour at least (later on a
-- device may sleep by habit), and as asleep offers that wait for a device which is offline.
with mine as (
  select heard_at, heard_since from rollout_driver where fence = $1::bigint for share
), seen as (
  select m.device_id, m.state, m.asleep, d.status = 'offline' as offline,
         d.status = 'offline'
           and greatest(d.last_seen, mine.heard_since) < mine.heard_at - $3::float8 * interval '1 second' as silent,
         coalesce(d.last_seen < m.watched_until, false) as watched,
         d.last_seen > r.stage_entered_at - interval '1 hour' as alive,
         (d.telemetry->>'reset_reason') in ('panic', 'int_wdt', 'task_wdt', 'wdt', 'brownout') as crashed,
         case when jsonb_typeof(d.telemetry->'heap') = 'number' then (d.telemetry->>'heap')::float8 end as heap
  from mine cross join rollouts r join rollout_devices m on m.rollout_id = r.id join devices d on d.id = m.device_id
  where r.id = $2::int and m.state <> 'excluded'
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
set state = case m.state when 'succeeded' then 'vanished' when 'vanished' then 'succeeded' else m.state end,
    reason = case when m.state = 'succeeded' then 'fell silent after the update'
                  when m.state = 'vanished' then null else m.reason end,
    asleep = m.state in ('pending', 'offered') and s.offline, since = now()
from seen s
where m.rollout_id = $2::int and m.device_id = s.device_id
  and (m.state = 'succeeded' and s.silent and s.watched or m.state = 'vanished' and not s.silent
       or m.state in ('pending', 'offered') and m.asleep <> s.offline);

-- name: rollout_candidates read
-- Devices of rollout $1 to be asked about now, in the order in which they became due. $2: how many, 1000 at most
-- $3: how many of a group at once, or null  $4: how many may be offline; of a group those are half of it at most, for
-- each may keep its place for days
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
select d.id, d.elf_sha256, d.firmware_version, m.state, m.attempts, m.update_id, m.verdict, m.reason,
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

-- name: rollout_enter_stage
-- Rollout $2 goes from stage $3 (an index; -1: it begins) to the next, which has share $4. $5: reason
with mine as (
  select from rollout_driver where fence = $1::bigint for share
), counted as (
  select ceil($4::float8 * coalesce(sum(n), 0))::int - coalesce(sum(n) filter (where in_stage), 0)::int as missing
  from rollout_counts where rollout_id = $2::int and state <> 'excluded'
), reached as (
  select coalesce((select bucket from rollout_devices
                   where rollout_id = $2::int and not in_stage and state <> 'excluded'
                   order by bucket offset (select greatest(missing - 1, 0) from counted)
                   limit (select (missing > 0)::int from counted)), -1) as bucket
)
update rollouts r
set stage = $3::int + 1, stage_entered_at = now(), unheard = 0, updated_at = now(), reason = $5::text, control_at = null,
    threshold = case when $4::float8 >= 1 then 4294967295 else greatest(r.threshold, reached.bucket) end
from reached
where r.id = $2::int and r.stage = $3::int and r.state in ('running', 'rolling_back') and exists (select from mine);

-- name: rollout_enter_devices
-- Takes devices of rollout $2 into the stage it is in, $3 at once. Answers with how many there were: as many as asked for
-- means there are more.
with mine as (
  select from rollout_driver where fence = $1::bigint for share
), part as materialized ( -- the threshold by itself, so that the index is read up to there and no further
  select ctid as place from rollout_devices
  where rollout_id = $2::int and not in_stage and bucket <= (select threshold from rollouts where id = $2::int)
    and exists (select from mine)
  order by bucket limit $3::int
), entered as (
  update rollout_devices m
  set in_stage = true, ask_at = case when m.state in ('waiting', 'held') then now() else m.ask_at end
  where m.ctid = any (array(select place from part)) and not m.in_stage -- a join would read the whole table for each part
)
select count(*)::int as n from part;

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
-- Ends updates of rollout $2: taken and silent for $3 seconds, or never taken for $4 seconds, or for $3 by a device that
-- is awake. $5: how many at once
with mine as (
  select heard_at, heard_since from rollout_driver where fence = $1::bigint for share
), due as (
  select u.id from mine cross join updates u
  where u.rollout_id = $2::int and u.state in ('pending', 'offered', 'downloading', 'installing')
    and (u.taken_at is not null
           and greatest(u.updated_at, mine.heard_since) < mine.heard_at - $3::float8 * interval '1 second'
         or u.taken_at is null and u.created_at < now() - $4::float8 * interval '1 second'
         or u.taken_at is null and u.state = 'offered'
           and greatest(u.updated_at, mine.heard_since) < mine.heard_at - $3::float8 * interval '1 second'
           and exists (select from rollout_devices m join devices d on d.id = m.device_id
                       where m.rollout_id = u.rollout_id and m.device_id = u.device_id and not m.asleep
                         and m.since < now() - $3::float8 * interval '1 second' and d.status = 'online'))
  limit $5::int for update of u skip locked
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

-- name: rollouts_cancel
-- Ends updates that aborted rollouts have under way, $2 at once, and answers with them. $1: null for the one who aborts,
-- so that an answer finds the first ended already
with mine as (
  select from rollout_driver where fence = $1::bigint or $1::bigint is null for share
), due as materialized ( -- in the order of an index, for there may be more that have ended
  select u.id from rollouts r cross join lateral
    (select id from updates
     where rollout_id = r.id and state in ('pending', 'offered', 'downloading', 'installing')
     order by updated_at limit $2::int for update skip locked) u
  where r.state = 'aborted' and r.updated_at > now() - interval '30 days' and exists (select from mine)
  limit $2::int
), ended as (
  update updates u
  set state = 'cancelled', reason = 'the rollout was aborted', updated_at = now()
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
select id from ended;

-- name: rollout_turn_back
-- Begins the rollback of rollout $2, which was decided, with its next $3 devices: ends what is under way, and lets those
-- that run the new image wait for their turn. Answers with how many there were (fewer, and it has begun for all) and the
-- updates that it ended.
with mine as (
  select from rollout_driver where fence = $1::bigint for share
), rollout as (
  select id, firmware_id, turned_to from rollouts
  where id = $2::int and state = 'rolling_back' and not turned and exists (select from mine) for no key update
), part as materialized (
  select m.device_id from rollout cross join lateral
    (select device_id from rollout_devices
     where rollout_id = $2::int and device_id > rollout.turned_to order by device_id limit $3::int) m
), found as ( -- in the order in which everybody locks updates
  select u.id from part join updates u on u.device_id = part.device_id
  where u.rollout_id = $2::int and u.action = 'install'
    and u.state in ('pending', 'offered', 'downloading', 'installing')
  order by u.id for no key update of u
), ended as (
  update updates u
  set state = 'cancelled', reason = 'the rollout is rolled back', updated_at = now()
  from found where u.id = found.id and u.state in ('pending', 'offered', 'downloading', 'installing')
  returning u.id, u.device_id
), held as (
  select o.device_id from offers o join ended on o.device_id = ended.device_id and o.update_id = ended.id
  order by o.device_id for update of o
), cleared as (
  update offers o
  set update_id = null, payload = '', expires_at = null, changed_at = now(), published_at = null
  from held where o.device_id = held.device_id
), turned as (
  update rollouts r
  set turned = (select count(*) from part) < $3::int, turned_to = coalesce((select max(device_id) from part), r.turned_to),
      stage = -1, threshold = -1, credit = 0, credited_at = now()
  from rollout where r.id = rollout.id
), moved as (
  update rollout_devices m
  set in_stage = false, attempts = 0, asked = 0, verdict = null, since = now(), ask_at = 'infinity', asleep = false,
      state = case when m.state in ('succeeded', 'vanished') or m.update_id is not null and d.elf_sha256 = f.elf_sha256
                     then 'waiting'
                   when m.state in ('waiting', 'held', 'pending', 'offered', 'downloading', 'installing') then 'cancelled'
                   else m.state end,
      reason = case when m.state in ('waiting', 'held', 'pending', 'offered', 'downloading', 'installing')
                      then 'the rollout is rolled back' else m.reason end
  from part join devices d on d.id = part.device_id, rollout left join firmware f on f.id = rollout.firmware_id
  where m.rollout_id = $2::int and m.device_id = part.device_id and m.state <> 'excluded'
)
select (select count(*) from part)::int as n, (select jsonb_agg(id) from ended) as updates;

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
