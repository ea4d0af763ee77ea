/* Single statements over pipelined connections. */
#include "pg_fixture.h"

static void test_statements(void **state)
{
    NEEDS_SERVER;
    struct call call;
    open_pg(2, 0, 5000);
    for (int i = 0; i < 3; i++) { /* the second time they are prepared */
        ask(&call, "echo", "it's \\ \"\xc3\xa9\"", "7");
        good(&call, "it's \\ \"\xc3\xa9\"");
    }
    run("put", "1", "a");
    ask(&call, "put", "1", "b");
    bad(&call, pg_failed, "23505");
    ask(&call, "put", NULL, NULL); /* too few values */
    bad(&call, pg_failed, "08P01");
    run_count("1");
    assert_int_equal(pg_waiting(pg), 0);
    size_t len;
    char *text = metrics_print(metrics, &len);
    assert_non_null(strstr(text, "otad_pg_queries_total{statement=\"echo\"} 3\n"));
    assert_non_null(strstr(text, "otad_pg_failures_total 2\n"));
    free(text);
}

/* Such a statement is prepared under no name: each time it is planned for the values of that time. */
static void test_reads_anew(void **state)
{
    NEEDS_SERVER;
    struct call calls[4], failing;
    open_pg(1, 0, 5000);
    for (int i = 0; i < 2; i++)
        ask(&calls[i], "twice_anew", i == 0 ? "1" : "2", NULL);
    ask(&failing, "twice_anew", "x", NULL);
    for (int i = 2; i < 4; i++)
        ask(&calls[i], i == 2 ? "twice_anew" : "two", "4", NULL);
    good(&calls[0], "2");
    good(&calls[1], "4");
    bad(&failing, pg_failed, "22P02");
    good(&calls[2], "8");
    good(&calls[3], "8");
    ask(&calls[0], "prepared", NULL, NULL);
    good(&calls[0], "prepared two");
}

/* A few people who searched had all connections, and others waited behind them. */
static void test_behind_what_is_planned_anew_waits_nobody(void **state)
{
    NEEDS_SERVER;
    struct call slow[2], call;
    open_pg(2, 0, 5000);
    loop_for(worker, turn, NULL, 200); /* the other connection, too */
    for (int i = 0; i < 2; i++) {
        ask(&slow[i], "sleep_anew", "1", NULL);
        loop_for(worker, turn, NULL, 50);
    }
    ask(&call, "two", "4", NULL);
    good(&call, "8");
    assert_int_equal(slow[0].answers, 0);
    for (int i = 0; i < 2; i++)
        good(&slow[i], "");
}

static void test_many_reads_share_a_turn(void **state)
{
    NEEDS_SERVER;
    enum { MANY = 3000 };
    struct call *calls = calloc(MANY, sizeof(*calls));
    char number[16], twice[16];
    open_pg(2, 0, 5000);
    for (int i = 0; i < MANY; i++) {
        snprintf(number, sizeof(number), "%d", i);
        ask(&calls[i], "two", number, NULL);
    }
    for (int i = 0; i < MANY; i++) {
        snprintf(twice, sizeof(twice), "%d", 2 * i);
        good(&calls[i], twice);
    }
    free(calls);
}

/* One failing read took those beside it down: they were sent again with a second Parse of the same name. */
static void test_a_failing_read_leaves_its_neighbours_alone(void **state)
{
    NEEDS_SERVER;
    for (int round = 0; round < 4; round++) { /* 0, 2: unprepared; 1, 3: prepared by the round before */
        struct call before[3], failing, after[6], same[2];
        answered = 0;
        if (round % 2 == 0) {
            if (pg != NULL)
                pg_free(pg);
            open_pg(1, 0, 5000);
        }
        for (int i = 0; i < 3; i++)
            ask(&before[i], "two", "1", NULL);
        ask(&failing, round < 2 ? "divide" : "wrong", round < 2 ? "0" : NULL, NULL);
        for (int i = 0; i < 6; i++)
            ask(&after[i], i % 2 ? "echo" : "two", "5", i % 2 ? "5" : NULL);
        for (int i = 0; i < 2; i++)
            ask(&same[i], "divide", "1", NULL);
        bad(&failing, pg_failed, round < 2 ? "22012" : "42P01");
        for (int i = 0; i < 3; i++)
            good(&before[i], "2");
        for (int i = 0; i < 6; i++)
            good(&after[i], i % 2 ? "5" : "10");
        for (int i = 0; i < 2; i++)
            good(&same[i], "1");
        assert_int_equal(answered, 12);
    }
}

