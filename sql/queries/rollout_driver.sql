-- Who drives rollouts (scripts/lib/rollout_driver.lua), and by which policies. In all four files rollout_*.sql $1 is the
-- fence of the driver: once another instance drives, `mine` is empty and the statement does nothing. A tick costs what
-- changed, not what there is.

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

-- name: rollout_analyze
-- Plans are kept for as long as the planner knows nothing new. Tables that a rollout has just filled are no longer what
-- they were planned for, and autovacuum would see it a minute later.
analyze (skip_locked) rollout_devices, updates, offers;

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
