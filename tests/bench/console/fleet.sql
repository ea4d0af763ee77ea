-- What :devices devices from :first on look like after months: chips, versions, owners, tags, what they tell, and their
-- history. Firmware is there by then. :rich of them have the logs, events and telemetry of a device that somebody looks at.
set client_min_messages = warning;
select setseed(0.42);

-- The days that history is kept of.
do $$
declare
  kind text;
  day date;
begin
  foreach kind in array array['decisions', 'device_logs', 'device_events', 'telemetry', 'telemetry_hours'] loop
    for day in select generate_series(current_date - case kind when 'decisions' then 89 else 29 end, current_date,
                                      interval '1 day')::date loop
      execute format('create table if not exists %I partition of %I for values from (%L) to (%L)',
                     kind || '_' || to_char(day, 'YYYYMMDD'), kind, day, day + 1);
    end loop;
  end loop;
end $$;

insert into users (email, password, role, created_at, last_login)
select 'person-' || n || '@bench.example', '-', case when n % 12 = 0 then 'operator' else 'user' end,
       now() - n * interval '5 days', case when n % 5 > 0 then now() - n * interval '1 hour' end
from generate_series(1, :accounts) n;

create temp table people as
select id, email, row_number() over (order by id) - 1 as nth from users where email like 'person-%';
create temp table images as
select chip, version, elf_sha256, row_number() over (partition by chip order by version_rank(version) desc) as age from firmware
where project = 'bench';

create temp table drawn as
select id, (id - :first) % :accounts as owner, random() as chip, random() as age, random() as seen, random() as power,
       random() as dice
from devices where id >= :first and id < :first + :devices;
update devices d set
  user_id = p.id, chip = i.chip, chip_reported = case when x.seen > 0.03 then i.chip end,
  firmware_version = case when x.seen > 0.03 then i.version end,
  elf_sha256 = case when x.seen > 0.03 then i.elf_sha256 end,
  name = case when x.dice < 0.7 then 'Sensor ' || x.id || ' in hall ' || x.id % 50 end,
  tags = jsonb_build_object('site', 'hall-' || x.id % 50, 'ring', (x.id % 4)::text)
         || case when x.dice < 0.3 then jsonb_build_object('customer', 'c' || x.id % 700) else '{}' end,
  created_at = now() - (0.01 + x.dice * 300) * interval '1 day',
  status = case when x.seen > 0.15 then 'online' else 'offline' end,
  last_seen = case when x.seen > 0.15 then now() - x.dice * interval '1 minute'
                   when x.seen > 0.03 then now() - x.dice ^ 3 * interval '40 days' end,
  telemetry = case when x.seen <= 0.03 then '{}' else jsonb_build_object(
    'rssi', -50 - (x.dice * 40)::int, 'heap', 120000 + (x.age * 80000)::int, 'uptime', (x.dice * 2000000)::int,
    'temperature', round((15 + x.power * 20)::numeric, 1), 'reset_reason', 'power_on')
    || case when x.power < 0.6 then jsonb_build_object('battery', (100 - x.power * 140)::int) else '{}' end end
from drawn x
join people p on p.nth = x.owner
join images i on i.age = 1 + floor((x.age ^ 1.7) * 5)
  and i.chip = case when x.chip < 0.6 then 'esp32' when x.chip < 0.8 then 'esp32s3' when x.chip < 0.9 then 'esp32c3'
                    when x.chip < 0.96 then 'esp32c6' else 'esp32s2' end
where d.id = x.id;

-- Two updates of each device that belong to no rollout, the last of some a failure.
insert into updates (device_id, firmware_id, version, from_version, state, progress, reason, created_at, updated_at, taken_at)
select d.id, f.id, f.version, '1.0.0',
       case when x.dice > 0.05 then 'succeeded' when x.dice > 0.03 then 'failed' when x.dice > 0.02 then 'rolled_back'
            when x.dice > 0.01 then 'timed_out' else 'rejected' end,
       100, case when x.dice < 0.05 then 'the download broke off' end, at, at + interval '90 seconds', at + interval '5 seconds'
from generate_series(1, 2) nth
cross join drawn x join devices d using (id)
join firmware f on f.chip = d.chip and f.version = d.firmware_version
cross join lateral (select now() - (60 - nth * 12 + x.age * 10) * interval '1 day' as at) t
order by nth, at;

insert into device_events (device_id, at, kind, data, nth)
select d.id, now() - (nth * 6 + x.dice) * interval '1 day', (array['offline', 'online', 'restart'])[nth],
       case nth when 3 then '{"reset_reason": "brownout"}' else '{}' end::jsonb, 1
