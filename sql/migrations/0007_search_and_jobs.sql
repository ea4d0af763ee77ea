-- Finding devices by what they are, what needs somebody's attention, and work on many devices at once.

-- Words in codes and names are found by their trigrams. Where the database has not got the extension, or does not let us
-- have it, each search reads all devices.
do $$
begin
  create extension if not exists pg_trgm;
  create index devices_words on devices using gin (lower(device_code || chr(10) || coalesce(name, '')) gin_trgm_ops);
exception when others then
  raise notice 'no index for searching devices: %', sqlerrm;
end $$;

-- Of an update that ended badly: a newer one of its device was made. So those that still matter are few, and indexed.
alter table updates add overtaken boolean not null default false;
update updates u set overtaken = true
where state in ('failed', 'rolled_back', 'rejected', 'timed_out')
  and exists (select from updates n where n.device_id = u.device_id and n.id > u.id);
create index updates_failed on updates (device_id)
  where state in ('failed', 'rolled_back', 'rejected', 'timed_out') and not overtaken;

-- One that was there already has ended, whatever its id: ids are given before updates are written.
-- Its plan is kept: it shall not be one that reads all of a table that was small when it was made.
create function overtake_updates() returns trigger language plpgsql set enable_seqscan = off as $$
begin
  update updates u set overtaken = true from came
  where u.device_id = came.device_id and (u.id < came.id or u.id not in (select id from came))
    and u.state in ('failed', 'rolled_back', 'rejected', 'timed_out') and not u.overtaken;
  return null;
end $$;
create trigger updates_came after insert on updates
  referencing new table as came for each statement execute function overtake_updates();

-- What ended lately.
create index updates_ended on updates (updated_at) include (state, device_id)
  where state not in ('pending', 'offered', 'downloading', 'installing');

-- The devices that `filter` names (scripts/lib/device_filter.lua makes it), of those that the account may see. It is
-- inlined, so a statement marked `read anew` is planned with the filter's values, and what is not asked for falls away:
-- the join too, or it becomes an inner one, which may begin at either side. A device has one such update at most.
create function devices_found(filter jsonb, account int, operator boolean) returns setof devices
language sql stable as $$
  select d.* from devices d
  left join updates u on u.device_id = d.id
    and case filter->>'update'
          when 'under_way' then u.state in ('pending', 'offered', 'downloading', 'installing')
          when 'failed' then u.state in ('failed', 'rolled_back', 'rejected', 'timed_out') and not u.overtaken
          else false end
  where (operator or d.user_id = account)
    and (filter->>'chip' is null or d.chip = filter->>'chip')
    and (filter->'tags' is null or d.tags @> (filter->'tags'))
    and (filter->>'status' is null or d.status = filter->>'status')
    and (filter->>'version' is null or d.firmware_version = filter->>'version')
    and (filter->>'words' is null
         or lower(d.device_code || chr(10) || coalesce(d.name, '')) like lower(filter->>'words')
         or d.id = (filter->>'id')::int)
    and (filter->>'silent_for' is null
         or d.last_seen is null or d.last_seen < now() - (filter->>'silent_for')::float8 * interval '1 second')
    and (filter->>'heard_within' is null
         or d.last_seen >= now() - (filter->>'heard_within')::float8 * interval '1 second')
    and (filter->'battery_below' is null
         or d.telemetry->'battery' >= '0' and d.telemetry->'battery' < (filter->'battery_below'))
    and (filter->'image' is null
         or case when d.elf_sha256 is null or filter->'image'->>'elf_sha256' is null
                 then d.firmware_version = filter->'image'->>'version' and d.chip = filter->'image'->>'chip'
                 else d.elf_sha256 = filter->'image'->>'elf_sha256' end)
    and (filter->>'update' is null or u.device_id is not null)
$$;

-- Work on many devices, done in parts by whichever instance comes first (scripts/tasks/jobs.lua). What a part did and how
-- far the job is by it are written in one transaction.
create table jobs (
  id          serial primary key,
  action      text not null check (action in ('tag', 'update', 'cancel', 'delete')),
  arguments   jsonb not null default '{}',        -- set and remove, or firmware_id
  filter      jsonb,                              -- of devices_found(); or
  device_ids  int[],                              -- in order
  state       text not null default 'running' check (state in ('running', 'done')),
  newest      int not null,                       -- devices registered later are none of its
  last        int not null default 0,             -- the last device that was looked at
  total       int not null,
  done        int not null default 0,
  changed     int not null default 0,
  problems    jsonb not null default '{}',        -- how many devices, by the reason why nothing was done with them
  created_by  int references users on delete set null,
  operator    boolean not null,                   -- whether the account was one when it asked for this
  address     text not null,                      -- of the client
  request_id  text not null,
  created_at  timestamptz not null default now(),
  updated_at  timestamptz not null default now(),
  check ((filter is null) <> (device_ids is null))
) with (fillfactor = 50);
create index jobs_running on jobs (updated_at) where state = 'running';
create index jobs_account on jobs (created_by, id);

-- In the audit log: the order as a whole, and (by the setting otad.actor of each part) what became of each device.
create trigger audit_created after insert on jobs for each row when (current_setting('otad.actor', true) <> '')
  execute function audit_row('job.create', 'job', 'id', 'action', 'action arguments filter total');
