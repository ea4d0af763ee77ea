-- The frame of db.transaction.

-- name: transaction_begin
begin;

-- name: transaction_commit
commit;

-- name: transaction_rollback
rollback;
