-- The audit log (sql/migrations/0005_audit.sql). Triggers write it.

-- name: actor
-- Who is behind what is written next: until the transaction ends, so that nothing else is on the same connection.
-- $1: {user?, via, address, request_id}
select set_config('otad.actor', $1::text, true);

-- name: audit_reload
-- Scripts were loaded anew, which no table tells. $1: instance  $2, $3: revision before and now
select audit_add('script.reload', 'scripts', $1::text, null, jsonb_build_object('revision', $2::text),
                 jsonb_build_object('revision', $3::text));

-- name: audit_list read
-- $1: account  $2: action  $3: kind and $4: id of the target  $5, $6: from and to; each may be null
-- $7, $8: after the entry of then with this id  $9: how many. Times are Unix microseconds.
select id, at, case when user_id is not null then jsonb_build_object('id', user_id, 'email', email) end as user,
       via, address, request_id, action,
       jsonb_build_object('kind', kind, 'name', target_name, 'id',
                          case when kind in ('policy', 'scripts') then to_jsonb(target_id)
                               else to_jsonb(target_id::int) end) as target,
       before, after, (extract(epoch from at) * 1000000)::bigint as position
from audit_find($1::int, $2::text, $3::text, $4::text,
                'epoch'::timestamptz + $5::bigint * interval '1 microsecond',
                'epoch'::timestamptz + $6::bigint * interval '1 microsecond',
                'epoch'::timestamptz + $7::bigint * interval '1 microsecond', $8::bigint, $9::int)
order by at desc, id desc;
