-- What happened to a device, from all tables that know something of it.

-- name: timeline_of_device read
-- $1: device  $2: before this time (microseconds), or null; of the same time before  $3: this source  $4: and id
-- $5: how many. Each source reads its own newest rows before that; another one is one more branch with a number of its own.
with start as (
  select coalesce(timestamptz 'epoch' + $2::bigint * interval '1 microsecond', 'infinity') as at,
         coalesce($3::int, 0) as source, coalesce($4::bigint, 0) as id
)
select t.at, (extract(epoch from t.at) * 1000000)::bigint as us, t.source, t.id, t.kind, t.data, t.nth
from ((select d.created_at as at, 1 as source, d.id::bigint as id, 'registered' as kind, '{}'::jsonb as data,
              null::smallint as nth
       from devices d, start s
       where d.id = $1::int and (d.created_at, 1, d.id) < (s.at, s.source, s.id))
      union all
      (select u.created_at, 2, u.id, 'update', jsonb_strip_nulls(jsonb_build_object(
         'update_id', u.id, 'firmware_id', u.firmware_id, 'rollout_id', u.rollout_id, 'action', u.action,
         'version', u.version, 'from_version', u.from_version,
         'state', case when u.updated_at = u.created_at then u.state else 'pending' end,
         'reason', case when u.updated_at = u.created_at then u.reason end)), null
       from updates u, start s
       where u.device_id = $1::int and (u.created_at, 2, u.id) < (s.at, s.source, s.id)
       order by u.created_at desc, u.id desc limit $5::int)
      union all
      (select e.at, 3, e.id, 'decision', jsonb_strip_nulls(jsonb_build_object(
         'decision_id', e.id, 'rollout_id', e.rollout_id, 'verdict', e.verdict, 'reason', e.reason, 'policy', e.policy,
         'revision', e.revision, 'line', e.line, 'file', e.file)), null
       from decisions e
       where e.device_id = $1::int and e.at <= (select at from start)
         and (e.at, 3, e.id) < (select at, source, id from start)
       order by e.at desc, e.id desc limit $5::int)
      union all
      (select e.at, 4, e.id, e.kind, e.data, e.nth
       from device_events e
       where e.device_id = $1::int and e.at <= (select at from start)
         and (e.at, 4, e.id) < (select at, source, id from start)
       order by e.at desc, e.id desc limit $5::int)
      union all
      -- That it was registered, and what updates it had, is told above.
      (select e.at, 5, e.id, 'person', jsonb_strip_nulls(jsonb_build_object(
         'audit_id', e.id, 'user', e.email, 'user_id', e.user_id, 'via', e.via, 'action', e.action,
         'before', e.before, 'after', e.after)), null
       from audit e
       where e.target_id = $1::int::text and e.kind = 'device'
         and e.action not in ('device.create', 'update.create', 'update.cancel') and e.at <= (select at from start)
         and (e.at, 5, e.id) < (select at, source, id from start)
       order by e.at desc, e.id desc limit $5::int)) t
order by t.at desc, t.source desc, t.id desc limit $5::int;
