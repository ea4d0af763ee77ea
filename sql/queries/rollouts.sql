-- Rollouts as people see and steer them. The driver's statements are in rollout_*.sql.

-- name: rollout_create
-- $1: name  $2: policy  $3: plan  $4: firmware  $5: target  $6: params  $7: priority  $8: starts_at  $9: account
-- $10: revision whose plan that is
insert into rollouts (name, policy, plan, revision, firmware_id, firmware, target, params, priority, starts_at, created_by)
select $1::text, p.name, $3::jsonb, $10::text, f.id,
       jsonb_build_object('id', f.id, 'version', f.version, 'chip', f.chip, 'project', f.project, 'size', f.size),
       $5::jsonb, $6::jsonb, $7::int, coalesce($8::timestamptz, now()), $9::int
from policies p, firmware f where p.name = $2::text and f.id = $4::int
returning id;

-- name: rollout_unknown read
-- The first of the ids $1 that no device has.
select w.id::int as id from jsonb_array_elements_text($1::jsonb) with ordinality as w (id, nth)
where not exists (select from devices where devices.id = w.id::int) order by w.nth limit 1;

-- name: rollout_enlist
-- Makes the devices after $2 that the target of rollout $1 names its members, $3 devices at once. In the transaction that
-- makes it. Whom it cannot have is looked up once for each kind of device: there are few. Answers with the last device
-- looked at and how many were: fewer than $3, and there is none left.
with made as (
  select r.id, r.plan, r.target, f as image from rollouts r join firmware f on f.id = r.firmware_id where r.id = $1::int
), part as materialized (
  select d.id, d as device, d.chip, d.chip_reported, d.firmware_version, d.elf_sha256, d.tags
  from devices d where d.id > $2::int order by d.id limit $3::int
), kinds as materialized (
  select k.*, rollout_exclusion(made.plan, made.image, chip, chip_reported, firmware_version, elf_sha256) as exclusion
  from made, (select distinct chip, chip_reported, firmware_version, elf_sha256 from part) k
), listed as (
  insert into rollout_devices (rollout_id, device_id, bucket, grp, state, reason)
  select made.id, d.id, rollout_bucket(made.id, d.id), coalesce(d.tags->>(made.plan->'spread'->>'tag'), ''),
         case when k.exclusion is null then 'waiting' else 'excluded' end, k.exclusion
  from made cross join part d
  join kinds k on coalesce(k.chip, '') = coalesce(d.chip, '')
    and coalesce(k.chip_reported, '') = coalesce(d.chip_reported, '')
    and coalesce(k.firmware_version, '') = coalesce(d.firmware_version, '')
    and coalesce(k.elf_sha256, '') = coalesce(d.elf_sha256, '')
  where rollout_targets(made.target, d.device)
    and (made.target->'device_ids' is null
         or d.id in (select jsonb_array_elements_text(made.target->'device_ids')::int))
)
select max(id) as last, count(*)::int as n from part;

-- name: rollout_by_id read
select r.id, r.name, r.state, r.policy, r.revision, r.firmware, r.target, r.params, r.priority, r.plan, r.stage,
       r.stage_entered_at, r.reason, r.starts_at, r.created_at, r.updated_at,
       (select jsonb_object_agg(state, n) from
         (select state, sum(n) as n from rollout_counts c where c.rollout_id = r.id group by state) s) as counts
from rollouts r where r.id = $1::int;

-- name: rollout_standing read
-- How the stage of rollout $1 stands: the last verdict, the rule that gave it, and how many of its devices are in what
-- state.
select r.starts_at > now() as early, r.verdict, r.verdict_line as line, r.verdict_file as file, r.verdict_count as asked,
       r.stage_entered_at + (r.plan->'stages'->r.stage->>'soak')::float8 * interval '1 second' as soaked_at,
       now() < r.stage_entered_at + (r.plan->'stages'->r.stage->>'soak')::float8 * interval '1 second' as soaking,
       (select btrim(split_part(source, chr(10), r.verdict_line)) from policy_revisions v
        where v.policy = r.policy and v.revision = r.revision and r.verdict_line > 0 and r.verdict_file is null) as code,
       (select jsonb_object_agg(state, n) from
         (select state, sum(n) as n from rollout_counts c
          where c.rollout_id = r.id and in_stage and n > 0 group by state) s) as counts
from rollouts r where r.id = $1::int;

-- name: rollouts_list read
-- $1: before this id  $2: how many  $3: state or null
select r.id, r.name, r.state, r.policy, r.revision, r.firmware, r.target, r.params, r.priority, r.plan, r.stage,
       r.stage_entered_at, r.reason, r.starts_at, r.created_at, r.updated_at,
       (select jsonb_object_agg(state, n) from
         (select state, sum(n) as n from rollout_counts c where c.rollout_id = r.id group by state) s) as counts
from rollouts r where r.id < $1::int and ($3::text is null or r.state = $3::text)
order by r.id desc limit $2::int;