/* The Parse of the first was lost with a failing neighbour; what the next turn sent relied on it. */
static void test_statement_unprepared_behind_a_failure(void **state)
{
    NEEDS_SERVER;
    struct call failing, first, later[4], write;
    open_pg(1, 0, 5000);
    ask(&failing, "divide", "0", NULL);
    ask(&first, "two", "1", NULL);
    pg_turn(pg); /* a Sync, with no answer taken yet */
    for (int i = 0; i < 4; i++)
        ask(&later[i], "two", "2", NULL);
    ask(&write, "put", "1", "x");
    bad(&failing, pg_failed, "22012");
    good(&first, "2");
    for (int i = 0; i < 4; i++)
        good(&later[i], "4");
    wait_for(&write);
    assert_null(write.err);
    run_count("1");
}

static void test_statement_unprepared_elsewhere(void **state)
{
    NEEDS_SERVER;
    struct call calls[4], write;
    open_pg(1, 0, 5000);
    run("put", "1", "x");
    ask(&calls[0], "two", "1", NULL);
    good(&calls[0], "2");
    run("deallocate", NULL, NULL);
    for (int i = 0; i < 4; i++)
        ask(&calls[i], "two", "3", NULL);
    ask(&write, "put", "2", "y");
    for (int i = 0; i < 4; i++)
        good(&calls[i], "6");
    wait_for(&write);
    assert_null(write.err);
    run_count("2");
}

/* A migration while the server runs: a statement whose columns changed failed on each connection from then
 * on. */
static void test_a_table_changes_below_prepared_statements(void **state)
{
    NEEDS_SERVER;
    struct call reads[4], other, write;
    open_pg(1, 0, 5000);
    run("put_whole", "1", "x");
    ask(&reads[0], "whole", NULL, NULL);
    good(&reads[0], "1");
    for (int round = 0; round < 3; round++) {
        char id[4] = {(char)('2' + round), '\0'};
        run(round % 2 ? "narrow" : "widen", NULL, NULL);
        for (int i = 0; i < 4; i++)
            ask(&reads[i], "whole", NULL, NULL);
        ask(&other, "two", "3", NULL);
        ask(&write, "put_whole", id, "y");
        for (int i = 0; i < 4; i++)
            good(&reads[i], "1");
        good(&other, "6");
        good(&write, id);
    }
    run_count("4");
}

/* libpq sends in pieces of 8 KiB: a read that ends with such a piece is on its way before the Sync behind it,
 * and so may its answer be. With nothing else in flight nobody was left to take that Sync's own answer, and
 * the next statement took it for its. */
static void test_an_answer_ahead_of_its_sync(void **state)
{
    NEEDS_SERVER;
    enum {
        AROUND = 53,
        LARGE = 12 * 8192 - AROUND
    }; /* bytes of Bind, Describe and Execute but for the text */
    static char large[LARGE + 1];
    struct call first, ahead, later;
    memset(large, 'x', LARGE);
    open_pg(1, 0, 2000);
    run("echo", "a", "1");
    ask(&first, "two", "1", NULL);
    pg_turn(pg);
    nanosleep(&(struct timespec){0, 100000000}, NULL);
    ask(&ahead, "echo", large, "no number");
    nanosleep(&(struct timespec){0, 100000000}, NULL);
    h2o_evloop_run(worker->loop, 0);
    assert_int_equal(first.answers, 1);
    assert_int_equal(ahead.answers, 1); /* else this tests nothing */
    bad(&ahead, pg_failed, "22P02");
    pg_turn(pg); /* the Sync */
    ask(&later, "two", "2", NULL);
    good(&later, "4");
    run_count("0");
    assert_int_equal(pg_waiting(pg), 0);
}

static void test_a_failing_write_leaves_its_neighbours_committed(void **state)
{
    NEEDS_SERVER;
    struct call put[4], failing[2], read;
    open_pg(1, 0, 5000);
    ask(&put[0], "put", "1", "a");
    ask(&read, "two", "4", NULL);
    ask(&failing[0], "put", "1", "again");
    ask(&put[1], "put", "2", "b");
    ask(&failing[1], "wrong_write", NULL, NULL);
    ask(&put[2], "put", "3", "c");
    ask(&put[3], "put", "4", "d");
    bad(&failing[0], pg_failed, "23505");
    bad(&failing[1], pg_failed, "42P01");
    good(&read, "8");
    for (int i = 0; i < 4; i++) {
        wait_for(&put[i]);
        assert_null(put[i].err);
    }
    run_count("4");
}

