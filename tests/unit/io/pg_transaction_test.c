/* Transactions, listening, and the end of it all. */
#include "pg_fixture.h"

/* -- transactions --------------------------------------------------------------------------------------- */

struct begin {
    unsigned answers;
    const char *err;
    struct pg_transaction *transaction;
};

static void on_begun(void *arg, const char *err, struct pg_transaction *transaction)
{
    struct begin *begin = arg;
    assert_false(asking);
    assert_true((err == NULL) == (transaction != NULL));
    begin->answers++;
    begin->err = err;
    begin->transaction = transaction;
    answered++;
}

static void ask_begin(struct begin *begin)
{
    *begin = (struct begin){0};
    asking = true;
    pg_begin(pg, on_begun, begin);
    asking = false;
}

static void begun(struct begin *begin, const char *err)
{
    if (!loop_until(worker, turn, NULL, &begin->answers, 1, 10000))
        fail_msg("no answer");
    assert_int_equal(begin->answers, 1);
    assert_ptr_equal(begin->err, err);
}

static void ask_within(struct begin *begin, struct call *call, const char *name, const char *a, const char *b)
{
    const char *const values[] = {a, b};
    *call = (struct call){0};
    asking = true;
    pg_transaction_query(begin->transaction, pg_statement(statements, name), b != NULL ? 2 : a != NULL,
                         values, on_answer, call);
    asking = false;
}

static void ask_end(struct begin *begin, bool commit, struct call *call)
{
    *call = (struct call){0};
    asking = true;
    pg_end(begin->transaction, commit, on_answer, call);
    asking = false;
}

/* Waits until the transactions' connections are up. */
static void open_with_transactions(unsigned transactions, uint64_t timeout)
{
    struct begin begin;
    struct call end;
    open_pg(1, transactions, timeout);
    ask_begin(&begin);
    begun(&begin, NULL);
    ask_end(&begin, false, &end);
    good(&end, "");
}

static void test_commit_and_rollback(void **state)
{
    NEEDS_SERVER;
    struct begin begin;
    struct call call, end;
    open_with_transactions(1, 5000);
    ask_begin(&begin);
    begun(&begin, NULL);
    ask_within(&begin, &call, "put", "1", "x");
    good(&call, "");
    ask_within(&begin, &call, "count", NULL, NULL);
    good(&call, "1");
    run_count("0"); /* nobody else sees it */
    ask_end(&begin, true, &end);
    good(&end, "");
    run_count("1");

    ask_begin(&begin);
    begun(&begin, NULL);
    ask_within(&begin, &call, "put", "2", "x");
    good(&call, "");
    ask_end(&begin, false, &end);
    good(&end, "");
    run_count("1");
}

static void test_commit_of_a_failed_transaction_is_a_failure(void **state)
{
    NEEDS_SERVER;
    struct begin begin;
    struct call call, failing, after, end;
    open_with_transactions(1, 5000);
    ask_begin(&begin);
    begun(&begin, NULL);
    ask_within(&begin, &call, "put", "1", "x");
    ask_within(&begin, &failing, "divide", "0", NULL);
    good(&call, "");
    bad(&failing, pg_failed, "22012");
    ask_within(&begin, &after, "put", "2", "x");
    bad(&after, pg_failed, "25P02");
    ask_end(&begin, true, &end);
    wait_for(&end);
    assert_ptr_equal(end.err, pg_failed);
    run_count("0");
    ask_begin(&begin); /* the connection is good again */
    begun(&begin, NULL);
    pg_end(begin.transaction, true, NULL, NULL);
}

static void test_connection_lost_within_a_transaction(void **state)
{
    NEEDS_SERVER;
    struct begin begin;
    struct call call, killed, end;
    open_with_transactions(1, 5000);
    for (int round = 0; round < 2; round++) {
        ask_begin(&begin);
        begun(&begin, NULL);
        ask_within(&begin, &call, "put", "1", "x");
        good(&call, "");
        ask_within(&begin, &killed, "kill_me", NULL, NULL);
        bad(&killed, pg_unavailable, "");
        loop_for(worker, turn, NULL, 400); /* it is connected again, and must not be used */
        ask_within(&begin, &call, "put", "2", "x");
        bad(&call, pg_unavailable, "");
        ask_end(&begin, round == 0, &end);
        bad(&end, pg_unavailable, "");
        run_count("0");
    }
    ask_begin(&begin);
    begun(&begin, NULL);
    ask_end(&begin, true, &end);
    good(&end, "");
}

static void test_more_begins_than_connections(void **state)
{
    NEEDS_SERVER;
    struct begin begins[6];
    struct call end;
    open_with_transactions(2, 5000);
    for (int i = 0; i < 6; i++)
        ask_begin(&begins[i]);
    for (int i = 0; i < 6; i++) { /* in order, as leases end */
        begun(&begins[i], NULL);
        loop_for(worker, turn, NULL, 20);
        for (int j = i + 2; j < 6; j++)
            assert_int_equal(begins[j].answers, 0);
        ask_end(&begins[i], i % 2, &end);
        good(&end, "");
    }
}

