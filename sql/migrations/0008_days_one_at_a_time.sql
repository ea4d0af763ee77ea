-- Instances start, and `otad migrate` runs, beside each other: two that made the same day found that it did not exist,
-- both waited for the table, and the second failed. One at a time for each table; the lock goes with the transaction.
create or replace function keep_partitions(parent text, ahead int, keep int) returns void language plpgsql as $$
declare
  day date;
  old text;
begin
  perform pg_advisory_xact_lock(hashtext('otad days of ' || parent));
  for day in select generate_series(current_date - 1, current_date + ahead, interval '1 day')::date loop
    execute format('create table if not exists %I partition of %I for values from (%L) to (%L)',
                   parent || '_' || to_char(day, 'YYYYMMDD'), parent, day, day + 1);
  end loop;
  for old in select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
             where i.inhparent = parent::regclass
               and right(c.relname, 8) < to_char(current_date - keep, 'YYYYMMDD') loop
    execute format('drop table %I', old);
  end loop;
end $$;
