-- What devices told, by time. Times of parameters are Unix seconds.

-- name: logs_of_device read
-- $2: since, or null  $3, $4: before this time (microseconds) and id, or null  $5: how many
select at, level, message, id, (extract(epoch from at) * 1000000)::bigint as us
from device_logs
where device_id = $1::int
  and at >= coalesce(to_timestamp($2::float8), '-infinity')
  and (at, id) < (coalesce(timestamptz 'epoch' + $3::bigint * interval '1 microsecond', 'infinity'),
                  coalesce($4::bigint, 9223372036854775807))
order by at desc, id desc limit $5::int;

-- name: telemetry_of_device read
-- $2: name of the field  $3, $4: from, to  $5: width of a point in seconds  $6: an instant where one begins
-- $7: whether points consist of whole hours: then those that are rolled up are read, up to the first that is to be done
-- anew, and only the rest row by row
-- The first point may begin before `from`; it tells what is since then.
with asked as (
  select to_timestamp($3::float8) as since, to_timestamp($4::float8) as upto
), whole as (
  select since, upto, least(date_trunc('hour', since + interval '1 hour' - interval '1 microsecond'), upto) as first,
         case when $7::boolean then coalesce(
           (select least(until, date_trunc('hour', upto), (select min(at) from telemetry_late where device_id = $1::int))
            from telemetry_ranges where first_id = telemetry_range($1::int)), '-infinity') else '-infinity' end as last
  from asked
), hours as (
  select since, upto, first, greatest(first, last) as last from whole
)
select greatest(date_bin($5::float8 * interval '1 second', at, to_timestamp($6::float8)), (select since from hours)) as at,
       min((field ->> 1)::float8) as min,
       sum((field ->> 3)::float8) / nullif(sum((field ->> 0)::float8), 0) as avg,
       max((field ->> 2)::float8) as max
from (select at, fields -> $2::text as field
      from (select at, fields from telemetry_hours
            where device_id = $1::int and at >= (select first from hours) and at < (select last from hours)
            union all
            select at, fields from telemetry
            where device_id = $1::int and at >= (select since from hours) and at < (select first from hours)
            union all
            select at, fields from telemetry
            where device_id = $1::int and at >= (select last from hours) and at < (select upto from hours)) rows
      where fields ? $2::text
      offset 0) told -- sorted without the other fields
group by 1 order by 1;

-- name: telemetry_names read
-- Of a device whose hours are still being made, what the last day tells.
select distinct name
from (select fields from telemetry_hours where device_id = $1::int
      union all
      select fields from telemetry
      where device_id = $1::int
        and at >= greatest(now() - interval '1 day',
                           (select until from telemetry_ranges where first_id = telemetry_range($1::int)))
      offset 0) told -- few rows: without this the planner sees many names, and starts processes
cross join lateral jsonb_object_keys(fields) as name
order by name limit 1000;

-- name: telemetry_ranges_add
-- The ranges of devices that have none yet. They begin with their first device, or where the history does.
with recursive found (first_id) as (
  select telemetry_range(min(id)) from devices
  union all
  select (select telemetry_range(min(id)) from devices where id >= first_id + 100) from found where first_id is not null
)
insert into telemetry_ranges (first_id, until)
select first_id, greatest(
         (select date_trunc('hour', min(created_at)) from devices where id >= first_id and id < first_id + 100),
         (select min(right(c.relname, 8))::date from pg_inherits i join pg_class c on c.oid = i.inhrelid
          where i.inhparent = 'telemetry'::regclass))
from found where first_id is not null and first_id not in (select first_id from telemetry_ranges)
on conflict do nothing;

-- name: telemetry_roll
-- Rolls up the next hours of a range of devices that is due, and does hours anew that got rows late. No row: nothing is
-- due, or others have it in hand. $1: seconds that a row of `telemetry` may cover  $2: how many hours at once
-- An hour is due 5 minutes and a row's length after it ended (rows that are written 2 minutes after it stand in
-- telemetry_late), and then at a time of the range's own, so that ranges are spread evenly over the hour: multiples of
-- the golden ratio. A range that is ahead of the clock, which was set back, is taken back.
with job as (
  select first_id, late, case when until > now() then closed else until end as since,
         case when until > now() then closed else greatest(until, least(until + $2::int * interval '1 hour', closed)) end as upto
  from telemetry_ranges r
  cross join lateral (select date_trunc('hour', now() - ($1::float8 + 300) * interval '1 second'
    - (first_id / 100 * 0.6180339887 % 1)::float8 * interval '50 minutes') as closed) clock
  cross join lateral (select min(l.at) as late from telemetry_late l
    where l.device_id >= r.first_id and l.device_id < r.first_id + 100 and l.at < r.until) queue
  where until < closed or until > now() or late is not null
  order by random() limit 1 for update of r skip locked -- any: one that fails stops no other
), late as ( -- locked: what others have done meanwhile is gone, and is not done by what is seen here, which is older
  select l.id, l.device_id, l.at from telemetry_late l join job on l.device_id >= first_id and l.device_id < first_id + 100
  where l.at < upto and (l.at >= since or l.at < job.late + $2::int * interval '1 hour')
  for update of l
), done as (
  delete from telemetry_late l using late where l.id = late.id
), spans as (
  select d.id as device_id, since, upto from devices d join job on d.id >= first_id and d.id < first_id + 100
  where since < upto
  union all
  select distinct device_id, at, at + interval '1 hour' from late join job on at < since
), sums as (
  select s.device_id, date_trunc('hour', t.at) as at, f.key as name, sum((f.value ->> 0)::float8) as n,
         min((f.value ->> 1)::float8) as low, max((f.value ->> 2)::float8) as high, sum((f.value ->> 3)::float8) as total
  from spans s
  cross join lateral (select at, fields from telemetry
                      where device_id = s.device_id and at >= s.since and at < s.upto offset 0) t
  cross join lateral jsonb_each(t.fields) f
  group by 1, 2, 3
), written as (
  insert into telemetry_hours (device_id, at, fields)
  select device_id, at, jsonb_object_agg(name, jsonb_build_array(n, low, high, total)) from sums
  group by device_id, at order by device_id, at
  on conflict (device_id, at) do update set fields = excluded.fields
)
update telemetry_ranges r set until = job.upto from job where r.first_id = job.first_id
returning r.first_id, r.until;
