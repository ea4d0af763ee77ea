/* Who acts: told in the transaction of what is written, and to nobody else on the same connection. */
#include "pg_fixture.h"

static struct pg_query *ask_by(struct call *call, const char *actor, const char *name, const char *a)
{
    *call = (struct call){0};
    asking = true;
    struct pg_query *query =
        pg_query_by(pg, actor, pg_statement(statements, name), a != NULL, &a, on_answer, call);
    asking = false;
    return query;
}

static void test_only_the_statement_knows(void **state)
{
    NEEDS_SERVER;
    struct call by, after, read, nobody;
    open_pg(1, 0, 5000);
    for (int i = 0; i < 3; i++) { /* the second time it is prepared */
        ask_by(&by, "{\"user\": 1}", "who", NULL);
        ask_by(&after, NULL, "who", NULL);
        ask_by(&read, "{\"user\": 2}", "who_reads", NULL);
        ask_by(&nobody, NULL, "who_reads", NULL);
        good(&by, "{\"user\": 1}");
        good(&after, "");
        good(&read, "");
        good(&nobody, "");
    }
    assert_int_equal(pg_waiting(pg), 0);
}

/* What fails is undone with what was told before it; what comes next on the connection knows nothing of it.
 */
static void test_a_statement_that_fails(void **state)
{
    NEEDS_SERVER;
    struct call call, twice, wrong, after;
    open_pg(1, 0, 5000);
    ask_by(&call, "one", "put_who", "1");
    ask_by(&twice, "two", "put_who", "1");
    ask_by(&wrong, "two", "wrong_write", NULL);
    ask_by(&after, NULL, "who", NULL);
    good(&call, "");
    bad(&twice, pg_failed, "23505");
    bad(&wrong, pg_failed, "42P01");
    good(&after, "");
    ask(&call, "by", "1", NULL);
    good(&call, "one");
}

/* A Parse that is lost, of what is told or of the statement itself: both are sent again. */
static void test_unprepared_elsewhere(void **state)
{
    NEEDS_SERVER;
    struct call call;
    open_pg(1, 0, 5000);
    for (int i = 0; i < 3; i++) {
        ask_by(&call, "me", "who", NULL);
        good(&call, "me");
        run("deallocate", NULL, NULL);
    }
    ask_by(&call, "me", "count", NULL); /* knows its Parse, the others do not */
    good(&call, "0");
    ask_by(&call, "me", "who", NULL);
    good(&call, "me");
}

/* Nothing is written that nobody could be named for. */
static void test_an_actor_that_cannot_be_told(void **state)
{
    NEEDS_SERVER;
    struct call call, after;
    open_pg(1, 0, 5000);
    ask_by(&call, "\xff", "put_who", "1");
    ask_by(&after, "me", "put_who", "2");
    bad(&call, pg_unavailable, "");
    good(&after, "");
    run_count("1");
}

static void test_mixtures(void **state)
{
    NEEDS_SERVER;
    enum { MANY = 2000 };
    static const char *const others[] = {"who", "who_reads", "wrong_write", "count", "who"};
    struct call *calls = calloc(2 * MANY, sizeof(*calls)), call;
    char id[16], actor[32];
    open_pg(1, 0, 20000);
    for (int i = 0; i < MANY; i++) {
        snprintf(id, sizeof(id), "%d", i);
        snprintf(actor, sizeof(actor), "actor %d", i);
        ask_by(&calls[2 * i], i % 3 == 0 ? NULL : actor, "put_who", id);
        ask_by(&calls[2 * i + 1], NULL, others[i % 5], NULL);
        if (i % 7 == 0)
            loop_turn(worker, turn, NULL, 0);
        if (i % 300 == 299) { /* what comes next must be sent again */
            wait_for(&calls[2 * i + 1]);
            run("deallocate", NULL, NULL);
        }
    }
    for (int i = 0; i < MANY; i++) {
        const char *other = others[i % 5];
        wait_for(&calls[2 * i]);
        assert_null(calls[2 * i].err);
        wait_for(&calls[2 * i + 1]);
        if (strncmp(other, "who", 3) == 0)
            assert_string_equal(calls[2 * i + 1].text, "");
    }
    for (int i = 0; i < MANY; i += 5) {
        snprintf(id, sizeof(id), "%d", i);
        snprintf(actor, sizeof(actor), "actor %d", i);
        ask(&call, "by", id, NULL);
        good(&call, i % 3 == 0 ? "" : actor);
    }
    free(calls);
}

struct begin {
    unsigned answers;
    struct pg_transaction *transaction;
};

static void on_begun(void *arg, const char *err, struct pg_transaction *transaction)
{
    struct begin *begin = arg;
    begin->answers++;
    begin->transaction = transaction;
    assert_null(err);
}

static void begin_by(struct begin *begin, const char *actor)
{
    *begin = (struct begin){0};
    pg_begin_by(pg, actor, on_begun, begin);
    if (!loop_until(worker, turn, NULL, &begin->answers, 1, 10000))
        fail_msg("no answer");
}

static void in_it(struct begin *begin, const char *name, const char *a, const char *text)
{
    struct call call = {0};
    pg_transaction_query(begin->transaction, pg_statement(statements, name), a != NULL, &a, on_answer, &call);
    good(&call, text);
}

static void end_it(struct begin *begin, bool commit)
{
    struct call call = {0};
    pg_end(begin->transaction, commit, on_answer, &call);
    good(&call, "");
}

static void test_transactions(void **state)
{
    NEEDS_SERVER;
    struct begin begin;
    open_pg(1, 1, 5000);
    for (int i = 0; i < 4; i++) {
        bool commit = i % 2 == 0;
        char id[16];
        snprintf(id, sizeof(id), "%d", i);
        begin_by(&begin, "me");
        in_it(&begin, "who", NULL, "me");
        in_it(&begin, "put_who", id, "");
        in_it(&begin, "who_reads", NULL, "me");
        end_it(&begin, commit);
        begin_by(&begin, NULL); /* on the same connection: there is one */
        in_it(&begin, "who", NULL, "");
        in_it(&begin, "put_who", "99", "");
        end_it(&begin, false); /* had BEGIN been none, this row would stay */
    }
    run_count("2");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_only_the_statement_knows),
        CASE(test_a_statement_that_fails),
        CASE(test_unprepared_elsewhere),
        CASE(test_an_actor_that_cannot_be_told),
        CASE(test_mixtures),
        CASE(test_transactions),
    };
    return cmocka_run_group_tests(tests, start, end);
}
