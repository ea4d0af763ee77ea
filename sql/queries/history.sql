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
-- The first point may begin before `from`; it tells what is since then.
select greatest(date_bin($5::float8 * interval '1 second', at, to_timestamp($6::float8)),
                to_timestamp($3::float8)) as at,
       min((field ->> 1)::float8) as min,
       sum((field ->> 3)::float8) / nullif(sum((field ->> 0)::float8), 0) as avg,
       max((field ->> 2)::float8) as max
from (select at, fields -> $2::text as field from telemetry
      where device_id = $1::int and at >= to_timestamp($3::float8) and at < to_timestamp($4::float8)
        and fields ? $2::text
      offset 0) told -- sorted without the other fields
group by 1 order by 1;
