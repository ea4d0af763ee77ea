-- The audit log: what people changed, when and from where. Triggers write it in the transaction of the change, so that
-- no change is without its entry and no entry without its change.
--
-- Who acts is told by the setting otad.actor, local to the transaction: {"user"?, "via", "address", "request_id"}. For
-- what a person's request writes io/pg.h sends it; devices, tasks and drivers send none, and leave no entries.

create table audit (
  id           bigint generated always as identity primary key,
  at           timestamptz not null default now(),
  user_id      int,                               -- no foreign keys: entries outlive what they tell of
  email        text,                              -- as it was then, as is target_name
  via          text not null check (via in ('http', 'command line')),
  address      text,                              -- of the client; the user of the operating system
  request_id   text,
  action       text not null,
  kind         text not null,
  target_id    text not null,
  target_name  text,
  before       jsonb,                             -- of a change only what changed
  after        jsonb
);
create index audit_at on audit (at, id);
create index audit_user on audit (user_id, at, id) where user_id is not null;
create index audit_action on audit (action, at, id);
create index audit_kind on audit (kind, at, id);
create index audit_target on audit (target_id, kind, at, id);

create function refuse_change() returns trigger language plpgsql as $$
begin
  raise exception '% only grows', tg_table_name using errcode = 'insufficient_privilege';
end $$;
create trigger audit_only_grows before update or delete or truncate on audit
  for each statement execute function refuse_change();
alter table audit enable always trigger audit_only_grows; -- for a replication role, too
revoke update, delete, truncate on audit from public, current_user;

create function audit_add(action text, kind text, target text, name text, before jsonb, after jsonb)
returns void language plpgsql as $$
declare
  actor jsonb := nullif(current_setting('otad.actor', true), '')::jsonb;
  who int := (actor->>'user')::int;
begin
  -- Whoever registers or logs in is that account.
  if who is null and actor->>'via' = 'http' and action in ('user.create', 'session.login') then
    who := target::int;
  end if;
  insert into audit (user_id, email, via, address, request_id, action, kind, target_id, target_name, before, after)
  select who, coalesce((select email from users where id = who), case when kind = 'user' and target = who::text then name end),
         actor->>'via', actor->>'address', actor->>'request_id', action, kind, target, name, before, after
  where actor is not null;
end $$;

