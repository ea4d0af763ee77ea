/* Coroutines of scripts against a real PostgreSQL, on a loop that the test runs itself. */
#include "../loop.h"
#include "lab.h"
#include "lua/coroutine.h"

#include "../postgres.h"

static const char sql[] =
    "-- name: transaction_begin\nbegin;\n"
    "-- name: transaction_commit\ncommit;\n"
    "-- name: transaction_rollback\nrollback;\n"
    "-- name: make\ncreate table if not exists t (id int primary key, v text, check (id > 0));\n"
    "-- name: clear\ndelete from t;\n"
    "-- name: put\ninsert into t values ($1::int, $2);\n"
    "-- name: list read\nselect id, v from t order by id;\n"
    "-- name: types read\nselect 1::int2 as a, 9007199254740993::int8 as b, 1.5::numeric as c, true as d, "
    "null::text as e,\n"
    "  '2026-01-02 03:04:05.678+02'::timestamptz as f, '{\"k\": [1, null]}'::jsonb as g, '{}'::jsonb as h,\n"
    "  '[]'::json as i, 0.1::float8 as j, 'infinity'::timestamptz as k, 'x'::text as l;\n"
    "-- name: echo read\nselect $1::text as it;\n"
    "-- name: divide read\nselect 1 / $1::int as it;\n"
    "-- name: sleep\nselect pg_sleep($1::float8);\n";

static struct postgres *server;
static struct pg_statements *statements;
static struct worker *worker;

struct run {
    struct lab_chunk chunk;
    unsigned ended;
    bool ok;
    char result[1024];
};

static int setup(void **state)
{
    if (lab_setup(state) != 0)
        return -1;
    struct lab *lab = *state;
    worker = loop_worker();
    lab->runtime.worker = worker;
    lab->services.statements = statements;
    if (server == NULL)
        return 0;
    struct pg_options options = {server->url, statements, 2, 1, 5000, lab->runtime.metrics};
    lab->runtime.pg = pg_new(worker, &options);
    for (int i = 0; i < 500 && !pg_ready(lab->runtime.pg); i++)
        loop_for(worker, NULL, NULL, 10);
    lab_load_fine(lab);
    return 0;
}

/* As cli/parts.c ends a worker. */
static void end_pg(struct lab *lab)
{
    struct pg *pg = lab->runtime.pg;
    lab->runtime.pg = NULL;
    if (pg != NULL)
        pg_free(pg);
}

static int teardown(void **state)
{
    struct lab *lab = *state;
    end_pg(lab);
    lab_drop(lab);
    loop_for(worker, NULL, NULL, 5);
    int failed = lab_teardown(state);
    loop_finish(worker);
    return failed;
}

static void turn(void *arg)
{
    struct lab *lab = arg;
    if (lab->runtime.pg != NULL)
        pg_turn(lab->runtime.pg);
}

static int chunk_over(lua_State *L, int status, lua_KContext context)
{
    struct run *run = coroutine_of(L)->arg;
    snprintf(run->result, sizeof(run->result), "%s", luaL_tolstring(L, -1, NULL));
    return 0;
}

static int run_chunk(lua_State *L)
{
    struct run *run = coroutine_of(L)->arg;
    if (luaL_loadbufferx(L, run->chunk.text, strlen(run->chunk.text), "=chunk", "t") != LUA_OK)
        return lua_error(L);
    lua_callk(L, 0, 1, 0, chunk_over);
    return chunk_over(L, LUA_OK, 0);
}

static void on_end(struct coroutine *coroutine, bool ok, int results)
{
    struct run *run = coroutine->arg;
    run->ended++;
    run->ok = ok;
    if (!ok) {
        char *text = coroutine_error_text(coroutine);
        snprintf(run->result, sizeof(run->result), "error: %s", text);
        free(text);
    }
}

