#include "io/pg.h"
#include "base/mem.h"
#include "io/pg_connection.h"
#include <stdlib.h>
#include <string.h>

const char pg_unavailable[] = "database unavailable";
const char pg_busy[] = "database busy";
const char pg_timeout[] = "database timeout";
const char pg_failed[] = "statement failed";

enum { MOST_IN_FLIGHT = 4096, MOST_WAITING = 256, PING_INTERVAL = 1000 /* ms */ };

struct pg_transaction {
    struct pg_connection connection; /* of the transaction pool; a transaction is its lease */
    bool leased, ending;
    bool lost; /* its connection went; the new one knows nothing of it */
    pg_begin_cb begun;
    pg_cb ended;
    void *arg;
};

struct waiter { /* for a transaction */
    pg_begin_cb cb;
    void *arg;
    uint64_t since;
    struct waiter *next;
    char actor[]; /* empty: nobody */
};

struct pg {
    struct worker *worker;
    struct pg_options options;
    struct pg_connection *connections;
    struct pg_transaction *transactions;
    struct waiter *first_waiter, **last_waiter;
    size_t waiters;
    struct timer waiter_timer;
    struct pg_query *failed, **last_failed; /* to be answered with their err */
    struct timer failed_timer, ping_timer;
    const struct pg_statement *ping, *actor;
    struct listener_link *listeners;
};

struct listener_link {
    struct pg_connection connection;
    struct pg_listener *listener;
    struct listener_link *next;
};

static void serve_waiters(struct pg *pg);
static void refuse_waiters(struct pg *pg);
static void on_waiter_timer(struct timer *timer);
static void answer_failed(struct pg *pg);
static void on_failed_timer(struct timer *timer);
static void on_ping_timer(struct timer *timer);

static void on_transaction_connection(struct pg_connection *connection)
{
    serve_waiters(connection->owner);
}

/* A lost connection rolled its transaction back; the lease ends once its holder says so. */
static void on_transaction_lost(struct pg_connection *connection)
{
    H2O_STRUCT_FROM_MEMBER(struct pg_transaction, connection, connection)->lost = true;
}

struct pg *pg_new(struct worker *worker, const struct pg_options *options)
{
    struct pg *pg = x_new(struct pg);
    pg->worker = worker;
    pg->options = *options;
    pg->last_waiter = &pg->first_waiter;
    pg->waiter_timer.fire = on_waiter_timer;
    pg->last_failed = &pg->failed;
    pg->failed_timer.fire = on_failed_timer;
    pg->ping_timer.fire = on_ping_timer;
    pg->actor = pg_statement(options->statements, "actor");
    pg->ping = pg_statement(options->statements, "ping");
    if (pg->ping != NULL)
        timer_set(worker->timers, &pg->ping_timer, PING_INTERVAL);
    pg->connections = x_alloc(options->connections * sizeof(*pg->connections));
    for (unsigned i = 0; i < options->connections; i++) {
        pg_connection_init(&pg->connections[i], worker, &pg->options);
        pg_connection_open(&pg->connections[i]);
    }
    pg->transactions = x_alloc(options->transactions * sizeof(*pg->transactions));
    for (unsigned i = 0; i < options->transactions; i++) {
        struct pg_connection *connection = &pg->transactions[i].connection;
        pg_connection_init(connection, worker, &pg->options);
        connection->owner = pg;
        connection->on_up = on_transaction_connection;
        connection->on_down = on_transaction_lost;
        pg_connection_open(connection);
    }
    return pg;
}

void pg_free(struct pg *pg)
{
    for (unsigned i = 0; i < pg->options.connections; i++)
        pg_connection_close(&pg->connections[i]);
    for (unsigned i = 0; i < pg->options.transactions; i++)
        pg_connection_close(&pg->transactions[i].connection);
    for (struct listener_link *link = pg->listeners, *next; link != NULL; link = next) {
        next = link->next;
        pg_connection_close(&link->connection);
        free(link);
    }
    while (pg->failed != NULL || pg->first_waiter != NULL) { /* who is told may ask for more */
        answer_failed(pg);
        refuse_waiters(pg);
    }
    timer_cancel(pg->worker->timers, &pg->ping_timer);
    timer_cancel(pg->worker->timers, &pg->failed_timer);
    timer_cancel(pg->worker->timers, &pg->waiter_timer);
    free(pg->connections);
    free(pg->transactions);
    free(pg);
}

void pg_turn(struct pg *pg)
{
    for (unsigned i = 0; i < pg->options.connections; i++) {
        if (pg->connections[i].unsynced)
            pg_connection_flush(&pg->connections[i]);
    }
    for (unsigned i = 0; i < pg->options.transactions; i++) {
        if (pg->transactions[i].connection.unsynced)
            pg_connection_flush(&pg->transactions[i].connection);
    }
}

bool pg_ready(const struct pg *pg)
{
    for (unsigned i = 0; i < pg->options.connections; i++) {
        if (pg_connection_answers(&pg->connections[i]))
            return true;
    }
    return false;
}

