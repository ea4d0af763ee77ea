-- What happened to devices and updates since the driver last looked (rollout_driver.sql).

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
