-- For `otad migrate`.

-- name: migration_lock
select pg_advisory_lock(7246183);

-- name: migration_table
create table if not exists migrations (
  name        text primary key,
  checksum    text not null,
  applied_at  timestamptz not null default now()
);

-- name: migration_find read
select checksum from migrations where name = $1;

-- name: migration_list read
select name from migrations order by name;

-- name: migration_add
insert into migrations (name, checksum) values ($1, $2);