static bool is_up(const struct pg *pg)
{
    for (unsigned i = 0; i < pg->options.connections; i++) {
        if (pg->connections[i].state == PG_UP)
            return true;
    }
    return false;
}

static void on_ping_timer(struct timer *timer)
{
    struct pg *pg = H2O_STRUCT_FROM_MEMBER(struct pg, ping_timer, timer);
    for (unsigned i = 0; i < pg->options.connections; i++) {
        struct pg_connection *connection = &pg->connections[i];
        if (connection->state != PG_UP || connection->head != NULL)
            continue;
        pg_connection_send(connection, pg_query_new(pg->ping, 0, NULL, NULL, NULL));
        pg_connection_flush(connection);
    }
    timer_set(pg->worker->timers, timer, PING_INTERVAL);
}

size_t pg_waiting(const struct pg *pg)
{
    size_t count = 0;
    for (unsigned i = 0; i < pg->options.connections; i++)
        count += pg->connections[i].in_flight;
    return count;
}

/* A query that cannot be sent is answered on the next turn. */
static void fail_later(struct pg *pg, struct pg_query *query, const char *err)
{
    query->err = err;
    *pg->last_failed = query;
    pg->last_failed = &query->next;
    timer_set(pg->worker->timers, &pg->failed_timer, 0);
}

static void answer_failed(struct pg *pg)
{
    struct pg_query *query = pg->failed;
    pg->failed = NULL;
    pg->last_failed = &pg->failed;
    for (struct pg_query *next; query != NULL; query = next) {
        next = query->next;
        if (query->cb != NULL)
            query->cb(query->arg, query->err, NULL);
        free(query);
    }
}

static void on_failed_timer(struct timer *timer)
{
    answer_failed(H2O_STRUCT_FROM_MEMBER(struct pg, failed_timer, timer));
}

/* One connection carries everything while it keeps up, for statements that go together cost the server less;
 * the others take over what would wait behind a slow one. What is planned anew may well be slow: it leaves
 * the first one alone, where there are others. */
static struct pg_connection *choose(struct pg *pg, bool anew)
{
    struct pg_connection *first = &pg->connections[0], *best = NULL;
    for (unsigned i = 0; i < pg->options.connections; i++) {
        struct pg_connection *connection = &pg->connections[i];
        if (connection->state != PG_UP)
            continue;
        if (!anew && !pg_connection_lags(connection))
            return connection;
        if (best == NULL || (anew && best == first) || connection->in_flight < best->in_flight)
            best = connection;
    }
    return best;
}

struct pg_query *pg_query_by(struct pg *pg, const char *actor, const struct pg_statement *statement,
                             size_t count, const char *const *values, pg_cb cb, void *arg)
{
    struct pg_query *query = pg_query_new_by(pg->actor, actor, statement, count, values, cb, arg);
    struct pg_connection *best = choose(pg, statement->anew);
    if (best == NULL)
        fail_later(pg, query, pg_unavailable);
    else if (best->in_flight >= MOST_IN_FLIGHT)
        fail_later(pg, query, pg_busy);
    else
        pg_connection_send(best, query);
    return query;
}

struct pg_query *pg_query(struct pg *pg, const struct pg_statement *statement, size_t count,
                          const char *const *values, pg_cb cb, void *arg)
{
    return pg_query_by(pg, NULL, statement, count, values, cb, arg);
}

void pg_forget(struct pg_query *query)
{
    query->cb = NULL;
}

static void on_begun(void *arg, const char *err, const PGresult *result)
{
    struct pg_transaction *transaction = arg;
    if (err != NULL)
        transaction->leased = false;
    transaction->begun(transaction->arg, err, err == NULL ? transaction : NULL);
}

/* What tells who acts goes ahead of BEGIN, which makes a transaction block of what it finds begun: so there
 * is one answer to both, and no transaction stands open where it fails. */
static void begin_on(struct pg_transaction *transaction, const struct waiter *waiter)
{
    struct pg *pg = transaction->connection.owner;
    transaction->leased = true;
    transaction->ending = transaction->lost = false;
    transaction->begun = waiter->cb;
    transaction->arg = waiter->arg;
    pg_connection_send(&transaction->connection,
                       pg_query_new_by(pg->actor, *waiter->actor == '\0' ? NULL : waiter->actor,
                                       pg_statement(pg->options.statements, "transaction_begin"), 0, NULL,
                                       on_begun, transaction));
    pg_connection_flush(&transaction->connection);
}

static void serve_waiters(struct pg *pg)
{
    for (unsigned i = 0; i < pg->options.transactions && pg->first_waiter != NULL; i++) {
        struct pg_transaction *transaction = &pg->transactions[i];
        if (transaction->leased || transaction->connection.state != PG_UP)
            continue;
        struct waiter *waiter = pg->first_waiter;
        pg->first_waiter = waiter->next;
        if (pg->first_waiter == NULL)
            pg->last_waiter = &pg->first_waiter;
        pg->waiters--;
        begin_on(transaction, waiter);
        free(waiter);
    }
}

