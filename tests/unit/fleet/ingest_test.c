/* fleet/ingest against a real PostgreSQL, on a loop that the test runs itself, with a clock that the test
 * sets. */
#include "../loop.h"
#include "../scratch.h"
#include "base/mem.h"
#include "fleet/ingest.h"
#include "io/mqtt_private.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/syscall.h>

#include <cmocka.h>

#include "../postgres.h"

/* What the real ones take; what is told with a chip is a new version, and nothing else is new: the tables are
 * tests/api's. */
static const char sql[] =
    "-- name: ingest_devices\n"
    "select id, null, case when chip is not null then version end, null, null, "
    "'offline' from unnest($1::int[], $2::float8[], $3::text[], $4::text[], $5::text[],\n"
    "  $6::float8[], $7::text[], $8::text[], $9::text[], $10::jsonb[], $11::bool[])\n"
    "  as n (id, at, status, session, will, will_at, version, chip, elf, telemetry, wanted)\n"
    "  where chip is not null or wanted;\n"
    "-- name: ingest_telemetry\n"
    "select from unnest($1::int[], $2::float8[], $3::jsonb[]) where false;\n"
    "-- name: ingest_logs\n"
    "select device from unnest($1::int[], $2::float8[], $3::text[], $4::text[])\n"
    "  as n (device, at, level, message) where false;\n";

static time_t skew; /* s */

/* Before the library's: everybody's wall clock. */
int clock_gettime(clockid_t id, struct timespec *now)
{
    long failed = syscall(SYS_clock_gettime, id, now);
    now->tv_sec += id == CLOCK_REALTIME ? skew : 0;
    return (int)failed;
}

struct bench {
    struct worker *worker;
    struct metrics *metrics;
    struct pg_statements *statements;
    struct pg *pg;
    struct mqtt *mqtt; /* never started: counts what the worker has not done with */
    struct ingest *ingest;
    unsigned idle;
    unsigned changes[8]; /* told, by device */
    bool refuse;
};

static struct postgres *server;

static void turn(void *arg)
{
    struct bench *bench = arg;
    pg_turn(bench->pg);
    if (bench->ingest != NULL)
        bench->idle = ingest_idle(bench->ingest);
}

static void on_change(void *arg, struct ingest_change *change)
{
    struct bench *bench = arg;
    if (change->what == INGEST_VERSION && strcmp(change->firmware_version, "2.0") == 0)
        bench->changes[change->device]++;
    ingest_change_done(change, !bench->refuse);
}

static int setup(void **state)
{
    struct bench *bench = x_new(struct bench);
    char *error = NULL;
    void *scratch;
    scratch_setup(&scratch);
    scratch_write(scratch, "test.sql", sql, sizeof(sql) - 1, 0600);
    bench->statements = pg_statements_load(((struct scratch *)scratch)->path, &error);
    scratch_teardown(&scratch);
    *state = bench;
    if (server == NULL)
        return 0;
    bench->worker = loop_worker();
    bench->metrics = metrics_new();
    struct pg_options options = {server->url, bench->statements, 1, 0, 5000, bench->metrics};
    bench->pg = pg_new(bench->worker, &options);
    for (int i = 0; i < 500 && !pg_ready(bench->pg); i++)
        loop_for(bench->worker, turn, bench, 10);
    bench->mqtt = x_alloc(sizeof(struct mqtt) + sizeof(struct inbox));
    bench->mqtt->options.queue = 16;
    struct ingest_options ingest = {.worker = bench->worker,
                                    .pg = bench->pg,
                                    .statements = bench->statements,
                                    .metrics = bench->metrics,
                                    .flush_interval = 10,
                                    .window = 60000,
                                    .devices = 2,
                                    .on_change = on_change,
                                    .arg = bench};
    bench->ingest = ingest_new(&ingest);
    return 0;
}

