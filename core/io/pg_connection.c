#include "io/pg_connection.h"
#include "base/log.h"
#include "base/mem.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    CONNECT_TIMEOUT = 5000,
    CHECK_INTERVAL = 250,
    GRACE = 500,
    IDLE = 30000,
    FIRST_BACKOFF = 50,
    LAST_BACKOFF = 1000,
    ATTEMPTS = 3,
    LAG_US = 20000,
    HUNG_US = 2000000
};

static void advance_connect(struct pg_connection *connection);

static uint64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

struct pg_query *pg_query_new_by(const struct pg_statement *by, const char *actor,
                                 const struct pg_statement *statement, size_t count,
                                 const char *const *values, pg_cb cb, void *arg)
{
    bool tells = by != NULL && actor != NULL && !statement->read;
    size_t size = sizeof(struct pg_query) + count * sizeof(char *), texts = size;
    size += tells ? strlen(actor) + 1 : 0;
    for (size_t i = 0; i < count; i++)
        size += values[i] == NULL ? 0 : strlen(values[i]) + 1;
    struct pg_query *query = x_alloc(size);
    char *text = (char *)query + texts;
    if (tells) {
        query->by.statement = by;
        query->actor = strcpy(text, actor);
        text += strlen(actor) + 1;
    }
    for (size_t i = 0; i < count; i++) {
        if (values[i] == NULL)
            continue;
        size_t len = strlen(values[i]) + 1;
        query->values[i] = memcpy(text, values[i], len);
        text += len;
    }
    query->own.statement = statement;
    query->count = count;
    query->cb = cb;
    query->arg = arg;
    query->started_us = now_us();
    return query;
}

struct pg_query *pg_query_new(const struct pg_statement *statement, size_t count, const char *const *values,
                              pg_cb cb, void *arg)
{
    return pg_query_new_by(NULL, NULL, statement, count, values, cb, arg);
}

static void answer(struct pg_query *query, const char *err, const PGresult *result)
{
    pg_cb cb = query->cb;
    query->answered = true;
    query->cb = NULL;
    if (cb != NULL)
        cb(query->arg, err, result);
}

static void unwatch(struct pg_connection *connection)
{
    if (connection->watch != NULL)
        h2o_socket_close(connection->watch);
    connection->watch = NULL;
    connection->writing = false;
}

/* Everything in flight fails; the oldest with `err`, the others were only behind it. */
static void go_down(struct pg_connection *connection, const char *reason, const char *err)
{
    struct pg_query *query = connection->head;
    bool was_up = connection->state == PG_UP;

    if (!connection->closing && (was_up || connection->backoff == FIRST_BACKOFF))
        log_warn("database connection lost", LOG_STR("reason", reason));
    unwatch(connection);
    PQfinish(connection->conn);
    connection->conn = NULL;
    connection->state = PG_DOWN;
    connection->broken = connection->unsynced = false;
    connection->head = NULL;
    connection->tail = &connection->head;
    connection->in_flight = 0;
    timer_set(connection->worker->timers, &connection->timer, connection->backoff);
    connection->backoff = connection->backoff * 2 > LAST_BACKOFF ? LAST_BACKOFF : connection->backoff * 2;

    for (struct pg_query *next; query != NULL; query = next, err = pg_unavailable) {
        next = query->next;
        if (!query->answered)
            answer(query, err, NULL);
        free(query);
    }
    if (was_up && connection->on_down != NULL)
        connection->on_down(connection);
}

static void on_writable(h2o_socket_t *watch, const char *err)
{
    struct pg_connection *connection = watch->data;
    connection->writing = false;
    if (connection->state == PG_CONNECTING)
        advance_connect(connection);
    else
        pg_connection_flush(connection);
}

static void break_later(struct pg_connection *connection)
{
    connection->broken = true; /* never fail inline: callers may stand on the stack */
    timer_set(connection->worker->timers, &connection->timer, 0);
}

static void flush_out(struct pg_connection *connection)
{
    int left = PQflush(connection->conn);
    if (left < 0) {
        break_later(connection);
    } else if (left > 0 && !connection->writing) {
        connection->writing = true;
        h2o_socket_notify_write(connection->watch, on_writable);
    }
}

static void sync_now(struct pg_connection *connection)
{
    struct pg_query *newest = H2O_STRUCT_FROM_MEMBER(struct pg_query, next, connection->tail);
    newest->syncs = true;
    connection->unsynced = false;
    if (PQpipelineSync(connection->conn) != 1)
        break_later(connection);
    else
        flush_out(connection); /* it sends, too, but does not wait for room */
}

void pg_connection_flush(struct pg_connection *connection)
{
    if (connection->state != PG_UP || connection->broken)
        return;
    if (connection->unsynced)
        sync_now(connection);
    else
        flush_out(connection);
}