/* Those who have waited too long, or for nothing, are told so. */
static void refuse_waiters(struct pg *pg)
{
    bool ready = is_up(pg);
    uint64_t now = clock_ms();
    struct waiter *refused = NULL, **last = &refused, **at = &pg->first_waiter;
    while (*at != NULL) {
        struct waiter *waiter = *at;
        if (ready && now - waiter->since <= pg->options.timeout) {
            at = &waiter->next;
            continue;
        }
        *at = waiter->next;
        waiter->next = NULL;
        *last = waiter;
        last = &waiter->next;
        pg->waiters--;
    }
    pg->last_waiter = at;
    for (struct waiter *next; refused != NULL; refused = next) {
        next = refused->next;
        refused->cb(refused->arg, ready ? pg_busy : pg_unavailable, NULL);
        free(refused);
    }
}

static void on_waiter_timer(struct timer *timer)
{
    struct pg *pg = H2O_STRUCT_FROM_MEMBER(struct pg, waiter_timer, timer);
    serve_waiters(pg);
    refuse_waiters(pg);
    if (pg->first_waiter != NULL && timer->slot == 0)
        timer_set(pg->worker->timers, timer, 100);
}

void pg_begin_by(struct pg *pg, const char *actor, pg_begin_cb cb, void *arg)
{
    struct waiter *waiter = x_alloc(sizeof(*waiter) + (actor == NULL ? 0 : strlen(actor)) + 1);
    waiter->cb = cb;
    waiter->arg = arg;
    strcpy(waiter->actor, actor == NULL ? "" : actor);
    waiter->since = pg->waiters < MOST_WAITING ? clock_ms() : 0; /* too many: told so on the next turn */
    *pg->last_waiter = waiter;
    pg->last_waiter = &waiter->next;
    pg->waiters++;
    timer_set(pg->worker->timers, &pg->waiter_timer, 0);
}

void pg_begin(struct pg *pg, pg_begin_cb cb, void *arg)
{
    pg_begin_by(pg, NULL, cb, arg);
}

struct pg_query *pg_transaction_query(struct pg_transaction *transaction,
                                      const struct pg_statement *statement, size_t count,
                                      const char *const *values, pg_cb cb, void *arg)
{
    struct pg_query *query = pg_query_new(statement, count, values, cb, arg);
    struct pg *pg = transaction->connection.owner;
    if (transaction->lost || transaction->connection.state != PG_UP)
        fail_later(pg, query, pg_unavailable);
    else
        pg_connection_send(&transaction->connection, query);
    return query;
}

static void on_ended(void *arg, const char *err, const PGresult *result)
{
    struct pg_transaction *transaction = arg;
    struct pg *pg = transaction->connection.owner;
    pg_cb cb = transaction->ended;
    void *cb_arg = transaction->arg;
    /* COMMIT of a failed transaction answers ROLLBACK: not an error to PostgreSQL, but one to who asked. */
    if (err == NULL && transaction->ending && strcmp(PQcmdStatus((PGresult *)result), "COMMIT") != 0)
        err = pg_failed;
    transaction->leased = false;
    serve_waiters(pg);
    if (cb != NULL)
        cb(cb_arg, err, result);
}

void pg_end(struct pg_transaction *transaction, bool commit, pg_cb cb, void *arg)
{
    struct pg *pg = transaction->connection.owner;
    const char *name = commit ? "transaction_commit" : "transaction_rollback";
    transaction->ended = cb;
    transaction->arg = arg;
    transaction->ending = commit;
    struct pg_query *query =
        pg_query_new(pg_statement(pg->options.statements, name), 0, NULL, on_ended, transaction);
    if (transaction->lost || transaction->connection.state != PG_UP)
        fail_later(pg, query, pg_unavailable);
    else
        pg_connection_send(&transaction->connection, query);
}

static void on_listening(void *arg, const char *err, const PGresult *result)
{
    struct listener_link *link = arg;
    if (err == NULL)
        link->listener->on_connected(link->listener);
    else if (link->connection.state == PG_UP)
        pg_connection_drop(&link->connection);
}

static void on_listener_up(struct pg_connection *connection)
{
    struct listener_link *link = connection->owner;
    pg_connection_send(connection, pg_query_new(link->listener->statement, 0, NULL, on_listening, link));
    pg_connection_flush(connection);
}

static void on_listener_notify(struct pg_connection *connection, const char *payload)
{
    struct listener_link *link = connection->owner;
    link->listener->on_notify(link->listener, payload);
}

static void on_listener_down(struct pg_connection *connection)
{
    struct listener_link *link = connection->owner;
    if (link->listener->on_lost != NULL)
        link->listener->on_lost(link->listener);
}

void pg_listen(struct pg *pg, struct pg_listener *listener)
{
    struct listener_link *link = x_new(struct listener_link);
    link->listener = listener;
    link->next = pg->listeners;
    pg->listeners = link;
    pg_connection_init(&link->connection, pg->worker, &pg->options);
    link->connection.owner = link;
    link->connection.on_up = on_listener_up;
    link->connection.on_notify = on_listener_notify;
    link->connection.on_down = on_listener_down;
    pg_connection_open(&link->connection);
}
