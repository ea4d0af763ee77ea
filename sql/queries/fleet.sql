-- Counts for /metrics.

-- name: fleet_updates read
select state, count(*) as count from updates group by state;
