-- What browsers, which cannot set headers there, open the live feed with: each is good for one connection.

create table feed_tickets (
  sha256         bytea primary key,               -- of the ticket
  session_id     uuid not null references sessions on delete cascade,
  expires_at     timestamptz not null,
  token_expires  bigint not null                  -- Unix seconds: of the access token that asked for it
);
create index feed_tickets_session on feed_tickets (session_id);