bool pg_connection_lags(const struct pg_connection *connection)
{
    return connection->head != NULL && now_us() - connection->head->started_us > LAG_US;
}

bool pg_connection_answers(const struct pg_connection *connection)
{
    return connection->state == PG_UP &&
           (connection->head == NULL || now_us() - connection->head->started_us < HUNG_US);
}

static void send_one(struct pg_connection *connection, struct pg_sent *sent, size_t count,
                     const char *const *values)
{
    const struct pg_statement *statement = sent->statement;
    bool *known = &connection->known[statement->index];
    char name[96];

    sent->prepares = !statement->anew && !*known;
    sent->prepared = false;
    sent->renewed = connection->renewed[statement->index];
    if (connection->broken)
        return;
    if (statement->anew) {
        if (PQsendQueryParams(connection->conn, statement->text, (int)count, NULL, values, NULL, NULL, 0) !=
            1)
            break_later(connection);
        return;
    }
    snprintf(name, sizeof(name), sent->renewed == 0 ? "%s" : "%s %u", statement->name, sent->renewed);
    *known = true;
    if (sent->prepares && PQsendPrepare(connection->conn, name, statement->text, 0, NULL) != 1)
        break_later(connection);
    if (PQsendQueryPrepared(connection->conn, name, (int)count, values, NULL, NULL, 0) != 1)
        break_later(connection);
}

void pg_connection_send(struct pg_connection *connection, struct pg_query *query)
{
    /* Once spoilt by a neighbour is enough. */
    bool alone = !query->own.statement->read || query->attempts > 0;

    if (alone && connection->unsynced)
        sync_now(connection);
    query->next = NULL;
    query->told = query->answered = query->again = query->syncs = false;
    *connection->tail = query;
    connection->tail = &query->next;
    connection->in_flight++;
    if (connection->timer.slot == 0)
        timer_set(connection->worker->timers, &connection->timer, CHECK_INTERVAL);

    if (query->by.statement != NULL)
        send_one(connection, &query->by, 1, &query->actor);
    send_one(connection, &query->own, query->count, query->values);
    if (connection->broken)
        return;
    if (alone)
        sync_now(connection);
    else
        connection->unsynced = true;
}

static void count_query(struct pg_connection *connection, struct pg_query *query, bool failed)
{
    struct metrics_series **count = &connection->counts[query->own.statement->index];
    if (*count == NULL) {
        char label[96];
        snprintf(label, sizeof(label), "statement=\"%s\"", query->own.statement->name);
        *count = metrics_series(connection->options->metrics, METRICS_COUNTER, "otad_pg_queries_total", label,
                                "Statements answered");
    }
    (*count)->value++;
    metrics_observe(connection->durations, (double)(now_us() - query->started_us) / 1e6);
    if (failed)
        connection->failures->value++;
}

static bool is_state(const char *state, const char *wanted)
{
    return state != NULL && strcmp(state, wanted) == 0;
}

static bool is_class(const char *state, const char *wanted)
{
    return state != NULL && strncmp(state, wanted, strlen(wanted)) == 0;
}

/* A table has changed, and with it the columns of a statement prepared before: as such it can never run
 * again. The message is translated and the state common to much else, hence the place in PostgreSQL's source.
 */
static bool is_stale(const PGresult *result, const char *state)
{
    const char *where = PQresultErrorField(result, PG_DIAG_SOURCE_FUNCTION);
    return is_state(state, "0A000") && where != NULL && strcmp(where, "RevalidateCachedQuery") == 0;
}

static bool is_unknown(const char *state)
{
    return is_state(state, "26000"); /* its Parse was lost with a neighbour */
}

static bool is_twice(const char *state)
{
    return is_state(state, "42P05"); /* two that lacked it have sent a Parse */
}

/* A result of what went ahead of the oldest query. Where that failed, the query did not run, and both are
 * sent again. */
static void take_told(struct pg_connection *connection, struct pg_query *query, const PGresult *result)
{
    ExecStatusType status = PQresultStatus(result);
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    bool *known = &connection->known[query->by.statement->index];

    if (query->by.prepares && !query->by.prepared) {
        query->by.prepared = true;
        *known = status == PGRES_COMMAND_OK || is_twice(state);
    } else {
        query->told = true;
        *known = *known && !is_unknown(state);
    }
    if (status == PGRES_FATAL_ERROR && !is_twice(state) && !is_unknown(state))
        log_error("statement failed", LOG_STR("statement", query->by.statement->name),
                  LOG_STR("sqlstate", state),
                  LOG_STR("detail", PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY)));
}

