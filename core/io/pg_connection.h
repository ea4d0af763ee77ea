/* One pipelined connection: makes and remakes it, sends statements, hands out results in order. Used by pg.c
 * only. Worker thread; the connection lives as long as its pool. */
#pragma once
#include "io/pg.h"

/* A statement as it was sent. */
struct pg_sent {
    const struct pg_statement *statement;
    unsigned renewed; /* which of its plans it was sent with */
    bool prepares;    /* a Parse went ahead of it */
    bool prepared;    /* and was answered */
};

struct pg_query {
    struct pg_sent own;
    /* Goes ahead of it, in its transaction, with `actor` as its value; or has no statement. */
    struct pg_sent by;
    const char *actor;
    bool told; /* `by` was answered, whatever with */
    pg_cb cb;  /* NULL: forgotten, or an answer was given */
    void *arg;
    struct pg_query *next;
    const char *err; /* pg.c: to be answered so on the next turn */
    uint64_t started_us;
    unsigned attempts;
    bool answered; /* its own result is there; what is left are end markers */
    bool again;    /* did not run, through no fault of its own: send once more */
    bool syncs;    /* a Sync went behind it */
    size_t count;
    const char *values[];
};

enum pg_connection_state { PG_DOWN, PG_CONNECTING, PG_UP, PG_CLOSED };

struct pg_connection {
    struct worker *worker;
    const struct pg_options *options;
    enum pg_connection_state state;
    PGconn *conn;
    h2o_socket_t *watch;
    struct timer timer; /* down: next try; connecting: its deadline; up: look at the oldest statement */
    uint64_t backoff;
    struct pg_query *head, **tail;
    size_t in_flight;
    bool *known;       /* by statement index: prepared here */
    unsigned *renewed; /* likewise: how often its tables changed, and it got another name */
    bool unsynced;     /* reads were sent since the last Sync */
    bool writing;      /* waits for the socket to take more */
    bool closing;
    bool broken; /* sending failed: the timer will take it down */
    struct metrics_series **counts, *durations, *failures;
    /* The owner's. */
    void (*on_up)(struct pg_connection *connection);
    void (*on_down)(struct pg_connection *connection);
    void (*on_notify)(struct pg_connection *connection, const char *payload);
    void *owner;
};

/* How many statements there are; their `index` is below it. */
unsigned pg_statements_count(const struct pg_statements *statements);

void pg_connection_init(struct pg_connection *connection, struct worker *worker,
                        const struct pg_options *options);
void pg_connection_open(struct pg_connection *connection);
void pg_connection_close(
    struct pg_connection *connection); /* what is in flight fails with pg_unavailable, now */
/* Takes the query; the connection must be up. */
void pg_connection_send(struct pg_connection *connection, struct pg_query *query);
/* Its oldest statement has waited for longer than statements usually take. */
bool pg_connection_lags(const struct pg_connection *connection);
/* It is up, and no statement has waited for long enough to doubt that anybody is there. */
bool pg_connection_answers(const struct pg_connection *connection);
void pg_connection_flush(struct pg_connection *connection);
/* Takes the connection down on the next turn and makes it anew. */
void pg_connection_drop(struct pg_connection *connection);

struct pg_query *pg_query_new(const struct pg_statement *statement, size_t count, const char *const *values,
                              pg_cb cb, void *arg);
/* The same; where it writes and there is an actor, with the statement `by` and that value ahead of it. */
struct pg_query *pg_query_new_by(const struct pg_statement *by, const char *actor,
                                 const struct pg_statement *statement, size_t count,
                                 const char *const *values, pg_cb cb, void *arg);
