-- Rollouts: how an update spreads over the devices that a target names, as a policy decides.

-- Every version of a policy's source that was ever in force. PostgreSQL is the authority, not the files of an instance.
create table policy_revisions (
  policy      text not null,
  revision    text not null,                      -- SHA-256 of the source, lower-case hex
  parent      text,                               -- what was in force when this one was first saved
  source      text not null,
  author      text not null,                      -- an email address, or 'file'
  message     text,
  created_at  timestamptz not null default now(),
  primary key (policy, revision)
);
create table policies (
  name        text primary key check (name ~ '^[a-z][a-z0-9_]{0,49}$'),
  revision    text not null,
  updated_at  timestamptz not null default now(),
  note        text,                               -- why it was reverted by itself, or is held
  held        boolean not null default false,     -- its calls fail, and there is no revision before it: nothing is offered
  foreign key (name, revision) references policy_revisions (policy, revision)
);

-- Tells every instance (channel otad_policies, payload the name) that another revision is in force.
create function notify_policy() returns trigger language plpgsql as $$
begin
  perform pg_notify('otad_policies', new.name);
  return null;
end $$;
create trigger policies_changed after insert or update of revision on policies
  for each row execute function notify_policy();

-- One instance at a time drives all rollouts: the one that holds this lease. The fence grows whenever another one
-- takes it; what a driver writes names its fence, so that one that slept past the end of its lease writes nothing.
create table rollout_driver (
  one     boolean primary key default true check (one),
  owner   text,
  until   timestamptz not null default '-infinity',
  fence   bigint not null default 0,
  -- When devices could be heard: last, and since when without a gap of more than seconds. What they said while no instance
  -- was connected to the broker, or the database was away, is lost, so that silence counts only in between.
  heard_at        timestamptz not null default now(),
  heard_since     timestamptz not null default now(),
  unheard         float8 not null default 0       -- seconds of the gap that has just ended
);
insert into rollout_driver default values;

create table rollouts (
  id                serial primary key,
  name              varchar(100) not null,
  state             text not null default 'running' check (state in
                      ('running', 'paused', 'completed', 'aborted', 'rolling_back', 'rolled_back')),
  policy            text not null references policies,
  revision          text,                         -- whose plan is in force
  plan              jsonb not null,               -- what the policy declares: stages, rate, concurrency, ...
  firmware_id       int references firmware on delete set null,
  firmware          jsonb not null,               -- id, version, chip, project, size as they were
  target            jsonb not null default '{}',  -- chip, tags, versions, device_ids
  params            jsonb not null default '{}',
  priority          int not null default 0,
  starts_at         timestamptz not null default now(),
  stage             int not null default -1,      -- index in plan.stages; -1: not begun
  stage_entered_at  timestamptz,
  unheard           float8 not null default 0,    -- seconds since then in which devices could not be heard
  threshold         bigint not null default -1,   -- devices up to this bucket are in the stage
  resumed_at        timestamptz,                  -- when somebody last said to go on
  known_succeeded   int default 0,                -- how many had succeeded and failed by then (struct rollout_known);
  known_failed      int default 0,                -- null: the driver has yet to say
  turned            boolean not null default false, -- rolling back: what was under way is ended
  turned_to         int not null default 0,       -- the last device of which that is so
  credit            float8 not null default 0,    -- offers that the rate allows by now
  credited_at       timestamptz not null default now(),
  reason            text,                         -- of the last decision or request
  verdict           text,                         -- the last of the stage, and how often it was given in a row
  verdict_line      int,
  verdict_file      text,                         -- of that line, where it is not the policy's own
  verdict_count     int not null default 0,
  control           jsonb not null default '{}',  -- how updated devices do against those not yet updated
  control_at        timestamptz,
  created_by        int references users on delete set null,
  created_at        timestamptz not null default now(),
  updated_at        timestamptz not null default now()
) with (fillfactor = 50);
create index rollouts_driven on rollouts (id) where state in ('running', 'paused', 'rolling_back');
create index rollouts_aborted on rollouts (updated_at) where state = 'aborted';
create index rollouts_firmware on rollouts (firmware_id);
create index rollouts_policy on rollouts (policy);

-- Which devices a share takes: those whose bucket is small. The first 32 bits of SHA-256 of '<rollout>:<device>'.
-- The casts to text are written out for PostgreSQL to inline it.
create function rollout_bucket(rollout int, device int) returns bigint language sql immutable parallel safe as $$
  select ('x' || substr(encode(sha256((rollout::text || ':' || device::text)::bytea), 'hex'), 1, 8))::bit(32)::bigint
$$;