/* Beyond 256 waiting they were not refused: they waited behind the others, without a bound. */
static void test_too_many_begins(void **state)
{
    NEEDS_SERVER;
    enum { MANY = 300 };
    struct begin holder, *begins = calloc(MANY, sizeof(*begins));
    unsigned refused = 0;
    open_with_transactions(1, 700);
    ask_begin(&holder);
    begun(&holder, NULL);
    for (int i = 0; i < MANY; i++)
        ask_begin(&begins[i]);
    loop_for(worker, turn, NULL, 150);
    for (int i = 0; i < MANY; i++)
        refused += begins[i].answers;
    assert_int_equal(refused, MANY - 256);
    for (int i = 0; i < MANY; i++)
        begun(&begins[i], pg_busy); /* the others when they have waited for the timeout */
    pg_end(holder.transaction, false, NULL, NULL);
    free(begins);
}

static void test_begin_while_down(void **state)
{
    NEEDS_SERVER;
    struct begin begin;
    struct pg_options options = {
        "postgresql://nobody@/none?host=/nonexistent", statements, 1, 1, 500, metrics};
    pg = pg_new(worker, &options);
    ask_begin(&begin);
    begun(&begin, pg_unavailable);
}

/* -- the end --------------------------------------------------------------------------------------------- */

struct stubborn { /* asks again whenever it is refused, as a script with pcall may */
    struct call call;
    struct begin begin;
    int left;
};

static void on_stubborn(void *arg, const char *err, const PGresult *result)
{
    struct stubborn *stubborn = arg;
    stubborn->call.err = err;
    answered++;
    if (stubborn->left-- > 0)
        pg_query(pg, pg_statement(statements, "count"), 0, NULL, on_stubborn, stubborn);
}

static void on_stubborn_begin(void *arg, const char *err, struct pg_transaction *transaction)
{
    struct stubborn *stubborn = arg;
    stubborn->begin.err = err;
    answered++;
    if (stubborn->left-- > 0)
        pg_begin(pg, on_stubborn_begin, stubborn);
}

static void on_ends_its_transaction(void *arg, const char *err, const PGresult *result)
{
    struct stubborn *stubborn = arg;
    answered++;
    pg_end(stubborn->begin.transaction, false, on_answer, &stubborn->call);
}

/* All that waits is told so before pg_free() returns; what it had put off to the next turn used freed memory.
 */
static void test_free_answers_all(void **state)
{
    NEEDS_SERVER;
    struct stubborn query = {.left = 3}, begin = {.left = 3}, holder = {.left = 0};
    struct call sleeping;
    open_with_transactions(1, 5000);
    ask_begin(&holder.begin);
    begun(&holder.begin, NULL);
    answered = 0;
    const char *seconds = "5";
    pg_transaction_query(holder.begin.transaction, pg_statement(statements, "sleep"), 1, &seconds,
                         on_ends_its_transaction, &holder);
    pg_query(pg, pg_statement(statements, "count"), 0, NULL, on_stubborn, &query);
    ask(&sleeping, "sleep", "5", NULL);
    pg_begin(pg, on_stubborn_begin, &begin);
    pg_free(pg);
    pg = NULL;
    assert_int_equal(sleeping.answers, 1);
    assert_ptr_equal(sleeping.err, pg_unavailable);
    assert_ptr_equal(query.call.err, pg_unavailable);
    assert_ptr_equal(begin.begin.err, pg_unavailable);
    assert_ptr_equal(holder.call.err, pg_unavailable);
    assert_int_equal(answered, 1 + 4 + 4 + 2);
    loop_for(worker, NULL, NULL, 20);
    assert_int_equal(answered, 1 + 4 + 4 + 2);
}

/* -- listening --------------------------------------------------------------------------------------------
 */

static unsigned connected, lost, notified;
static char last_payload[64];

static void on_connected(struct pg_listener *listener)
{
    connected++;
}

static void on_lost(struct pg_listener *listener)
{
    lost++;
}

static void on_notify(struct pg_listener *listener, const char *payload)
{
    notified++;
    snprintf(last_payload, sizeof(last_payload), "%s", payload);
}

static void test_listen(void **state)
{
    NEEDS_SERVER;
    struct pg_listener listener = {.statement = pg_statement(statements, "listening"),
                                   .on_connected = on_connected,
                                   .on_lost = on_lost,
                                   .on_notify = on_notify};
    connected = lost = notified = 0;
    open_pg(1, 0, 5000);
    pg_listen(pg, &listener);
    assert_true(loop_until(worker, turn, NULL, &connected, 1, 3000));
    run("notify", "one", NULL);
    assert_true(loop_until(worker, turn, NULL, &notified, 1, 3000));
    assert_string_equal(last_payload, "one");
    for (int i = 0; i < 100; i++)
        run("notify", i == 99 ? "last" : "more", NULL);
    assert_true(loop_until(worker, turn, NULL, &notified, 101, 3000));

    assert_int_equal(lost, 0);
    postgres_stop(server, SIGQUIT);
    assert_true(loop_until(worker, turn, NULL, &lost, 1, 3000));
    assert_true(postgres_start(server));
    assert_true(loop_until(worker, turn, NULL, &connected, 2, 5000)); /* asks what it missed */
    for (int i = 0; i < 300 && !pg_ready(pg); i++)
        loop_for(worker, turn, NULL, 10);
    run("notify", "two", NULL);
    assert_true(loop_until(worker, turn, NULL, &notified, 102, 3000));
    assert_string_equal(last_payload, "two");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_commit_and_rollback),
        CASE(test_commit_of_a_failed_transaction_is_a_failure),
        CASE(test_connection_lost_within_a_transaction),
        CASE(test_more_begins_than_connections),
        CASE(test_too_many_begins),
        CASE(test_begin_while_down),
        CASE(test_free_answers_all),
        CASE(test_listen),
    };
    return cmocka_run_group_tests(tests, start, end);
}
