/* PostgreSQL from a worker's loop: named prepared statements over pipelined connections (libpq 14+).
 *
 * Statements stand in sql/queries/SUBJECT.sql, each behind a line `-- name: NAME` (one that writes) or
 * `-- name: NAME read`. They are prepared on a connection when first used there; those marked `read anew` are
 * planned for their values each time instead, for which way is best depends on what is asked for; as they may
 * take long, the first of several connections is left to others. Reads of one loop turn share a Sync; each
 * write has its own, because what stands between two Syncs is one transaction, and one failed statement would
 * take its neighbours with it.
 *
 * All calls are made on the worker's thread. A callback comes exactly once, never inline. `err` is NULL or
 * one of the constants below; `result` is valid during the callback only, and given with NULL and pg_failed.
 * A statement that was in flight when its connection was lost fails with pg_unavailable and is not repeated:
 * it may have been done. Lost connections are made again with back-off. */
#pragma once
#include "base/metrics.h"
#include "net/worker.h"
#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pg;
struct pg_query;
struct pg_transaction;
struct pg_statements; /* immutable once loaded; shared by all workers */

struct pg_statement {
    const char *name, *text;
    bool read;
    bool anew; /* planned each time */
    unsigned index;
};

extern const char pg_unavailable[]; /* no connection, or it was lost: 503 */
extern const char pg_busy[];        /* too many statements waiting: 503 */
extern const char pg_timeout[];     /* 503 */
extern const char pg_failed[];      /* PostgreSQL refused: result has PG_DIAG_SQLSTATE */

struct pg_statements *pg_statements_load(const char *directory, char **error)
    __attribute__((warn_unused_result));
void pg_statements_free(struct pg_statements *statements);
/* NULL: there is none of that name. */
const struct pg_statement *pg_statement(const struct pg_statements *statements, const char *name);

struct pg_options {
    const char *url;
    const struct pg_statements *statements;
    unsigned connections;    /* pipelined, for single statements */
    unsigned transactions;   /* connections for transactions */
    uint64_t timeout;        /* ms */
    struct metrics *metrics; /* otad_pg_queries_total, otad_pg_query_duration_seconds */
};
struct pg *pg_new(struct worker *worker, const struct pg_options *options);
void pg_free(struct pg *pg); /* what waits fails with pg_unavailable, now */
void pg_turn(struct pg *pg); /* from worker_hooks.turn: sends what this turn gathered */
/* A connection is up, and PostgreSQL has answered on it lately: where nothing else is asked, the statement
 * `ping` (if there is one) asks each second. */
bool pg_ready(const struct pg *pg);
size_t pg_waiting(const struct pg *pg); /* statements sent and not answered; none of transactions */

typedef void (*pg_cb)(void *arg, const char *err, const PGresult *result);

/* Parameters are text (NULL: SQL null), copied. The handle is good until the callback. */
struct pg_query *pg_query(struct pg *pg, const struct pg_statement *statement, size_t count,
                          const char *const *values, pg_cb cb, void *arg);
/* As pg_query, by somebody: before a statement that writes, and in its transaction, the statement `actor` (if
 * there is one) tells PostgreSQL so, with this value. Reads send nothing more. NULL: by nobody. */
struct pg_query *pg_query_by(struct pg *pg, const char *actor, const struct pg_statement *statement,
                             size_t count, const char *const *values, pg_cb cb, void *arg);
/* The caller is gone: its callback will not come. What was sent is still done. */
void pg_forget(struct pg_query *query);

/* A transaction has a connection of its own until it ends. One that is dropped or loses its connection is
 * rolled back. `transaction` is NULL with an err. */
typedef void (*pg_begin_cb)(void *arg, const char *err, struct pg_transaction *transaction);
void pg_begin(struct pg *pg, pg_begin_cb cb, void *arg);
void pg_begin_by(struct pg *pg, const char *actor, pg_begin_cb cb, void *arg); /* all in it is by somebody */
struct pg_query *pg_transaction_query(struct pg_transaction *transaction,
                                      const struct pg_statement *statement, size_t count,
                                      const char *const *values, pg_cb cb, void *arg);
/* Commits or rolls back and gives the connection back. cb NULL: nobody wants to know. */
void pg_end(struct pg_transaction *transaction, bool commit, pg_cb cb, void *arg);

/* Listens on a connection of its own: runs `statement` (a LISTEN) on each connect, then `on_connected`
 * (read what was missed), then `on_notify` for each notification. */
struct pg_listener {
    const struct pg_statement *statement;
    void (*on_connected)(struct pg_listener *listener);
    void (*on_notify)(struct pg_listener *listener, const char *payload);
    void (*on_lost)(struct pg_listener *listener); /* some may be missed until on_connected; or NULL */
    void *arg;
};
void pg_listen(struct pg *pg, struct pg_listener *listener);