-- One row for each device that the target names, in exactly one state. After POST /rollouts has filled it, only the
-- driver writes here, so nobody waits for anybody.
create table rollout_devices (
  rollout_id  int not null,                       -- no foreign key: rollouts stay, and 100,000 checks take a second
  device_id   int not null references devices on delete cascade,
  bucket      bigint not null,
  grp         text not null default '',           -- value of the tag that the plan spreads by
  state       text not null check (state in
                ('waiting', 'held', 'pending', 'offered', 'downloading', 'installing', 'succeeded', 'vanished', 'failed',
                 'rolled_back', 'rejected', 'timed_out', 'cancelled', 'skipped', 'excluded')),
  in_stage    boolean not null default false,
  asleep      boolean not null default false,     -- its offer waits, or waited in vain, for a device that is offline;
                                                  -- of one to be tried again: it was held when that was due
  watched_until timestamptz,                      -- of one that succeeded: falling silent before makes it vanished
  update_id   int,                                -- the newest
  attempts    int not null default 0,
  retry_after float8,                             -- seconds until it is asked again if this attempt fails; null: not again
  ask_at      timestamptz not null default 'infinity',
  verdict     text,                               -- the last of admit
  reason      text,
  line        int,
  file        text,                               -- of that line, where it is not the policy's own
  revision    text,
  asked       int not null default 0,             -- how often that verdict was given in a row
  since       timestamptz not null default now(), -- first time of these
  primary key (rollout_id, device_id)
) with (fillfactor = 70);
-- Whom to ask next, and who comes into the stage next.
create index rollout_devices_ask on rollout_devices (rollout_id, grp, ask_at, bucket) where ask_at < 'infinity';
create index rollout_devices_outside on rollout_devices (rollout_id, bucket) where not in_stage;
create index rollout_devices_device on rollout_devices (device_id);

-- How many rows of rollout_devices there are of each kind: a look at a rollout costs the same for 10 devices and 100,000.
create table rollout_counts (
  rollout_id  int not null references rollouts on delete cascade,
  grp         text not null,
  state       text not null,
  in_stage    boolean not null,
  asleep      boolean not null,
  retry       boolean not null,                   -- it ended badly and will be asked again
  n           int not null,
  primary key (rollout_id, grp, state, in_stage, asleep, retry)
) with (fillfactor = 50);

create function count_rollout_devices() returns trigger language plpgsql as $$
begin
  if tg_op = 'INSERT' then
    insert into rollout_counts as c
    select rollout_id, grp, state, in_stage, asleep, retry, n from
      (select rollout_id, grp, state, in_stage, asleep,
              state in ('failed', 'timed_out') and ask_at < 'infinity' as retry, count(*)::int as n
       from came group by 1, 2, 3, 4, 5, 6) d
    on conflict (rollout_id, grp, state, in_stage, asleep, retry) do update set n = c.n + excluded.n;
  elsif tg_op = 'DELETE' then
    update rollout_counts c set n = c.n - d.n
    from (select rollout_id, grp, state, in_stage, asleep,
                 state in ('failed', 'timed_out') and ask_at < 'infinity' as retry, count(*)::int as n
          from went group by 1, 2, 3, 4, 5, 6) d
    where (c.rollout_id, c.grp, c.state, c.in_stage, c.asleep, c.retry)
        = (d.rollout_id, d.grp, d.state, d.in_stage, d.asleep, d.retry);
  else
    insert into rollout_counts as c
    select rollout_id, grp, state, in_stage, asleep, retry, n from
      (select rollout_id, grp, state, in_stage, asleep, retry, sum(d)::int as n
       from (select rollout_id, grp, state, in_stage, asleep,
                    state in ('failed', 'timed_out') and ask_at < 'infinity' as retry, 1 as d from came
             union all
             select rollout_id, grp, state, in_stage, asleep,
                    state in ('failed', 'timed_out') and ask_at < 'infinity', -1 from went) both_sides
       group by 1, 2, 3, 4, 5, 6 having sum(d) <> 0) changed
    on conflict (rollout_id, grp, state, in_stage, asleep, retry) do update set n = c.n + excluded.n;
  end if;
  return null;
end $$;
create trigger rollout_devices_came after insert on rollout_devices
  referencing new table as came for each statement execute function count_rollout_devices();
create trigger rollout_devices_changed after update on rollout_devices
  referencing new table as came old table as went for each statement execute function count_rollout_devices();
create trigger rollout_devices_went after delete on rollout_devices
  referencing old table as went for each statement execute function count_rollout_devices();

