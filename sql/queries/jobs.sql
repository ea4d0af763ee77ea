-- Work on many devices: scripts/lib/job.lua. Locks are taken in the order of updates.sql; the job's own row comes first.

-- name: job_account
-- Locks account $1, so that of two requests at once the second counts what the first made. How many of its jobs run is
-- looked at by the next statement, which sees what was committed meanwhile.
select id from users where id = $1::int for no key update;

-- name: jobs_of_account read
select count(*)::int as running from jobs where created_by = $1::int and state = 'running';

-- name: job_create
-- $1: account  $2: operator  $3: action  $4: arguments  $5: filter, or null  $6: ids in order, or null  $7: the newest device
-- $8: how many  $9: address  $10: request
insert into jobs (created_by, operator, action, arguments, filter, device_ids, newest, total, address, request_id)
values ($1::int, $2::boolean, $3::text, $4::jsonb, $5::jsonb,
        case when $6::jsonb is not null then array(select jsonb_array_elements_text($6::jsonb)::int) end,
        $7::int, $8::int, $9::text, $10::text)
returning id, action, state, total, done, changed, problems, created_by, created_at, updated_at;

-- name: job_by_id read
-- $2: account  $3: operator
select id, action, state, total, done, changed, problems, created_by, created_at, updated_at
from jobs where id = $1::int and (created_by = $2::int or $3::boolean);

-- name: jobs_list read
-- $1: before this id  $2: how many  $3: account  $4: operator
select id, action, state, total, done, changed, problems, created_by, created_at, updated_at
from jobs where id < $1::int and (created_by = $3::int or $4::boolean)
order by id desc limit $2::int;

-- name: job_claim
-- The job whose turn it is, and what its account may do by now; nobody else has it until the transaction ends.
select j.id, j.action, j.arguments, j.filter, j.newest, j.last, j.total, j.done, j.problems, j.created_by as account,
       j.address, j.request_id, j.operator and u.role = 'operator' as operator
from jobs j left join users u on u.id = j.created_by
where j.state = 'running' order by j.updated_at, j.id limit 1 for update of j skip locked;

-- name: job_part_found read anew
-- The devices of a part: how many were looked at, the last of these, and which of them the account may see.
-- $1: filter  $2: account  $3: operator  $4: after this id  $5: up to this id  $6: how many
with part as (
  select d.id from devices_found($1::jsonb, $2::int, $3::boolean) d
  where d.id > $4::int and d.id <= $5::int order by d.id limit $6::int
)
select count(*)::int as n, max(id) as last, coalesce(json_agg(id order by id), '[]') as ids from part;

-- name: job_part_listed read
-- $1: job  $2: account  $3: operator  $4: after this id  $5: how many
with part as (
  select w.id from jobs j, unnest(j.device_ids) as w (id)
  where j.id = $1::int and w.id > $4::int order by w.id limit $5::int
)
select count(*)::int as n, max(part.id) as last, coalesce(json_agg(d.id order by d.id) filter (where d.id is not null), '[]') as ids
from part left join devices d on d.id = part.id and (d.user_id = $2::int or $3::boolean);

-- name: job_advance
-- $2: the last device that was looked at, or null  $3: how many were  $4: how many were changed  $5: problems
-- $6: whether that was all. How many there would be was counted at the start; devices have come and gone since.
update jobs
set last = coalesce($2::int, last), done = done + $3::int, changed = changed + $4::int, problems = $5::jsonb,
    state = case when $6::boolean then 'done' else state end,
    device_ids = case when $6::boolean and device_ids is not null then '{}' else device_ids end,
    total = case when $6::boolean then done + $3::int else greatest(total, done + $3::int) end, updated_at = now()
where id = $1::int;

-- name: job_wait
-- What failed has its turn after all others.
update jobs set updated_at = now() where id = $1::int and state = 'running';

-- name: jobs_forget
-- Those that ended more than $1 seconds ago.
delete from jobs where state = 'done' and updated_at < now() - $1::float8 * interval '1 second';

-- name: job_tag
-- Answers with the devices that were changed, and how many would have more than $4 tags.
-- $1: devices  $2: tags to set  $3: names of tags to remove
with held as (
  select id, tags from devices where id = any (array(select jsonb_array_elements_text($1::jsonb)::int))
  order by id for update
), wanted as (
  select id, tags, (tags - array(select jsonb_array_elements_text($3::jsonb))) || $2::jsonb as new from held
), judged as (
  select *, (select count(*) from jsonb_object_keys(new)) > $4::int as too_many from wanted where new <> tags
), written as (
  update devices d set tags = judged.new from judged where d.id = judged.id and not judged.too_many returning d.id
)
select (select coalesce(json_agg(id), '[]') from written) as ids, (select count(*)::int from judged where too_many) as too_many;

-- name: job_update_devices read
-- As update_device, of devices $1, and whether they have an update under way.
select d.id, d.chip, d.chip_reported, d.elf_sha256, d.firmware_version,
       (select min(f.secure_version) from firmware f
        where f.chip = d.chip and case when d.elf_sha256 is not null then f.elf_sha256 = d.elf_sha256
                                       else f.version = d.firmware_version end) as secure_version,
       exists (select from updates u where u.device_id = d.id
               and u.state in ('pending', 'offered', 'downloading', 'installing')) as under_way
from devices d where d.id = any (array(select jsonb_array_elements_text($1::jsonb)::int)) order by d.id;

-- name: job_cancel
-- Ends the updates under way of devices $1. $2: reason
with held as (
  select id from updates
  where device_id = any (array(select jsonb_array_elements_text($1::jsonb)::int))
    and state in ('pending', 'offered', 'downloading', 'installing')
  order by id for update
), ended as (
  update updates u set state = 'cancelled', reason = $2::text, updated_at = now()
  from held where u.id = held.id
  returning u.id, u.device_id
), standing as (
  select o.device_id from offers o join ended on o.device_id = ended.device_id and o.update_id = ended.id
  order by o.device_id for update of o
), cleared as (
  update offers o
  set update_id = null, payload = '', expires_at = null, changed_at = now(), published_at = null
  from standing where o.device_id = standing.device_id
)
select id, device_id from ended;

-- name: job_delete
-- As device_delete, of devices $1.
with owned as (
  select id from devices where id = any (array(select jsonb_array_elements_text($1::jsonb)::int)) order by id for update
), held as (
  select u.id from updates u join owned on u.device_id = owned.id
  where u.state in ('pending', 'offered', 'downloading', 'installing') order by u.id for update of u
), gone as (
  delete from devices d using owned where d.id = owned.id and (select count(*) from held) >= 0 returning d.id
), standing as (
  select o.device_id from offers o join gone on o.device_id = gone.id
  where o.payload <> '' order by o.device_id for update of o
), cleared as (
  update offers o
  set update_id = null, payload = '', expires_at = null, changed_at = now(), published_at = null
  from standing where o.device_id = standing.device_id
)
select id from gone;