static void start_run(struct lab *lab, struct run *run, const char *text)
{
    *run = (struct run){.chunk.text = text};
    struct coroutine *coroutine = coroutine_new(lab->runtime.current);
    assert_non_null(coroutine);
    coroutine->arg = run;
    coroutine->on_end = on_end;
    lua_pushcfunction(coroutine->L, run_chunk);
    coroutine_resume(coroutine, 0);
}

static const char *finish_run(struct lab *lab, struct run *run)
{
    if (!loop_until(worker, turn, lab, &run->ended, 1, 10000))
        fail_msg("%s did not end", run->chunk.text);
    assert_int_equal(run->ended, 1);
    return run->result;
}

static void gives(struct lab *lab, const char *text, const char *expected)
{
    struct run run;
    start_run(lab, &run, text);
    finish_run(lab, &run);
    if (strcmp(run.result, expected) != 0)
        fail_msg("%s\n  gave %s\n  not  %s", text, run.result, expected);
}

static void fails(struct lab *lab, const char *text, const char *says)
{
    struct run run;
    start_run(lab, &run, text);
    finish_run(lab, &run);
    if (strncmp(run.result, "error: ", 7) != 0 || strstr(run.result, says) == NULL)
        fail_msg("%s\n  gave %s\n  not an error with %s", text, run.result, says);
}

static void fresh(struct lab *lab)
{
    struct run run;
    start_run(lab, &run, "db.run('make') db.run('clear')");
    finish_run(lab, &run);
    assert_true(run.ok);
}

#define NEEDS_SERVER                                                                                         \
    if (server == NULL)                                                                                      \
        skip();                                                                                              \
    fresh(*state)

static void test_statements(void **state)
{
    NEEDS_SERVER;
    gives(
        *state, "return json.encode(db.one('types'))",
        "{\"a\":1,\"b\":9007199254740993,\"c\":1.5,\"d\":true,\"e\":null,\"f\":\"2026-01-02T01:04:05.678Z\","
        "\"g\":{\"k\":[1,null]},\"h\":{},\"i\":[],\"j\":0.1,\"k\":\"infinity\",\"l\":\"x\"}");
    gives(*state, "return json.encode(db.all('list'))", "[]");
    gives(*state, "return db.one('list')", "nil");
    gives(*state, "return db.run('put', 1, 'a') + db.run('put', 2, nil)", "2");
    gives(*state, "return json.encode(db.all('list'))", "[{\"id\":1,\"v\":\"a\"},{\"id\":2,\"v\":null}]");
    gives(*state, "local row = db.one('list') row.more = 1 return json.encode(row)",
          "{\"id\":1,\"v\":\"a\",\"more\":1}");
    gives(*state, "return db.one('echo', { a = { 1 } }).it", "{\"a\":[1]}");
    gives(*state, "return db.one('echo', true).it .. db.one('echo', 1.5).it .. db.one('echo', 7).it",
          "t1.57");
    gives(*state, "return db.one('echo', json.null).it", "nil");
    fails(*state, "return db.one('nothing')", "there is no statement 'nothing'");
    fails(*state, "return db.one('echo', 'a\\0b')", "NUL");
    fails(*state, "return db.one('echo', function() end)", "value 1 is a function");
    fails(*state, "return db.one('divide', 0)", "statement divide failed: division by zero");
    fails(*state, "return db.one('echo', '\\xff')", "statement echo failed");
    fails(*state, "return db.one()", "string expected");
}

/* Stopped by the watchdog a script cannot roll back; until the collector came by, days maybe, its transaction
 * held locks and one of few connections. */
static void test_a_stopped_script_leaves_no_transaction(void **state)
{
    NEEDS_SERVER;
    struct lab *lab = *state;
    lab->runtime.watch.limit = 300;
    fails(lab, "db.transaction(function(tx) tx.run('put', 1, 'a') while true do end end)", "ran longer");
    gives(lab, "return db.transaction(function(tx) return #tx.all('list') end)", "0");
}