/* Random mixtures: each answer is its own statement's, each write happens once. */
static void test_random_mixtures(void **state)
{
    NEEDS_SERVER;
    enum { ROUNDS = 60, EACH = 25 };
    struct call calls[EACH];
    int kind[EACH], id = 0;
    char number[16], count[16], expected[16];
    open_pg(1, 0, 5000);
    srand(7);
    for (int round = 0; round < ROUNDS; round++) {
        if (round % 10 == 9)
            run("deallocate", NULL, NULL);
        for (int i = 0; i < EACH; i++) {
            kind[i] = rand() % 6;
            snprintf(number, sizeof(number), "%d", kind[i] == 4 ? ++id : i);
            static const char *const names[] = {"two", "echo", "divide", "wrong", "put", "wrong_write"};
            ask(&calls[i], names[kind[i]],
                kind[i] == 2                   ? "0"
                : kind[i] == 3 || kind[i] == 5 ? NULL
                                               : number,
                kind[i] == 1 || kind[i] == 4 ? "1" : NULL);
            if (rand() % 5 == 0)
                pg_turn(pg);
            if (rand() % 9 == 0)
                loop_turn(worker, turn, NULL, 1);
        }
        for (int i = 0; i < EACH; i++) {
            snprintf(expected, sizeof(expected), "%d", kind[i] == 0 ? 2 * i : i);
            if (kind[i] < 2)
                good(&calls[i], expected);
            else if (kind[i] == 4)
                good(&calls[i], "");
            else
                bad(&calls[i], pg_failed, kind[i] == 2 ? "22012" : "42P01");
        }
    }
    snprintf(count, sizeof(count), "%d", id);
    run_count(count);
}

static void test_timeout(void **state)
{
    NEEDS_SERVER;
    struct call slow, neighbour;
    open_pg(1, 0, 200);
    uint64_t began = clock_ms();
    ask(&slow, "sleep", "10", NULL);
    ask(&neighbour, "two", "1", NULL);
    bad(&slow, pg_timeout, "");
    good(&neighbour, "2");
    assert_in_range(clock_ms() - began, 190, 9000);
}

/* A server that does not keep its statement_timeout: the connection is given up. */
static void test_overdue(void **state)
{
    NEEDS_SERVER;
    struct call slow, behind, next;
    open_pg(1, 0, 200);
    run("no_timeout", NULL, NULL);
    uint64_t began = clock_ms();
    ask(&slow, "sleep_write", "30", NULL);
    ask(&behind, "put", "1", "x");
    bad(&slow, pg_timeout, "");
    bad(&behind, pg_unavailable, "");
    assert_in_range(clock_ms() - began, 600, 15000);
    assert_false(pg_ready(pg));
    ask(&next, "two", "1", NULL);
    bad(&next, pg_unavailable, "");
    for (int i = 0; i < 300 && !pg_ready(pg); i++)
        loop_for(worker, turn, NULL, 10);
    ask(&next, "two", "1", NULL);
    good(&next, "2");
}

/* More than the socket takes at once: the rest was left in libpq, and nobody waited for room. */
static void test_large_values(void **state)
{
    NEEDS_SERVER;
    enum { LARGE = 24 * 1024 * 1024 };
    struct call call, small;
    char *text = malloc(LARGE + 1), len[16];
    memset(text, 'x', LARGE);
    text[LARGE] = '\0';
    snprintf(len, sizeof(len), "%d", LARGE);
    open_pg(1, 0, 60000);
    ask(&call, "large", text, NULL);
    ask(&small, "two", "1", NULL);
    good(&call, len);
    good(&small, "2");
    free(text);
}

static void test_too_many(void **state)
{
    NEEDS_SERVER;
    enum { MANY = 4200 };
    struct call *calls = calloc(MANY, sizeof(*calls));
    unsigned busy = 0, fine = 0;
    open_pg(1, 0, 5000);
    for (int i = 0; i < MANY; i++)
        ask(&calls[i], "two", "1", NULL);
    for (int i = 0; i < MANY; i++) {
        wait_for(&calls[i]);
        busy += calls[i].err == pg_busy;
        fine += calls[i].err == NULL;
    }
    assert_int_equal(busy, MANY - 4096);
    assert_int_equal(fine, 4096);
    free(calls);
}

static void test_forget(void **state)
{
    NEEDS_SERVER;
    struct call write, refused, kept;
    open_pg(1, 0, 5000);
    pg_forget(ask(&write, "put", "1", "x"));
    ask(&kept, "two", "1", NULL);
    good(&kept, "2");
    run_count("1"); /* done all the same */
    pg_free(pg);
    struct pg_options options = {server->url, statements, 1, 0, 5000, metrics};
    pg = pg_new(worker, &options); /* not up yet */
    pg_forget(ask(&refused, "put", "2", "x"));
    loop_for(worker, turn, NULL, 50);
    assert_int_equal(write.answers, 0);
    assert_int_equal(refused.answers, 0);
}