/* A result of the oldest query: of its Parse, or its own. */
static void take_result(struct pg_connection *connection, struct pg_query *query, const PGresult *result)
{
    const struct pg_statement *statement = query->own.statement;
    ExecStatusType status = PQresultStatus(result);
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    bool failed = status == PGRES_FATAL_ERROR || status == PGRES_BAD_RESPONSE;
    bool *known = &connection->known[statement->index];
    bool unknown = is_unknown(state), twice = is_twice(state), stale = is_stale(result, state);

    if (query->own.prepares && !query->own.prepared) {
        query->own.prepared = true;
        if (status == PGRES_COMMAND_OK)
            return;
        *known = twice;
    } else if (query->answered || query->again) {
        return; /* aborted behind its own failed Parse */
    }

    /* Not run, through no fault of its own: nothing was done, so repeat it. */
    if ((status == PGRES_PIPELINE_ABORTED || unknown || twice || stale) && query->attempts++ < ATTEMPTS) {
        unsigned *renewed = &connection->renewed[statement->index];
        if (stale && *renewed == query->own.renewed) { /* the first that meets it */
            (*renewed)++;
            *known = false;
        }
        *known = *known && !unknown;
        query->again = true;
        return;
    }
    count_query(connection, query, failed);
    if (failed && !is_class(state, "23")) /* broken constraints are answers that callers expect */
        log_error("statement failed", LOG_STR("statement", statement->name), LOG_STR("sqlstate", state),
                  LOG_STR("detail", PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY)));
    if (is_state(state, "57014"))
        answer(query, pg_timeout, NULL);
    else if (is_class(state, "57P")) /* the server is going away */
        answer(query, pg_unavailable, NULL);
    else if (status == PGRES_PIPELINE_ABORTED || (failed && state == NULL)) /* libpq's own word: the end */
        answer(query, pg_unavailable, NULL);
    else
        answer(query, failed ? pg_failed : NULL, result);
}

static void remove_head(struct pg_connection *connection)
{
    struct pg_query *query = connection->head;
    connection->head = query->next;
    if (connection->head == NULL)
        connection->tail = &connection->head;
    connection->in_flight--;
    if (query->again)
        pg_connection_send(connection, query);
    else
        free(query);
}

/* What has had its results goes; but not the newest while a Sync is still to be sent, for it is that one's to
 * wait for. */
static void remove_ended(struct pg_connection *connection)
{
    const struct pg_query *query;
    while ((query = connection->head) != NULL && (query->answered || query->again) &&
           query->own.prepares == query->own.prepared && !query->syncs &&
           !(query->next == NULL && connection->unsynced))
        remove_head(connection);
}

/* Hands out all that has arrived. Callbacks may send more; they never free the connection. */
static void take_results(struct pg_connection *connection)
{
    remove_ended(connection);
    while (connection->state == PG_UP && connection->head != NULL && !PQisBusy(connection->conn)) {
        struct pg_query *query = connection->head;
        PGresult *result = PQgetResult(connection->conn);
        if (result == NULL)
            break;
        if (PQresultStatus(result) == PGRES_PIPELINE_SYNC) {
            remove_head(connection);
        } else {
            /* Each result is followed by a NULL. It is taken before callbacks run, since sending would skip
             * it. */
            PQclear(PQgetResult(connection->conn));
            if (query->by.statement != NULL && !query->told)
                take_told(connection, query, result);
            else
                take_result(connection, query, result);
            remove_ended(connection);
        }
        PQclear(result);
    }
}

static void take_notifications(struct pg_connection *connection)
{
    PGnotify *notify;
    while (connection->state == PG_UP && (notify = PQnotifies(connection->conn)) != NULL) {
        if (connection->on_notify != NULL)
            connection->on_notify(connection, notify->extra);
        PQfreemem(notify);
    }
}

static void on_readable(h2o_socket_t *watch, const char *err)
{
    struct pg_connection *connection = watch->data;
    if (connection->state == PG_CONNECTING) {
        advance_connect(connection);
        return;
    }
    if (PQconsumeInput(connection->conn) != 1) {
        take_results(connection); /* what had arrived before the end */
        if (connection->state == PG_UP)
            go_down(connection, "closed by the server", pg_unavailable);
        return;
    }
    take_results(connection);
    take_notifications(connection);
    if (connection->state == PG_UP)
        flush_out(connection);
}

static void come_up(struct pg_connection *connection)
{
    if (PQenterPipelineMode(connection->conn) != 1 || PQsetnonblocking(connection->conn, 1) != 0) {
        go_down(connection, PQerrorMessage(connection->conn), pg_unavailable);
        return;
    }
    connection->state = PG_UP;
    connection->backoff = FIRST_BACKOFF;
    unsigned count = pg_statements_count(connection->options->statements);
    memset(connection->known, 0, count * sizeof(*connection->known));
    memset(connection->renewed, 0, count * sizeof(*connection->renewed));
    timer_cancel(connection->worker->timers, &connection->timer);
    if (connection->on_up != NULL)
        connection->on_up(connection);
}

