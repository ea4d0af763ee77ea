/* The client against a real server, on a loop that the test runs itself: what its tests share. */
#pragma once
#include "../loop.h"
#include "../scratch.h"
#include "io/pg.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "../postgres.h"

static const char sql[] =
    "-- name: transaction_begin\nbegin;\n"
    "-- name: transaction_commit\ncommit;\n"
    "-- name: transaction_rollback\nrollback;\n"
    "-- name: make\ncreate table if not exists t (id int primary key, v text);\n"
    "-- name: clear\ndelete from t;\n"
    "-- name: widen\nalter table t add column w int;\n"
    "-- name: narrow\nalter table t drop column if exists w;\n"
    "-- name: whole read\nselect * from t;\n"
    "-- name: put_whole\ninsert into t values ($1, $2) returning *;\n"
    "-- name: put\ninsert into t values ($1, $2);\n"
    "-- name: count read\nselect count(*) from t;\n"
    "-- name: echo read\nselect $1::text as it, $2::int as n;\n"
    "-- name: two read\nselect $1::int * 2;\n"
    "-- name: twice_anew read anew\nselect $1::int * 2;\n"
    "-- name: prepared read\nselect string_agg(name, ' ' order by name) from "
    "pg_prepared_statements where name <> 'ping';\n"
    "-- name: divide read\nselect 1 / $1::int;\n"
    "-- name: wrong read\nselect nothing from nowhere;\n"
    "-- name: wrong_write\ninsert into nowhere values (1);\n"
    "-- name: sleep read\nselect pg_sleep($1::float8);\n"
    "-- name: sleep_write\nselect pg_sleep($1::float8);\n"
    "-- name: sleep_anew read anew\nselect pg_sleep($1::float8);\n"
    "-- name: no_timeout\nselect set_config('statement_timeout', '0', false);\n"
    "-- name: kill_me\nselect pg_terminate_backend(pg_backend_pid());\n"
    "-- name: deallocate\ndeallocate all;\n"
    "-- name: actor\nselect set_config('otad.actor', $1::text, true);\n"
    "-- name: who\nselect coalesce(current_setting('otad.actor', true), '');\n"
    "-- name: who_reads read\nselect coalesce(current_setting('otad.actor', true), '');\n"
    "-- name: put_who\ninsert into t values ($1::int, current_setting('otad.actor', true));\n"
    "-- name: by read\nselect coalesce(v, '') from t where id = $1::int;\n"
    "-- name: listening\nlisten news;\n"
    "-- name: notify\nselect pg_notify('news', $1::text);\n"
    "-- name: large\nselect length($1::text);\n";

static struct postgres *server;
static struct pg_statements *statements;
static struct worker *worker;
static struct pg *pg;
static struct metrics *metrics;

static void turn(void *arg)
{
    if (pg != NULL)
        pg_turn(pg);
}

struct call {
    unsigned answers;
    const char *err;
    char text[64], state[8];
    bool inside; /* answered from within the call that asked */
};

static unsigned answered; /* calls, all together */
static bool asking;

static void on_answer(void *arg, const char *err, const PGresult *result)
{
    struct call *call = arg;
    call->answers++;
    call->err = err;
    call->inside = asking;
    answered++;
    if (result != NULL && PQntuples(result) > 0)
        snprintf(call->text, sizeof(call->text), "%s", PQgetvalue(result, 0, 0));
    if (err == pg_failed)
        snprintf(call->state, sizeof(call->state), "%s", PQresultErrorField(result, PG_DIAG_SQLSTATE));
    assert_true(err == NULL || err == pg_failed || result == NULL);
}

static inline struct pg_query *ask(struct call *call, const char *name, const char *a, const char *b)
{
    const char *const values[] = {a, b};
    *call = (struct call){0};
    asking = true;
    struct pg_query *query =
        pg_query(pg, pg_statement(statements, name), b != NULL ? 2 : a != NULL, values, on_answer, call);
    asking = false;
    return query;
}

static void wait_for(struct call *call)
{
    if (!loop_until(worker, turn, NULL, &call->answers, 1, 20000))
        fail_msg("no answer");
    assert_int_equal(call->answers, 1);
    assert_false(call->inside);
}

static inline void good(struct call *call, const char *text)
{
    wait_for(call);
    if (call->err != NULL)
        fail_msg("%s %s, expected %s", call->err, call->state, text);
    assert_string_equal(call->text, text);
}

static inline void bad(struct call *call, const char *err, const char *state)
{
    wait_for(call);
    assert_ptr_equal(call->err, err);
    assert_string_equal(call->state, state);
}

static inline void run(const char *name, const char *a, const char *b)
{
    struct call call;
    ask(&call, name, a, b);
    wait_for(&call);
    assert_null(call.err);
}

static inline void run_count(const char *expected)
{
    struct call call;
    ask(&call, "count", NULL, NULL);
    good(&call, expected);
}

static void open_pg(unsigned connections, unsigned transactions, uint64_t timeout)
{
    struct pg_options options = {.url = server->url,
                                 .statements = statements,
                                 .connections = connections,
                                 .transactions = transactions,
                                 .timeout = timeout,
                                 .metrics = metrics};
    pg = pg_new(worker, &options);
    for (int i = 0; i < 500 && !pg_ready(pg); i++)
        loop_for(worker, turn, NULL, 10);
    assert_true(pg_ready(pg));
}

static int setup(void **state)
{
    worker = loop_worker();
    metrics = metrics_new();
    answered = 0;
    if (server == NULL)
        return 0;
    if (server->pid == 0 && !postgres_start(server)) /* the test before failed */
        return -1;
    open_pg(1, 0, 5000);
    run("make", NULL, NULL);
    run("narrow", NULL, NULL);
    run("clear", NULL, NULL);
    pg_free(pg);
    pg = NULL;
    return 0;
}

static int teardown(void **state)
{
    if (pg != NULL)
        pg_free(pg);
    pg = NULL;
    loop_finish(worker);
    metrics_free(metrics);
    return 0;
}

#define NEEDS_SERVER                                                                                         \
    if (server == NULL)                                                                                      \
    skip()

static int start(void **state)
{
    return postgres_begin(sql, &statements, &server);
}

static int end(void **state)
{
    return postgres_end(statements, server);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
