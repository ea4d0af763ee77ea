-- What `otad simulate`, `otad replay` and `otad diff` read.

-- name: simulate_rollout read
-- Rollout $1, as a simulation of it begins.
select jsonb_build_object('id', id, 'name', name, 'firmware', firmware, 'params', params)::text as rollout, policy, firmware_id,
       target::text as target
from rollouts where id = $1::int;

-- name: simulate_firmware read
select jsonb_build_object('id', id, 'version', version, 'chip', chip, 'project', project, 'size', size)::text as firmware
from firmware where id = $1::int;

-- name: simulate_fleet read
-- Devices as policies see them, with `excluded` where they cannot have firmware $1 (or null). $2: target  $3: plan
-- $4: at most; then a sample, the same each time
with kinds as materialized (
  select k.*, rollout_exclusion($3::jsonb, f, k.chip, k.chip_reported, k.firmware_version, k.elf_sha256) as exclusion
  from firmware f, (select distinct chip, chip_reported, firmware_version, elf_sha256 from devices) k
  where f.id = $1::int
)
select jsonb_build_object('id', d.id, 'device_code', d.device_code, 'name', d.name, 'chip', d.chip,
         'firmware_version', d.firmware_version, 'tags', d.tags, 'online', d.status = 'online',
         'silent_for', round(extract(epoch from now() - d.last_seen)), 'telemetry', d.telemetry,
         'excluded', k.exclusion)::text as device
from devices d
left join kinds k on coalesce(k.chip, '') = coalesce(d.chip, '')
  and coalesce(k.chip_reported, '') = coalesce(d.chip_reported, '')
  and coalesce(k.firmware_version, '') = coalesce(d.firmware_version, '')
  and coalesce(k.elf_sha256, '') = coalesce(d.elf_sha256, '')
where rollout_targets($2::jsonb, d)
  and ($2::jsonb->'device_ids' is null
       or d.id in (select jsonb_array_elements_text($2::jsonb->'device_ids')::int))
order by rollout_bucket(0, d.id), d.id limit $4::int;

-- name: simulate_size read
-- How many devices the target $1 names.
select count(*)::int as n from devices d
where rollout_targets($1::jsonb, d)
  and ($1::jsonb->'device_ids' is null
       or d.id in (select jsonb_array_elements_text($1::jsonb->'device_ids')::int));

-- name: simulate_history read
-- How updates that devices took ended within $1 days, as `assume` of a simulation, and how many there were. Of those
-- that the device did not refuse some broke off, of the rest some hung, of the rest some did not work.
with ended as (
  select state, extract(epoch from updated_at - taken_at)::float8 as seconds
  from updates
  where action = 'install' and taken_at is not null and created_at > now() - $1::int * interval '1 day'
    and state in ('succeeded', 'failed', 'rolled_back', 'rejected', 'timed_out')
), n as (
  select count(*) as all_, count(*) filter (where state = 'succeeded') as succeeded,
         count(*) filter (where state = 'failed') as failed, count(*) filter (where state = 'rolled_back') as rolled_back,
         count(*) filter (where state = 'rejected') as rejected, count(*) filter (where state = 'timed_out') as timed_out,
         percentile_cont((select array_agg(i / 200.0 order by i) from generate_series(0, 200) i))
           within group (order by seconds) filter (where state = 'succeeded') as durations
  from ended
), watched as (
  select count(*) filter (where state = 'vanished') as vanished, count(*) as all_
  from rollout_devices where state in ('succeeded', 'vanished') and since > now() - $1::int * interval '1 day'
)
select n.all_, jsonb_strip_nulls(jsonb_build_object(
         'rejected_rate', round(rejected / nullif(n.all_, 0)::numeric, 6),
         'cut_rate', round(failed / nullif(n.all_ - rejected, 0)::numeric, 6),
         'hang_rate', round(timed_out / nullif(n.all_ - rejected - failed, 0)::numeric, 6),
         'failure_rate', round(rolled_back / nullif(succeeded + rolled_back, 0)::numeric, 6),
         'vanish_rate', round(vanished / nullif(watched.all_, 0)::numeric, 6),
         'durations', to_jsonb(durations)))::text
from n, watched;

-- name: replay_rollouts read
-- The rollouts of policy $1, or rollout $2, that decisions belong to.
select jsonb_build_object('id', id, 'name', name, 'firmware', firmware, 'params', params, 'stages', plan->'stages',
         'created_at', extract(epoch from created_at))::text as rollout
from rollouts where ($2::int is null or id = $2::int) and ($1::text is null or policy = $1::text)
order by id;

-- name: replay_decisions read
-- The newest $3 decisions of the rollouts of policy $1, or of rollout $2, which a policy made; oldest first.
select jsonb_build_object('id', id, 'at', at, 'rollout_id', rollout_id, 'device_id', device_id, 'verdict', verdict,
         'reason', reason, 'line', line, 'file', file, 'inputs', inputs)::text as decision
from (select * from decisions
      where rollout_id in (select id from rollouts
                           where ($2::int is null or id = $2::int) and ($1::text is null or policy = $1::text))
        and (inputs ? 'device' or inputs ? 'stats')
        -- the policy had said to offer, and it could not be done
        and reason is distinct from 'another update of the device is under way, or its chip changed'
      order by id desc limit $3::int) d
order by id;

-- name: replay_revision read
-- The revision of policy $1 whose id begins with $2; null: the one in force.
select r.revision, r.source
from policy_revisions r left join policies p on p.name = r.policy and p.revision = r.revision
where r.policy = $1::text and case when $2::text is null then p.revision is not null else r.revision like $2::text || '%' end
order by r.created_at desc limit 2;