static int teardown(void **state)
{
    struct bench *bench = *state;
    skew = 0;
    if (server != NULL) {
        pg_free(bench->pg);
        ingest_free(bench->ingest);
        free(bench->mqtt);
        loop_finish(bench->worker);
        metrics_free(bench->metrics);
    }
    pg_statements_free(bench->statements);
    free(bench);
    return 0;
}

static void say(struct bench *bench, int32_t device, const char *json)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    struct mqtt_message *message = x_alloc(sizeof(*message) + strlen(json) + 1);
    message->mqtt = bench->mqtt;
    message->at = (double)now.tv_sec;
    message->kind = MQTT_STATUS;
    message->device = device;
    message->len = strlen(json);
    memcpy(message->payload, json, message->len);
    atomic_fetch_add(&bench->mqtt->inbox[0].taken, 1);
    ingest_message(bench->ingest, message);
    bench->idle = 0;
}

static void wait_until_idle(struct bench *bench)
{
    if (!loop_until(bench->worker, turn, bench, &bench->idle, 1, 5000))
        fail_msg("%d messages were not taken", (int)atomic_load(&bench->mqtt->inbox[0].taken));
    assert_int_equal(atomic_load(&bench->mqtt->inbox[0].taken), 0);
}

/* With the table full, nothing was taken any more until the clock came to where it had been. */
static void test_a_clock_set_back(void **state)
{
    struct bench *bench = *state;
    if (server == NULL)
        skip();
    say(bench, 1, "{\"status\":\"online\"}");
    say(bench, 2, "{\"status\":\"online\"}");
    wait_until_idle(bench);
    skew = -3600;
    say(bench, 3, "{\"status\":\"online\"}");
    say(bench, 4, "{\"status\":\"online\"}");
    wait_until_idle(bench);
    say(bench, 5, "{\"status\":\"online\"}");
    wait_until_idle(bench);
}

/* What the hook failed to take is kept with the device, while others have to make room. */
static void test_news_that_are_owed(void **state)
{
    struct bench *bench = *state;
    if (server == NULL)
        skip();
    bench->refuse = true;
    say(bench, 1, "{\"status\":\"online\",\"firmware_version\":\"2.0\",\"chip\":\"esp32\"}");
    say(bench, 2, "{\"status\":\"online\"}");
    wait_until_idle(bench);
    assert_int_equal(bench->changes[1], 1);
    bench->refuse = false;
    say(bench, 3, "{\"status\":\"online\"}");
    wait_until_idle(bench);
    say(bench, 4, "{\"status\":\"online\"}");
    wait_until_idle(bench);
    say(bench, 1, "{\"status\":\"online\"}");
    wait_until_idle(bench);
    assert_int_equal(bench->changes[1], 2);
    say(bench, 1, "{\"status\":\"online\"}"); /* and then it is paid */
    wait_until_idle(bench);
    assert_int_equal(bench->changes[1], 2);

    /* Where all owe, they make room: else nothing new would ever be taken. */
    bench->refuse = true;
    say(bench, 1, "{\"status\":\"online\",\"firmware_version\":\"2.0\",\"chip\":\"esp32\"}");
    say(bench, 5, "{\"status\":\"online\",\"firmware_version\":\"2.0\",\"chip\":\"esp32\"}");
    say(bench, 6, "{\"status\":\"online\",\"firmware_version\":\"2.0\",\"chip\":\"esp32\"}");
    say(bench, 7, "{\"status\":\"online\",\"firmware_version\":\"2.0\",\"chip\":\"esp32\"}");
    wait_until_idle(bench);
    assert_int_equal(bench->changes[7], 1);
}

static int start(void **state)
{
    server = postgres_new();
    return 0;
}

static int end(void **state)
{
    postgres_free(server);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_a_clock_set_back, setup,
                                                                       teardown),
                                       cmocka_unit_test_setup_teardown(test_news_that_are_owed, setup,
                                                                       teardown)};
    return cmocka_run_group_tests(tests, start, end);
}