static void test_constraints_are_answers(void **state)
{
    NEEDS_SERVER;
    gives(*state, "db.run('put', 1, 'a') return table.concat({ select(2, db.run('put', 1, 'b')) }, ' ')",
          "unique_violation t_pkey");
    gives(*state, "local n, what, which = db.run('put', -1, 'b') return tostring(n) .. what .. which",
          "nilcheck_violationt_id_check");
    gives(*state, "local _, what = db.run('put', nil, 'b') return what", "not_null_violation");
}

static void test_transactions(void **state)
{
    NEEDS_SERVER;
    gives(*state,
          "local n = db.transaction(function(tx) tx.run('put', 1, 'a') tx.run('put', 2, 'b') return "
          "#tx.all('list') end) "
          "return n .. #db.all('list')",
          "22");
    gives(
        *state,
        "local ok, e = pcall(db.transaction, function(tx) tx.run('put', 3, 'a') error({ mine = true }) end) "
        "return tostring(ok) .. tostring(e.mine) .. #db.all('list')",
        "falsetrue2");
    fails(*state, "db.transaction(function(tx) tx.run('put', 3, 'a') fail(409, 'no') end)", "no");
    gives(*state, "return #db.all('list')", "2");
    fails(*state, "local kept db.transaction(function(tx) kept = tx end) kept.one('list')",
          "the transaction has ended");
    /* A failed statement within spoils it: it cannot be committed, and says so. */
    fails(*state, "db.transaction(function(tx) tx.run('put', 3, 'a') pcall(tx.one, 'divide', 0) end)",
          "did not keep a transaction");
    gives(*state, "return #db.all('list')", "2");
    gives(*state, "return db.transaction(function(tx) return 'again' end)",
          "again"); /* the one connection is free */
}

static void test_transactions_wait_for_each_other(void **state)
{
    NEEDS_SERVER;
    struct run runs[20];
    for (int i = 0; i < 20; i++)
        start_run(*state, &runs[i],
                  "return db.transaction(function(tx) local n = #tx.all('list') tx.run('put', n + 1, 'x') "
                  "return #tx.all('list') == n + 1 end)");
    for (int i = 0; i < 20; i++)
        assert_string_equal(finish_run(*state, &runs[i]), "true");
    gives(*state, "return #db.all('list')", "20");
}

static void test_many_coroutines(void **state)
{
    NEEDS_SERVER;
    struct lab *lab = *state;
    enum { MANY = 1200 };
    struct run *runs = calloc(MANY, sizeof(*runs));
    size_t before = 0;
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < MANY; i++)
            start_run(lab, &runs[i],
                      i % 7 == 0 ? "db.one('echo', 'x') error('mine')"
                                 : "return db.one('echo', 'x').it .. db.one('echo', 'y').it");
        for (int i = 0; i < MANY; i++) {
            finish_run(lab, &runs[i]);
            assert_int_equal(runs[i].ok, i % 7 != 0);
            if (i % 7 != 0)
                assert_string_equal(runs[i].result, "xy");
        }
        assert_true(lab->runtime.current->idle_count <= 512);
        assert_int_equal(lab->runtime.current->refs, 1);
        lua_gc(lab->runtime.current->L, LUA_GCCOLLECT);
        if (round == 0)
            before = lab->runtime.current->memory;
    }
    assert_true(lab->runtime.current->memory < before + before / 4); /* threads are used again, and let go */
    free(runs);
}

/* The query was sent before the yield failed; its answer then resumed a coroutine that had ended, or that was
 * another request's by then. */
