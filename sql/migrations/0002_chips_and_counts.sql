-- The chip as the device tells it, beside the one it was registered with; and how often updates entered each state.

alter table devices add chip_reported text;
update devices set chip_reported = chip where last_seen is not null;

-- An offer to a device whose chip nobody has told is held until the device was heard of.
alter table offers add held boolean not null default false;
drop index offers_unpublished;
create index offers_unpublished on offers (changed_at) where published_at is null and (payload = '' or not held);

-- Whether an image for `image` may go to a device of which these chips are known.
create function chip_fits(image text, registered text, reported text) returns boolean language sql immutable as $$
  select coalesce(image = registered, true) and coalesce(image = reported, true)
$$;

-- What was learnt of a device's chip ends an update to an image for another one, and lets go what was held. It
-- runs in the transaction that learnt it; updates_create waits for that, so no update slips through between.
create function chip_learnt() returns trigger language plpgsql as $$
begin
  with ended as (
    update updates u set state = 'cancelled', updated_at = now(),
      reason = 'the image is for ' || f.chip || ', and the device '
               || case when f.chip <> new.chip_reported then 'reports the chip ' || new.chip_reported
                       else 'is registered as ' || new.chip end
    from firmware f
    where u.device_id = new.id and u.state in ('pending', 'offered', 'downloading', 'installing')
      and f.id = u.firmware_id and not chip_fits(f.chip, new.chip, new.chip_reported)
    returning u.id
  )
  update offers o
  set update_id = null, payload = '', expires_at = null, changed_at = now(), published_at = null
  from ended where o.device_id = new.id and o.update_id = ended.id;
  update offers set held = false where device_id = new.id and held;
  return null;
end $$;
create trigger devices_chip after update of chip, chip_reported, last_seen on devices for each row
  when (old.chip is distinct from new.chip or old.chip_reported is distinct from new.chip_reported
        or old.last_seen is null and new.last_seen is not null)
  execute function chip_learnt();

-- Counters: a sequence each, for a row would make every transaction wait for the others. What is rolled back counts.
create sequence updates_entered_pending;
create sequence updates_entered_offered;
create sequence updates_entered_downloading;
create sequence updates_entered_installing;
create sequence updates_entered_succeeded;
create sequence updates_entered_failed;
create sequence updates_entered_rolled_back;
create sequence updates_entered_rejected;
create sequence updates_entered_timed_out;
create sequence updates_entered_cancelled;
select setval('updates_entered_' || state, count(*)) from updates group by state;

create function count_update() returns trigger language plpgsql as $$
begin
  perform nextval('updates_entered_' || new.state);
  return null;
end $$;
create trigger updates_inserted after insert on updates for each row execute function count_update();
create trigger updates_moved after update of state on updates for each row
  when (old.state <> new.state) execute function count_update();
