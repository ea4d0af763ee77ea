-- Policies and their revisions. What is in force is one row of `policies`; changing it is compare-and-set.

-- name: policy_active read
select p.name, p.revision, r.source, r.author, r.message, r.parent, r.created_at, p.updated_at, p.note,
       (select count(*) from rollouts u where u.policy = p.name and u.state = 'running')::int as rollouts,
       extract(epoch from now() - p.updated_at)::float8 as age
from policies p join policy_revisions r on r.policy = p.name and r.revision = p.revision
where p.name = $1::text;

-- name: policies_list read
-- $1: after this name  $2: how many  rollouts: those that run by it now
select p.name, p.revision, r.source, r.author, r.message, r.parent, r.created_at, p.updated_at, p.note,
       coalesce(u.running, 0) as rollouts
from policies p join policy_revisions r on r.policy = p.name and r.revision = p.revision
left join (select policy, count(*)::int as running from rollouts where state = 'running' group by policy) u on u.policy = p.name
where p.name > $1::text order by p.name limit $2::int;

-- name: policy_revisions_list read
-- $1: policy  $2: how many  $3, $4: after the revision $4, which is of $3 (Unix microseconds)
select revision, parent, author, message, created_at, source,
       (extract(epoch from created_at) * 1000000)::bigint as at
from policy_revisions
where policy = $1::text
  and (-(extract(epoch from created_at) * 1000000)::bigint, revision) > (-$3::bigint, $4::text)
order by created_at desc, revision limit $2::int;

-- name: policy_revision read
select policy as name, revision, source, parent, author, message, created_at
from policy_revisions where policy = $1::text and revision = $2::text;

-- name: policy_activate
-- Puts a revision of policy $1 in force where $2 (null: none) is now. $3: revision  $4: source  $5: author  $6: message
-- No row: another one is in force by now. The one before is what was in force last, for a source that comes back, too.
-- The revision is kept only if it comes into force; that it is there is looked at when the statement ends.
with first as (
  insert into policies (name, revision) select $1::text, $3::text where $2::text is null
  on conflict (name) do nothing
  returning revision
), next as (
  update policies set revision = $3::text, updated_at = now(), note = null, held = false
  where name = $1::text and revision = $2::text
  returning revision
), active as (
  select revision from first union all select revision from next
), kept as (
  insert into policy_revisions (policy, revision, parent, source, author, message)
  select $1::text, revision, $2::text, $4::text, $5::text, $6::text from active
  on conflict (policy, revision) do update
    set parent = case when excluded.parent = excluded.revision then policy_revisions.parent else excluded.parent end
)
select revision from active;

-- name: policy_back
-- Goes back from revision $2 of policy $1 to the one before.
-- No row: another one is in force by now, or there is none before. The audit log tells it from policy_activate by the setting.
update policies p set revision = r.parent, updated_at = now(), note = null, held = false
from policy_revisions r
where p.name = $1::text and p.revision = $2::text and r.policy = p.name and r.revision = p.revision
  and r.parent is not null
returning p.revision, set_config('otad.action', 'policy.rollback', true);

-- name: policy_imports read
-- Which of the policies that files hold are to be put in force. $1: [{name, revision, saved_at (Unix seconds)}]
-- $2: whether this process has just started: then only what was never seen is news.  $3: what the clock says by which
-- files were saved: it need not be right
select f.name, p.revision as active
from jsonb_to_recordset($1::jsonb) as f (name text, revision text, saved_at float8)
left join policies p on p.name = f.name
where p.revision is distinct from f.revision
  and case when p.name is null or $2::boolean
           then not exists (select from policy_revisions r where r.policy = f.name and r.revision = f.revision)
           else now() - ($3::float8 - f.saved_at) * interval '1 second' > p.updated_at end;
