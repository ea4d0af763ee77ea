-- Counts for /metrics.

-- name: fleet_devices read
select status, count(*) as count from devices group by status;

-- name: fleet_updates read
select state, count(*) as count from updates group by state;