from generate_series(1, 3) nth cross join drawn x join devices d using (id) where x.seen > 0.03;
insert into device_events (device_id, at, kind, data, nth)
select id, now() - nth * interval '8 minutes', (array['offline', 'online'])[1 + nth % 2], '{}', 1
from generate_series(1, 5000) nth, devices where id >= :first and id < :first + :rich;

insert into device_logs (device_id, at, level, message)
select d.id, now() - nth * interval '1 hour' * x.dice, 'info', 'measured ' || round((x.dice * nth)::numeric, 3) || ' in the last hour'
from generate_series(1, 20) nth cross join drawn x join devices d using (id) where d.id < :first + 2000;
insert into device_logs (device_id, at, level, message)
select id, now() - nth * interval '2 minutes', (array['debug', 'info', 'info', 'warn', 'error'])[1 + nth % 5],
       'wifi: roamed to the access point ' || nth % 7 || ' after ' || nth || ' s, rssi -' || 50 + nth % 40
from generate_series(1, 20000) nth, devices where id >= :first and id < :first + :rich;

-- A row a minute, as devices on mains power tell; and rolled up, before tasks/telemetry.lua sees it.
begin;
insert into telemetry (device_id, at, fields)
select d.id, t, jsonb_build_object('rssi', jsonb_build_array(1, v, v, v), 'heap', jsonb_build_array(1, 150000 + v, 150000 + v, 150000 + v),
                                   'temperature', jsonb_build_array(1, 20 + v, 20 + v, 20 + v),
                                   'uptime', jsonb_build_array(1, 3600 + v, 3600 + v, 3600 + v))
from devices d
cross join generate_series(date_trunc('minute', now()) - interval '29 days', now(), interval '1 minute') t
cross join lateral (select round((10 * sin(extract(epoch from t) / 7000))::numeric, 2) as v) w
where d.id >= :first and d.id < :first + :rich;

insert into telemetry_hours (device_id, at, fields)
select device_id, at, jsonb_object_agg(key, jsonb_build_array(n, low, high, total))
from (select device_id, date_trunc('hour', at) as at, key, sum((value->>0)::float8) as n, min((value->>1)::float8) as low,
             max((value->>2)::float8) as high, sum((value->>3)::float8) as total
      from telemetry, jsonb_each(fields) where at < date_trunc('hour', now()) group by 1, 2, 3) sums
group by device_id, at;
insert into telemetry_ranges (first_id, until) select distinct telemetry_range(id), date_trunc('hour', now()) from devices
on conflict (first_id) do update set until = excluded.until;
delete from telemetry_late;
commit;

insert into audit (at, user_id, email, via, address, request_id, action, kind, target_id, target_name, before, after)
select now() - (:entries - n) * interval '78 seconds', p.id, p.email, 'http', '192.0.2.' || n % 200, md5(n::text),
       action, case action when 'session.login' then 'user' else 'device' end,
       case action when 'session.login' then p.id else :first + n % :devices end::text,
       case action when 'session.login' then p.email else 'bench-' || 1 + n % :devices end,
       case action when 'device.change' then '{"tags": {"site": "hall-1"}}'::jsonb end,
       case action when 'device.change' then '{"tags": {"site": "hall-2", "ring": "1"}}'::jsonb end
from generate_series(1, :entries) n
cross join lateral (select (array['device.change', 'session.login', 'update.create', 'device.change', 'device.credentials'])
                           [1 + n % 5] as action) a
join people p on p.nth = n * 7919 % :accounts
order by n;

insert into jobs (action, arguments, filter, state, newest, last, total, done, changed, problems, created_by, operator, address,
                  request_id, created_at, updated_at)
select 'tag', '{"set": {"ring": "2"}}', '{"tags": {"site": "hall-2"}}', 'done', :first + :devices, :first + :devices, 2000, 2000, 1990,
       '{"the device would have too many tags": 10}', p.id, true, '192.0.2.1', md5(n::text), at, at + interval '20 seconds'
from generate_series(1, 200) n join people p on p.nth = n % :accounts
cross join lateral (select now() - n * interval '3 hours' as at) t;

insert into policy_revisions (policy, revision, parent, source, author, message, created_at)
select p.name, encode(sha256(convert_to(p.name || nth, 'UTF8')), 'hex'), null, r.source || chr(10) || '-- ' || nth, 'person-1@bench.example',
       'Tried ' || nth, now() - nth * interval '1 day'
from policies p join policy_revisions r on r.policy = p.name and r.revision = p.revision, generate_series(1, 60) nth;

vacuum analyze;