/* libpq may change the descriptor from step to step, so it is watched anew. */
static void advance_connect(struct pg_connection *connection)
{
    PostgresPollingStatusType status = PQconnectPoll(connection->conn);
    unwatch(connection);
    if (status == PGRES_POLLING_FAILED) {
        go_down(connection, PQerrorMessage(connection->conn), pg_unavailable);
        return;
    }
    connection->watch = worker_watch(connection->worker, PQsocket(connection->conn));
    connection->watch->data = connection;
    if (status == PGRES_POLLING_WRITING) {
        h2o_socket_notify_write(connection->watch, on_writable);
    } else {
        h2o_socket_read_start(connection->watch, on_readable);
        if (status == PGRES_POLLING_OK)
            come_up(connection);
    }
}

static void ignore_notice(void *arg, const PGresult *result)
{
}

static void start_connect(struct pg_connection *connection)
{
    char session[208];
    /* A process that is stopped within a transaction would keep what it locked for itself. JIT: compiling
     * takes longer than any of our statements may. */
    snprintf(session, sizeof(session),
             "-c statement_timeout=%llu -c idle_in_transaction_session_timeout=%llu -c timezone=UTC -c "
             "datestyle=ISO -c jit=off",
             (unsigned long long)connection->options->timeout,
             (unsigned long long)(connection->options->timeout + IDLE));
    /* A listener hears nothing for hours: keepalives tell whether anybody is there. */
    const char *const names[] = {"dbname",           "fallback_application_name",
                                 "options",          "tcp_user_timeout",
                                 "keepalives_idle",  "keepalives_interval",
                                 "keepalives_count", NULL};
    const char *const values[] = {connection->options->url, "otad", session, "10000", "20", "5", "3", NULL};

    connection->state = PG_CONNECTING;
    connection->conn = PQconnectStartParams(names, values, 1);
    timer_set(connection->worker->timers, &connection->timer, CONNECT_TIMEOUT);
    if (connection->conn == NULL || PQstatus(connection->conn) == CONNECTION_BAD) {
        go_down(connection, connection->conn == NULL ? "out of memory" : PQerrorMessage(connection->conn),
                pg_unavailable);
        return;
    }
    PQsetNoticeReceiver(connection->conn, ignore_notice, NULL);
    connection->watch = worker_watch(connection->worker, PQsocket(connection->conn));
    connection->watch->data = connection;
    h2o_socket_notify_write(connection->watch, on_writable);
}

static void on_timer(struct timer *timer)
{
    struct pg_connection *connection = H2O_STRUCT_FROM_MEMBER(struct pg_connection, timer, timer);
    switch (connection->state) {
    case PG_DOWN:
        start_connect(connection);
        break;
    case PG_CONNECTING:
        go_down(connection, "no answer", pg_unavailable);
        break;
    case PG_UP:
        if (connection->broken)
            go_down(connection, PQerrorMessage(connection->conn), pg_unavailable);
        else if (connection->head != NULL &&
                 now_us() - connection->head->started_us > (connection->options->timeout + GRACE) * 1000)
            go_down(connection, "statement overdue", pg_timeout);
        else if (connection->head != NULL)
            timer_set(connection->worker->timers, timer, CHECK_INTERVAL);
        break;
    case PG_CLOSED:
        break;
    }
}

void pg_connection_init(struct pg_connection *connection, struct worker *worker,
                        const struct pg_options *options)
{
    unsigned count = pg_statements_count(options->statements);
    connection->worker = worker;
    connection->options = options;
    connection->tail = &connection->head;
    connection->timer.fire = on_timer;
    connection->backoff = FIRST_BACKOFF;
    connection->known = x_alloc(count * sizeof(*connection->known));
    connection->renewed = x_alloc(count * sizeof(*connection->renewed));
    connection->counts = x_alloc(count * sizeof(*connection->counts));
    connection->durations =
        metrics_series(options->metrics, METRICS_HISTOGRAM, "otad_pg_query_duration_seconds", "",
                       "Time from asking to the answer");
    connection->failures = metrics_series(options->metrics, METRICS_COUNTER, "otad_pg_failures_total", "",
                                          "Statements that PostgreSQL refused");
}

void pg_connection_open(struct pg_connection *connection)
{
    timer_set(connection->worker->timers, &connection->timer, 0);
}

void pg_connection_drop(struct pg_connection *connection)
{
    if (connection->state == PG_UP)
        break_later(connection);
}

void pg_connection_close(struct pg_connection *connection)
{
    connection->closing = true;
    connection->on_down = NULL;
    if (connection->state == PG_UP || connection->state == PG_CONNECTING)
        go_down(connection, "closing", pg_unavailable);
    connection->state = PG_CLOSED;
    timer_cancel(connection->worker->timers, &connection->timer);
    free(connection->known);
    free(connection->renewed);
    free(connection->counts);
}