-- What happened to updates of rollouts, and to devices that a target may come to name or name no longer, until the
-- drivers have taken it in. Queues: a heartbeat or a report never waits for a rollout.
create table rollout_reports (
  id          bigint generated always as identity primary key,
  rollout_id  int not null,
  update_id   int not null
);
create index rollout_reports_rollout on rollout_reports (rollout_id, id);
create function report_update() returns trigger language plpgsql as $$
begin
  insert into rollout_reports (rollout_id, update_id)
  select n.rollout_id, n.id from came n join went o using (id)
  where n.rollout_id is not null and n.state <> o.state;
  return null;
end $$;
create trigger updates_changed after update on updates
  referencing new table as came old table as went for each statement execute function report_update();

create table devices_changed (
  id          bigint generated always as identity primary key,
  device_id   int not null
);
create function note_device() returns trigger language plpgsql as $$
begin
  if exists (select from rollouts where state in ('running', 'paused', 'rolling_back')) then
    insert into devices_changed (device_id) values (new.id);
  end if;
  return null;
end $$;
create trigger devices_came after insert on devices for each row execute function note_device();
create trigger devices_moved after update on devices for each row
  when (old.tags is distinct from new.tags or old.chip is distinct from new.chip
        or old.chip_reported is distinct from new.chip_reported
        or old.firmware_version is distinct from new.firmware_version or old.elf_sha256 is distinct from new.elf_sha256
        or old.status = 'offline' and new.status = 'online')
  execute function note_device();

-- Every change of verdict on a device, and on a stage (device_id null), with what it was based on.
create table decisions (
  id          bigint generated always as identity,
  at          timestamptz not null default now(),
  rollout_id  int not null,
  device_id   int,
  verdict     text not null,
  reason      text,
  policy      text not null,
  revision    text,
  line        int,
  file        text,                               -- of that line, where it is not the policy's own
  inputs      jsonb
) partition by range (at);
create index decisions_rollout on decisions (rollout_id, id);
create index decisions_device on decisions (device_id, id) where device_id is not null;

alter table updates
  add column action text not null default 'install' check (action in ('install', 'rollback')),
  add column from_elf_sha256 text;                -- of the image the device ran when it was offered this one
create index updates_rollout on updates (rollout_id, id) where rollout_id is not null;
create index updates_rollout_under_way on updates (rollout_id, updated_at)
  where rollout_id is not null and state in ('pending', 'offered', 'downloading', 'installing');

-- '1.10.2-rc1' -> {1,10,2}; null for what does not begin like a version. Arrays compare as versions do.
create function version_rank(version text) returns int[] language sql immutable parallel safe as $$
  select string_to_array(substring(version from '^v?(\d{1,9}(?:\.\d{1,9}){0,5})'), '.')::int[]
$$;

-- Whether `target` of a rollout names the device. device_ids are looked at apart: there may be thousands.
create function rollout_targets(target jsonb, d devices) returns boolean language sql immutable as $$
  select (target->>'chip' is null or d.chip = target->>'chip')
     and (target->'tags' is null or d.tags @> (target->'tags'))
     and (target->'versions' is null or coalesce(target->'versions' ? d.firmware_version, false))
$$;

-- Why a device of this kind, although targeted, cannot have the image now: words; or null.
create function rollout_exclusion(plan jsonb, f firmware, chip text, chip_reported text, version text, elf_sha256 text)
returns text language sql stable as $$
  select case
    when coalesce(chip_reported, chip) is null then 'has not told its chip'
    when not chip_fits(f.chip, chip, chip_reported)
      then 'is an ' || case when chip <> f.chip then chip else chip_reported end || ', the firmware is for ' || f.chip
    when elf_sha256 = f.elf_sha256 and f.elf_sha256 ~ '[^0]' then 'runs this image already'
    when jsonb_array_length(plan->'from') > 0 and not exists
      (select from jsonb_array_elements_text(plan->'from') as wanted (pattern)
       where version like replace(replace(pattern, '_', '\_'), '*', '%'))
      then 'runs ' || coalesce(version, 'an unknown version') || ', which the policy does not update from'
    when not coalesce((plan->>'downgrade')::boolean, false) and version_rank(version) > version_rank(f.version)
      then 'runs ' || version || ', which is newer'
    when f.secure_version < (select min(o.secure_version) from firmware o
                             where o.chip = coalesce(rollout_exclusion.chip_reported, rollout_exclusion.chip)
                               and case when rollout_exclusion.elf_sha256 is null
                                        then o.version = rollout_exclusion.version
                                        else o.elf_sha256 = rollout_exclusion.elf_sha256 end)
      then 'could not boot it: its secure version is higher'
  end
$$;
