-- Stages of rollouts, and their way back (rollout_driver.sql).

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
