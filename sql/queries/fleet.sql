-- Counts for /metrics and GET /fleet/summary.

-- name: fleet_updates_entered read
-- How many updates entered each state since the database was made.
select state, coalesce(pg_sequence_last_value(('updates_entered_' || state)::regclass), 0) as count
from unnest(array['pending', 'offered', 'downloading', 'installing', 'succeeded', 'failed', 'rolled_back', 'rejected',
                  'timed_out', 'cancelled']) as state;

-- name: fleet_updates_under_way read
select state, (select count(*) from updates u where u.state = s.state
               and u.state in ('pending', 'offered', 'downloading', 'installing')) as count
from unnest(array['pending', 'offered', 'downloading', 'installing']) as s (state);

-- name: fleet_rollouts read
select state, count(r.id) as count
from unnest(array['running', 'paused', 'completed', 'aborted', 'rolling_back', 'rolled_back']) as state
left join rollouts r using (state) group by state order by state;

-- name: fleet_devices read anew
-- All about the devices that an account may see, in one pass. $1: account  $2: operator  $3: how many versions
-- What most devices fail comes first, and what is the same for all is computed once: half the time.
-- The image of a version is the one that most of these devices run by its hash, or the only one of that chip and version.
with kinds as materialized (
  select chip, firmware_version as version, elf_sha256, count(*)::int as n,
         count(*) filter (where status = 'online') as online,
         count(*) - count(last_seen) as never_seen,
         count(*) filter (where status = 'offline' and last_seen >= (select now() - interval '1 day')) as silent,
         count(*) filter (where telemetry->'battery' < '20' and telemetry->'battery' >= '0') as weak
  from devices where $2::boolean or user_id = $1::int group by chip, firmware_version, elf_sha256
), known as (
  select k.*, (select case when count(*) = 1 then min(f.id) end from firmware f
               where f.chip = k.chip and f.version = k.version
                 and (k.elf_sha256 is null or f.elf_sha256 !~ '[^0]' or f.elf_sha256 = k.elf_sha256)) as firmware_id
  from kinds k where version is not null
), versions as (
  select chip, version, (array_agg(firmware_id order by n desc) filter (where firmware_id is not null))[1] as firmware_id,
         sum(n)::int as devices, sum(online)::int as online
  from known group by chip, version order by devices desc, version desc, chip limit $3::int
)
select coalesce(sum(n), 0)::int as total, coalesce(sum(online), 0)::int as online,
       coalesce(sum(never_seen), 0)::int as never_seen, coalesce(sum(silent), 0)::int as silent,
       coalesce(sum(weak), 0)::int as weak,
       (select json_agg(v order by devices desc, version desc, chip) from versions v) as versions
from kinds;

-- Updates under way, the newest of a device that ended badly, and what ended within a day. The two differ in the index they
-- walk. $1: owner

-- name: fleet_updates read
select (select count(*)::int from updates
        where state in ('pending', 'offered', 'downloading', 'installing')) as under_way,
       (select count(*)::int from updates
        where state in ('failed', 'rolled_back', 'rejected', 'timed_out') and not overtaken) as failed,
       (select jsonb_object_agg(state, n) from
         (select state, count(*)::int as n from updates
          where state not in ('pending', 'offered', 'downloading', 'installing') and updated_at > now() - interval '1 day'
          group by state) s) as last_day;

-- name: fleet_updates_of_user read anew
select (select count(*)::int from devices d join updates u on u.device_id = d.id
        where d.user_id = $1::int and u.state in ('pending', 'offered', 'downloading', 'installing')) as under_way,
       (select count(*)::int from devices d join updates u on u.device_id = d.id
        where d.user_id = $1::int and u.state in ('failed', 'rolled_back', 'rejected', 'timed_out')
          and not u.overtaken) as failed,
       (select jsonb_object_agg(state, n) from
         (select u.state, count(*)::int as n from devices d join updates u on u.device_id = d.id
          where d.user_id = $1::int and u.state not in ('pending', 'offered', 'downloading', 'installing')
            and u.updated_at > now() - interval '1 day'
          group by u.state) s) as last_day;

-- name: fleet_rollouts_open read
-- Those that are not over, the newest first: at most $1.
select r.id, r.name, r.state, r.policy, r.revision, r.firmware, r.target, r.params, r.priority, r.plan, r.stage,
       r.stage_entered_at, r.reason, r.starts_at, r.created_at, r.updated_at, r.verdict,
       (select jsonb_object_agg(state, n) from
         (select state, sum(n) as n from rollout_counts c where c.rollout_id = r.id group by state) s) as counts
from rollouts r where r.state in ('running', 'paused', 'rolling_back') order by r.id desc limit $1::int;

-- name: fleet_policies_noted read
-- Policies that were reverted, or are held, by the server itself.
select name, note from policies where note is not null order by name limit 100;
