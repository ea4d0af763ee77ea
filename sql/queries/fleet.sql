-- Counts for /metrics.

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
