-- The outbox of offers: core/fleet/offers.h.

-- name: offers_take read
select device_id, payload, changed_at from offers
where published_at is null and (payload = '' or not held)
order by changed_at limit 500;

-- What the broker has acknowledged ($3: it was an offer, not a clearing). A row that still is what was published
-- is marked, or deleted when it was a clearing; its update has been offered, and is answered. One that another instance has
-- replaced and published meanwhile is published again, for ours may have come after it; one that is gone is
-- cleared again for the same reason. An update that somebody else holds (to cancel it, say) is left to them: they
-- lock updates before offers.
-- name: offers_mark
with n as (
  select * from unnest($1::int[], $2::timestamptz[], $3::bool[]) as n (device_id, changed_at, offer)
), held as ( -- in the order in which everybody locks offers
  select n.* from n join offers o on o.device_id = n.device_id order by o.device_id for update of o
), cleared as (
  delete from offers o using held n
  where o.device_id = n.device_id and o.changed_at = n.changed_at and not n.offer
), marked as (
  update offers o set published_at = case when o.changed_at = n.changed_at then now() end
  from held n
  where o.device_id = n.device_id and
        (o.changed_at = n.changed_at and n.offer or o.changed_at > n.changed_at and o.published_at is not null)
  returning case when o.changed_at = n.changed_at then o.update_id end as update_id
), undone as (
  insert into offers (device_id, payload)
  select n.device_id, '' from n
  where n.offer and not exists (select from offers o where o.device_id = n.device_id)
  on conflict do nothing
)
update updates u set state = 'offered', updated_at = now()
where u.id in (select p.id from updates p join marked on p.id = marked.update_id
               where p.state = 'pending' for update of p skip locked)
returning u.id;

-- A broker that was away may have lost what it retained.
-- name: offers_again
update offers set published_at = null where published_at is not null;