-- What an entry shows of a value: of what would fill pages only how much it is.
create function audit_value(name text, value jsonb) returns jsonb language sql stable as $$
  select case when name like '%\_at' then to_jsonb(replace(value#>>'{}', '+00:00', 'Z'))
              when length(value::text) > 4096 then to_jsonb(length(value::text) || ' characters')
              else value end
$$;

-- Arguments: action, kind of the target, columns of its id, of its name, and those that an entry may show.
create function audit_row() returns trigger language plpgsql as $$
declare
  was jsonb := to_jsonb(old);
  becomes jsonb := to_jsonb(new);
  line jsonb := coalesce(becomes, was);
  name text := line->>tg_argv[3];
  before jsonb := case when was is not null then '{}' end;
  after jsonb := case when becomes is not null then '{}' end;
  c text;
begin
  if tg_table_name = 'device_credentials' then
    name := (select device_code from devices where id = new.device_id);
  end if;
  foreach c in array string_to_array(tg_argv[4], ' ') loop -- a query over them would cost several times as much
    if was->c is distinct from becomes->c then
      before := before || jsonb_build_object(c, audit_value(c, was->c));
      after := after || jsonb_build_object(c, audit_value(c, becomes->c));
    end if;
  end loop;
  perform audit_add(tg_argv[0], tg_argv[1], line->>tg_argv[2], name, nullif(before, '{}'), nullif(after, '{}'));
  return null;
end $$;

create trigger audit_created after insert on devices for each row when (current_setting('otad.actor', true) <> '')
  execute function audit_row('device.create', 'device', 'id', 'device_code', 'device_code name chip tags user_id');
create trigger audit_changed after update of device_code, name, chip, tags, user_id on devices for each row
  when (current_setting('otad.actor', true) <> '' and (old.device_code, old.name, old.chip, old.tags, old.user_id)
                      is distinct from (new.device_code, new.name, new.chip, new.tags, new.user_id))
  execute function audit_row('device.change', 'device', 'id', 'device_code', 'device_code name chip tags user_id');
create trigger audit_deleted after delete on devices for each row when (current_setting('otad.actor', true) <> '')
  execute function audit_row('device.delete', 'device', 'id', 'device_code',
                             'device_code name chip tags user_id firmware_version created_at');
create trigger audit_changed after update of password_sha256 on device_credentials for each row
  when (current_setting('otad.actor', true) <> '')
  execute function audit_row('device.credentials', 'device', 'device_id', '', '');

create trigger audit_created after insert on firmware for each row when (current_setting('otad.actor', true) <> '')
  execute function audit_row('firmware.create', 'firmware', 'id', 'version',
                             'version chip project size sha256 elf_sha256 secure_version signature_kind release_key notes');
create trigger audit_signed after update of release_signature on firmware for each row
  when (current_setting('otad.actor', true) <> '' and old.release_signature is distinct from new.release_signature)
  execute function audit_row('firmware.sign', 'firmware', 'id', 'version', 'release_key');
create trigger audit_deleted after delete on firmware for each row when (current_setting('otad.actor', true) <> '')
  execute function audit_row('firmware.delete', 'firmware', 'id', 'version',
                             'version chip project size sha256 elf_sha256 secure_version signature_kind release_key notes');

create trigger audit_created after insert on rollouts for each row when (current_setting('otad.actor', true) <> '')
  execute function audit_row('rollout.create', 'rollout', 'id', 'name',
                             'name policy revision firmware target params priority starts_at');
create trigger audit_paused after update of state on rollouts for each row
  when (current_setting('otad.actor', true) <> '' and old.state <> new.state and new.state = 'paused')
  execute function audit_row('rollout.pause', 'rollout', 'id', 'name', 'state reason');
create trigger audit_resumed after update of state on rollouts for each row
  when (current_setting('otad.actor', true) <> '' and old.state <> new.state and new.state = 'running')
  execute function audit_row('rollout.resume', 'rollout', 'id', 'name', 'state reason');
create trigger audit_aborted after update of state on rollouts for each row
  when (current_setting('otad.actor', true) <> '' and old.state <> new.state and new.state = 'aborted')
  execute function audit_row('rollout.abort', 'rollout', 'id', 'name', 'state reason');
create trigger audit_rolled_back after update of state on rollouts for each row
  when (current_setting('otad.actor', true) <> '' and old.state <> new.state and new.state = 'rolling_back')
  execute function audit_row('rollout.rollback', 'rollout', 'id', 'name', 'state reason');

create trigger audit_created after insert on users for each row when (current_setting('otad.actor', true) <> '')
  execute function audit_row('user.create', 'user', 'id', 'email', 'email role');
create trigger audit_role after update of role on users for each row
  when (current_setting('otad.actor', true) <> '' and old.role <> new.role)
  execute function audit_row('user.role', 'user', 'id', 'email', 'role');
create trigger audit_password after update of password on users for each row
  when (current_setting('otad.actor', true) <> '' and old.password <> new.password)
  execute function audit_row('user.password', 'user', 'id', 'email', '');
create trigger audit_deleted after delete on users for each row when (current_setting('otad.actor', true) <> '')
  execute function audit_row('user.delete', 'user', 'id', 'email', 'email role created_at');

-- Of updates what a person ordered or cancelled: entries about the device. Those that end with their rollout are told of
-- by the entry about that.
create function audit_update() returns trigger language plpgsql as $$
begin
  if tg_op = 'UPDATE' and exists (select from rollouts where id = new.rollout_id and state = 'aborted') then
    return null;
  end if;
  perform audit_add(case tg_op when 'INSERT' then 'update.create' else 'update.cancel' end, 'device', new.device_id::text,
                    (select device_code from devices where id = new.device_id),
                    case tg_op when 'UPDATE' then jsonb_build_object('state', old.state) end,
                    jsonb_build_object('update_id', new.id, 'firmware_id', new.firmware_id, 'rollout_id', new.rollout_id,
                                       'version', new.version, 'state', new.state, 'reason', new.reason));
  return null;
end $$;
create trigger audit_created after insert on updates for each row
  when (current_setting('otad.actor', true) <> '') execute function audit_update();
create trigger audit_cancelled after update of state on updates for each row
  when (new.state = 'cancelled' and old.state <> 'cancelled' and current_setting('otad.actor', true) <> '')
  execute function audit_update();

-- Of policies the revision, and what its author said of it. A statement that goes back sets otad.action.
create function audit_policy() returns trigger language plpgsql as $$
begin
  perform audit_add(coalesce(nullif(current_setting('otad.action', true), ''), 'policy.activate'), 'policy', new.name, new.name,
    (select jsonb_build_object('revision', revision, 'message', message) from policy_revisions
     where tg_op = 'UPDATE' and policy = new.name and revision = old.revision),
    (select jsonb_build_object('revision', revision, 'message', message) from policy_revisions
     where policy = new.name and revision = new.revision));
  return null;
end $$;
create trigger audit_created after insert on policies for each row
  when (current_setting('otad.actor', true) <> '') execute function audit_policy();
create trigger audit_changed after update of revision on policies for each row
  when (current_setting('otad.actor', true) <> '' and old.revision <> new.revision) execute function audit_policy();

-- Of sessions how they begin, and how they end by what was done to them alone: an entry about the account.
create function audit_session() returns trigger language plpgsql as $$
begin
  perform audit_add(case tg_op when 'INSERT' then 'session.login' else 'session.logout' end, 'user', new.user_id::text,
    (select email from users where id = new.user_id), null,
    case when tg_op = 'UPDATE' and current_setting('otad.actor')::jsonb->'user' is null -- no access token came with it
         then jsonb_build_object('reason', 'a refresh token was used again') end);
  return null;
end $$;
create trigger audit_created after insert on sessions for each row
  when (current_setting('otad.actor', true) <> '') execute function audit_session();
create trigger audit_ended after update of revoked_at on sessions for each row
  when (old.revoked_at is null and new.revoked_at is not null and pg_trigger_depth() = 0
        and current_setting('otad.actor', true) <> '')
  execute function audit_session();

-- Entries, the newest first. $1: account  $2: action  $3: kind and $4: id of the target  $5: from  $6: to; each may be
-- null. $7, $8: after the entry of then with this id  $9: how many
-- Planned for what is asked, each time: which index to walk depends on it.
create function audit_find(int, text, text, text, timestamptz, timestamptz, timestamptz, bigint, int)
returns setof audit language plpgsql stable set plan_cache_mode = force_custom_plan as $$
begin
  return query select * from audit
  where ($1 is null or user_id = $1) and ($2 is null or action = $2) and ($3 is null or kind = $3)
    and ($4 is null or target_id = $4) and ($5 is null or at >= $5) and ($6 is null or at < $6)
    and ($7 is null or (at, id) < ($7, $8))
  order by at desc, id desc limit $9;
end $$;

-- Sessions are forgotten, the last login is not.
alter table users add column last_login timestamptz;
update users set last_login = (select max(created_at) from sessions where user_id = users.id);

-- Of an account that is deleted the sessions are over, and stay for a while: instances that were away, or start later, ask
-- for those that ended.
alter table sessions alter column user_id drop not null, drop constraint sessions_user_id_fkey,
  add foreign key (user_id) references users on delete set null;
create function end_sessions_of_deleted() returns trigger language plpgsql as $$
begin
  update sessions set revoked_at = now() where user_id = old.id and revoked_at is null;
  return old;
end $$;
create trigger users_deleted before delete on users for each row execute function end_sessions_of_deleted();