static void test_stop_and_start(void **state)
{
    NEEDS_SERVER;
    static const int how[] = {SIGINT, SIGQUIT};
    for (int i = 0; i < 2; i++) {
        struct call flight[5], later;
        open_pg(2, 0, 20000);
        for (int j = 0; j < 5; j++)
            ask(&flight[j], j == 4 ? "two" : "sleep_write", "20", NULL);
        loop_for(worker, turn, NULL, 100);
        postgres_stop(server, how[i]);
        uint64_t began = clock_ms();
        for (int j = 0; j < 5; j++)
            bad(&flight[j], pg_unavailable, "");
        assert_true(clock_ms() - began < 15000);
        loop_for(worker, turn, NULL, 300);
        ask(&later, "two", "1", NULL);
        bad(&later, pg_unavailable, "");
        assert_false(pg_ready(pg));
        assert_true(postgres_start(server));
        for (int j = 0; j < 500 && !pg_ready(pg); j++)
            loop_for(worker, turn, NULL, 10);
        ask(&later, "two", "1", NULL);
        good(&later, "2");
        for (int j = 0; j < 5; j++)
            assert_int_equal(flight[j].answers, 1); /* once, and not repeated */
        pg_free(pg);
        pg = NULL;
    }
}

static void test_lost_connection(void **state)
{
    NEEDS_SERVER;
    struct call before, killed, behind[2];
    open_pg(1, 0, 5000);
    ask(&before, "put", "1", "x");
    good(&before, "");
    ask(&killed, "kill_me", NULL, NULL);
    ask(&behind[0], "put", "2", "x");
    ask(&behind[1], "two", "1", NULL);
    bad(&killed, pg_unavailable, "");
    bad(&behind[0], pg_unavailable, "");
    bad(&behind[1], pg_unavailable, "");
    for (int i = 0; i < 300 && !pg_ready(pg); i++)
        loop_for(worker, turn, NULL, 10);
    run_count("1");
}

/* -- statements' files -------------------------------------------------------------------------------------
 */

static void refuse_file(struct scratch *scratch, const char *text, const char *why)
{
    char *error = NULL;
    scratch_write(scratch, "a.sql", text, strlen(text), 0600);
    assert_null(pg_statements_load(scratch->path, &error));
    if (strstr(error, why) == NULL)
        fail_msg("%s", error);
    free(error);
}

static void test_statement_files(void **state)
{
    void *scratch;
    char *error = NULL;
    assert_int_equal(scratch_setup(&scratch), 0);
    static const char text[] = "-- a comment\n\n-- name: one read\n-- what it does\nselect 1\n  from t;\n"
                               "-- name: two_2\ninsert;\n-- name: three read anew\nselect 3;\n";
    scratch_write(scratch, "b.sql", text, sizeof(text) - 1, 0600);
    scratch_write(scratch, "c.sql~", "-- name: no\n", 12, 0600);
    struct pg_statements *loaded = pg_statements_load(((struct scratch *)scratch)->path, &error);
    assert_non_null(loaded);
    assert_string_equal(pg_statement(loaded, "one")->text, "select 1\n  from t;\n");
    assert_true(pg_statement(loaded, "one")->read);
    assert_false(pg_statement(loaded, "two_2")->read);
    assert_false(pg_statement(loaded, "one")->anew);
    assert_true(pg_statement(loaded, "three")->read && pg_statement(loaded, "three")->anew);
    assert_null(pg_statement(loaded, "no"));
    pg_statements_free(loaded);

    refuse_file(scratch, "-- name: one\nselect 2;\n", "one"); /* in b.sql, too */
    refuse_file(scratch, "-- name: empty\n-- name: full\nselect 1;\n", "empty");
    refuse_file(scratch, "-- name: x reads\nselect 1;\n", "a.sql");
    refuse_file(scratch, "-- name: x anew\nselect 1;\n", "a.sql");
    refuse_file(scratch, "-- name: x read anew now\nselect 1;\n", "a.sql");
    refuse_file(scratch, "-- name: Upper\nselect 1;\n", "Upper");
    refuse_file(scratch, "-- name: \nselect 1;\n", "a.sql");
    scratch_teardown(&scratch);
    assert_null(pg_statements_load("/nonexistent", &error));
    assert_non_null(strstr(error, "/nonexistent"));
    free(error);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_statements),
        CASE(test_reads_anew),
        CASE(test_behind_what_is_planned_anew_waits_nobody),
        CASE(test_many_reads_share_a_turn),
        CASE(test_a_failing_read_leaves_its_neighbours_alone),
        CASE(test_statement_unprepared_behind_a_failure),
        CASE(test_statement_unprepared_elsewhere),
        CASE(test_a_table_changes_below_prepared_statements),
        CASE(test_an_answer_ahead_of_its_sync),
        CASE(test_a_failing_write_leaves_its_neighbours_committed),
        CASE(test_random_mixtures),
        CASE(test_timeout),
        CASE(test_overdue),
        CASE(test_large_values),
        CASE(test_too_many),
        CASE(test_forget),
        CASE(test_stop_and_start),
        CASE(test_lost_connection),
        cmocka_unit_test(test_statement_files),
    };
    return cmocka_run_group_tests(tests, start, end);
}
