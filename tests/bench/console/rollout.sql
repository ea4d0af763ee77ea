-- Rollout :rollout, which POST /rollouts has made and nobody begun, as it is after it ran for :hours hours, :age days ago: :reached of
-- its devices are in the stage with index :stage, of which :going have an update under way and :held are held. It is :state.
begin;
select setseed(0.3);

create temp table member on commit drop as
select m.device_id, m.bucket, row_number() over (order by m.bucket) as nth, count(*) over () as n, random() as dice, null::text as state,
       null::timestamptz as at, null::int as update_id
from rollout_devices m where m.rollout_id = :rollout and m.state = 'waiting';
update member set at = now() - :age * interval '1 day' + nth::float8 / n * :hours * interval '1 hour',
  state = case when nth > :reached * n then 'waiting' when nth > :reached * n - :held then 'held'
               when nth > :reached * n - :held - :going
                    and not exists (select from updates u where u.device_id = member.device_id
                                    and u.state in ('pending', 'offered', 'downloading', 'installing'))
               then (array['offered', 'downloading', 'installing'])[1 + floor(dice * 3)]
               when dice < 0.02 then 'failed' when dice < 0.03 then 'rolled_back' when dice < 0.04 then 'timed_out'
               when dice < 0.05 then 'rejected' when dice < 0.07 then 'skipped' else 'succeeded' end;

with made as (
  insert into updates (device_id, firmware_id, rollout_id, version, from_version, state, progress, reason, created_at, updated_at,
                       taken_at)
  select m.device_id, r.firmware_id, r.id, r.firmware->>'version', d.firmware_version, m.state,
         case m.state when 'downloading' then 40 when 'succeeded' then 100 else 0 end,
         case when m.state in ('failed', 'rolled_back', 'timed_out', 'rejected') then 'the device says so' end, m.at,
         least(m.at + interval '2 minutes', now()), case when m.state <> 'offered' then m.at + interval '3 seconds' end
  from member m join rollouts r on r.id = :rollout join devices d on d.id = m.device_id
  where m.state not in ('waiting', 'held', 'skipped') order by m.at
  on conflict (device_id) where state in ('pending', 'offered', 'downloading', 'installing') do nothing -- others run already
  returning id, device_id
)
update member m set update_id = made.id from made where made.device_id = m.device_id;
update member set state = 'waiting' where update_id is null and state not in ('held', 'skipped');

update rollout_devices m set in_stage = x.state <> 'waiting', state = x.state, update_id = x.update_id,
  attempts = (x.update_id is not null)::int, since = x.at, asked = 3,
  ask_at = case x.state when 'held' then now() + x.dice * interval '15 minutes' else 'infinity' end,
  verdict = case x.state when 'held' then 'hold' when 'skipped' then 'skip' when 'waiting' then null else 'offer' end,
  reason = case when x.state = 'held' then 'battery below 50 %' when x.state = 'skipped' then 'in the lab' end,
  line = case when x.state in ('held', 'skipped') then 14 end, revision = r.revision
from member x, rollouts r where m.rollout_id = :rollout and m.device_id = x.device_id and r.id = :rollout;

insert into decisions (at, rollout_id, device_id, verdict, reason, policy, revision, line, inputs)
select e.at, r.id, e.device_id, e.verdict, e.reason, r.policy, r.revision, e.line,
       jsonb_build_object('device', jsonb_build_object('id', d.id, 'chip', d.chip, 'tags', d.tags, 'telemetry', d.telemetry, 'online', true,
                                                       'firmware_version', d.firmware_version, 'attempts', 0))
from (select at, device_id, case when state = 'held' then 'hold' when state = 'skipped' then 'skip' else 'offer' end as verdict,
             case when state = 'held' then 'battery below 50 %' when state = 'skipped' then 'in the lab' end as reason,
             case when state in ('held', 'skipped') then 14 end as line
      from member where state <> 'waiting'
      union all
      select at - interval '10 minutes', device_id, 'hold', 'battery below 50 %', 14 from member where state <> 'waiting' and dice > 0.8
      union all
      select now() - :age * interval '1 day' + nth::float8 / 8 * :hours * interval '1 hour', null, 'advance', null, null
      from generate_series(1, 8) nth) e
cross join rollouts r left join devices d on d.id = e.device_id where r.id = :rollout order by e.at;

update rollouts set state = :'state', stage = :stage, starts_at = now() - :age * interval '1 day', created_at = now() - :age * interval '1 day',
  stage_entered_at = now() - interval '1 minute', updated_at = now() - :age * interval '1 day' + :hours * interval '1 hour',
  threshold = coalesce((select max(bucket) from member where state <> 'waiting'), -1), verdict = case :'state' when 'paused' then 'pause' end,
  reason = case :'state' when 'paused' then 'failures above 5 %' end
where id = :rollout;
commit;
