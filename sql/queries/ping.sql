-- Asked of each connection that nothing else was asked of for a second: is anybody there?

-- name: ping read
select;