-- name: rollout_measured read
-- What the stats of rollout $1 are made of, as in rollouts_driven.
select r.plan, r.stage, r.known_succeeded, r.known_failed,
       greatest(extract(epoch from now() - r.stage_entered_at)::float8 - r.unheard, 0) as stage_age,
       (select jsonb_agg(jsonb_build_array(c.grp, c.state, c.in_stage, c.asleep, c.retry, c.n))
        from rollout_counts c where c.rollout_id = r.id and c.n > 0) as counts
from rollouts r where r.id = $1::int;

-- name: rollout_reasons read
-- Why devices of rollout $1 are held or excluded, and how many for each reason: the 100 most frequent of either state.
select state, verdict, reason, count from
  (select *, row_number() over (partition by state order by count desc, reason, verdict) as nth from
    (select state, case when state = 'held' then verdict end as verdict, reason, count(*)::int as count
     from rollout_devices where rollout_id = $1::int and state in ('held', 'excluded') group by 1, 2, 3) kinds) ranked
where nth <= 100 order by nth;

-- name: rollout_members read
-- What rollout $1 makes of each device. $2: after this device  $3: how many  $4: state or null
-- A rare state is looked for among all members, 15 ms for 100,000: an index would make each of their changes dearer.
select m.device_id, d.device_code, d.name, m.state, said.verdict, m.reason, said.line, said.file,
       case when m.ask_at < 'infinity' then m.ask_at end as ask_at, m.attempts, m.update_id, m.since
from (select * from rollout_devices
      where rollout_id = $1::int and device_id > $2::int and ($4::text is null or state = $4::text)
      order by device_id limit $3::int) m
join devices d on d.id = m.device_id
left join lateral (select m.verdict, m.line, m.file) said on m.state <> 'excluded' -- else the policy's word counts no more
order by m.device_id;

-- name: rollout_steer
-- A person's word on rollout $1, kept as a decision, which it answers with. $2: states it may come from  $3: new state
-- $4: verdict  $5: reason  $6: account
with moved as (
  update rollouts set state = $3::text, reason = $5::text, updated_at = now(), verdict = null, verdict_count = 0,
                      credited_at = now(), resumed_at = case when $4::text = 'resume' then now() else resumed_at end,
                      known_succeeded = case when $4::text <> 'resume' then known_succeeded end,
                      known_failed = case when $4::text <> 'resume' then known_failed end
  where id = $1::int and state = any (array(select jsonb_array_elements_text($2::jsonb)))
  returning id, policy, revision
), kept as (
  insert into decisions (rollout_id, verdict, reason, policy, revision, inputs)
  select moved.id, $4::text, $5::text, policy, revision, jsonb_build_object('by', u.email)
  from moved join users u on u.id = $6::int
  returning id, at, rollout_id, device_id, verdict, reason, policy, revision, line, file
)
select * from kept;

-- name: rollout_updates read
-- Updates of rollout $1. $2: before this id  $3: how many  $4: state or null
select u.id, u.device_id, d.device_code, d.name, u.firmware_id, u.rollout_id, u.version, u.from_version, u.state, u.progress,
       u.reason, u.created_at, u.updated_at
from (select * from updates
      where rollout_id = $1::int and id < $2::int and ($4::text is null or state = $4::text)
      order by id desc limit $3::int) u
join devices d on d.id = u.device_id order by u.id desc;

-- name: rollout_decisions read
-- $1: rollout  $2: before this id  $3: how many  $4: device or null
select id, at, device_id, verdict, reason, policy, revision, line, file
from decisions
where rollout_id = $1::int and id < $2::bigint and ($4::int is null or device_id = $4::int)
order by id desc limit $3::int;

-- name: rollouts_of_device read
-- What rollouts that are not over make of device $1.
select r.id, r.name, r.state as rollout_state, r.policy, r.firmware, r.target, r.plan, r.stage, r.starts_at,
       r.starts_at > now() as early, r.reason as rollout_reason, d.chip, d.firmware_version, d.tags, d.status,
       m.state, m.in_stage, m.verdict, m.reason, m.line, m.file, m.revision, m.asked, m.since, m.attempts, m.asleep,
       case when m.ask_at < 'infinity' then m.ask_at end as ask_at,
       (select inputs from decisions e where e.device_id = m.device_id and e.rollout_id = m.rollout_id
        order by e.at desc, e.id desc limit 1) as inputs,
       (select btrim(split_part(source, chr(10), m.line)) from policy_revisions v
        where v.policy = r.policy and v.revision = m.revision and m.line > 0 and m.file is null) as code
from devices d cross join rollouts r left join rollout_devices m on m.rollout_id = r.id and m.device_id = d.id
where d.id = $1::int and ( r.state in ('running', 'paused', 'rolling_back') or m.update_id is not null)
order by r.state in ('running', 'paused', 'rolling_back') desc, r.id desc limit 20;