static void test_waiting_in_a_callback_of_c(void **state)
{
    NEEDS_SERVER;
    struct run other;
    fails(*state, "return (('x'):gsub('x', function() return db.one('echo', 'y').it end))",
          "cannot wait here");
    start_run(*state, &other, "return db.one('echo', 'mine').it"); /* on the same coroutine, of the pool */
    assert_string_equal(finish_run(*state, &other), "mine");
    fails(*state, "local t = { 3, 2, 1 } table.sort(t, function(a, b) return db.one('divide', a).it < b end)",
          "cannot wait here");
    fails(*state, "return (('x'):gsub('x', function() return db.transaction(function() end) end))",
          "cannot wait here");
    fails(*state, "return (('x'):gsub('x', function() return crypto.hash_password('y') end))",
          "not available here");
    loop_for(worker, turn, *state, 100);
    gives(*state, "return db.transaction(function() return 'free' end)", "free");
}

/* The same while scripts load. */
static void test_waiting_while_loading(void **state)
{
    NEEDS_SERVER;
    lab_write(*state, "lib/a.lua", "\nreturn { db.one('list') }");
    lab_refused(*state, "scripts/lib/a.lua", 2, "cannot wait here");
    loop_for(worker, turn, *state, 100); /* where the answers came */
}

static void test_outage(void **state)
{
    NEEDS_SERVER;
    struct run flight, tx;
    start_run(*state, &flight, "return db.one('sleep', 5)");
    start_run(*state, &tx, "db.transaction(function(tx) tx.run('put', 1, 'x') tx.one('sleep', 5) end)");
    loop_for(worker, turn, *state, 300);
    postgres_stop(server, SIGQUIT);
    assert_string_equal(finish_run(*state, &flight), "error: The database does not answer.");
    assert_string_equal(finish_run(*state, &tx), "error: The database does not answer.");
    fails(*state, "db.one('list')", "does not answer");
    fails(*state, "db.transaction(function() end)", "does not answer");
    assert_true(postgres_start(server));
    for (int i = 0; i < 300 && !pg_ready(((struct lab *)*state)->runtime.pg); i++)
        loop_for(worker, turn, *state, 10);
    gives(*state, "return #db.all('list')", "0");
}

/* A worker that ends with scripts under way: they are told, may try what they like, and touch nothing freed.
 */
static void test_the_end_with_scripts_under_way(void **state)
{
    NEEDS_SERVER;
    struct run plain, tx, stubborn, holding;
    start_run(*state, &plain, "return db.one('sleep', 5)");
    start_run(
        *state, &stubborn,
        "for _ = 1, 5 do pcall(db.one, 'sleep', 5) pcall(db.transaction, function() end) end return 'ended'");
    start_run(
        *state, &tx,
        "return db.transaction(function(tx) pcall(tx.one, 'sleep', 5) pcall(tx.one, 'list') return 1 end)");
    start_run(*state, &holding,
              "return db.transaction(function(tx) return 2 end)"); /* waits for the connection */
    loop_for(worker, turn, *state, 200);
    end_pg(*state);
    loop_for(worker, NULL, NULL, 20);
    assert_int_equal(plain.ended + tx.ended + stubborn.ended + holding.ended, 4);
    assert_string_equal(stubborn.result, "ended");
    assert_false(tx.ok);
    assert_int_equal(((struct lab *)*state)->runtime.current->refs, 1);
    lua_gc(((struct lab *)*state)->runtime.current->L, LUA_GCCOLLECT); /* finalizes what held transactions */
}

static int start(void **state)
{
    return postgres_begin(sql, &statements, &server);
}

static int end(void **state)
{
    return postgres_end(statements, server);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_statements),
        CASE(test_a_stopped_script_leaves_no_transaction),
        CASE(test_constraints_are_answers),
        CASE(test_transactions),
        CASE(test_transactions_wait_for_each_other),
        CASE(test_many_coroutines),
        CASE(test_waiting_in_a_callback_of_c),
        CASE(test_waiting_while_loading),
        CASE(test_outage),
        CASE(test_the_end_with_scripts_under_way),
    };
    return cmocka_run_group_tests(tests, start, end);
}
