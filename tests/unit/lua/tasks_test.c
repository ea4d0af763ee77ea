#include "../loop.h"
#include "lab.h"
#include "lua/coroutine.h"
#include "lua/tasks.h"

static struct worker *worker;
static struct tasks *tasks;

static int setup(void **state)
{
    if (lab_setup(state) != 0)
        return -1;
    worker = loop_worker();
    ((struct lab *)*state)->runtime.worker = worker;
    ((struct lab *)*state)->services.offload = offload_new(1, 8);
    return 0;
}

static int teardown(void **state)
{
    struct lab *lab = *state;
    if (tasks != NULL) {
        tasks_stop(tasks);
        for (int i = 0; i < 500 && !tasks_idle(tasks); i++)
            loop_for(worker, NULL, NULL, 10);
        tasks_free(tasks);
    }
    tasks = NULL;
    offload_free(lab->services.offload);
    lab_drop(lab);
    loop_for(worker, NULL, NULL, 5);
    int failed = lab_teardown(state);
    loop_finish(worker);
    return failed;
}

static void refused(struct lab *lab, const char *text, const char *says)
{
    lab_write(lab, "tasks/a.lua", text);
    lab_refused(lab, "scripts/tasks/a.lua", 1, says);
}

static void test_declarations(void **state)
{
    static const char *const wrong[] = {"nil", "'soon'", "''",   "'5'",    "'1d'",   "0",     "-1",   "'-5s'",
                                        "0/0", "1/0",    "-1/0", "'infs'", "'nans'", "1e300", "0.05", "{}"};
    static const struct {
        const char *text;
        uint64_t ms;
    } right[] = {{"'100ms'", 100},  {"'1s'", 1000}, {"'1.5s'", 1500}, {"'5m'", 300000},
                 {"'2h'", 7200000}, {"30", 30000},  {"0.25", 250}};
    char text[128];
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        snprintf(text, sizeof(text), "return { every = %s, run = function() end }", wrong[i]);
        refused(*state, text, "every must be a duration");
    }
    refused(*state, "return 1", "must return a table");
    refused(*state, "return { every = '1s' }", "run must be a function");
    for (size_t i = 0; i < sizeof(right) / sizeof(right[0]); i++) {
        snprintf(text, sizeof(text), "return { every = %s, run = function() end }", right[i].text);
        lab_write(*state, "tasks/a.lua", text);
        lab_load_fine(*state);
        assert_int_equal(((struct lab *)*state)->runtime.current->tasks[0].every, right[i].ms);
    }
    lab_write(*state, "topics/status.lua", "return {}");
    lab_refused(*state, "scripts/topics/status.lua", 1, "must return a function");
}

static void counts(struct lab *lab, const char *name, int least, int most)
{
    char code[64];
    snprintf(code, sizeof(code), "return require('lib.count').%s or 0", name);
    int count = atoi(lab_run(lab, code));
    if (count < least || count > most)
        fail_msg("%s ran %d times", name, count);
}

#define TASK(every, name, body)                                                                              \
    "local count = require('lib.count') return { every = '" every "', run = function() count." name          \
    " = (count." name " or 0) + 1 " body " end }"

static void test_intervals(void **state)
{
    struct lab *lab = *state;
    lab_write(lab, "lib/count.lua", "return {}");
    lab_write(lab, "tasks/fast.lua", TASK("100ms", "fast", ""));
    lab_write(lab, "tasks/slow.lua", TASK("1h", "slow", ""));
    lab_write(lab, "tasks/failing.lua", TASK("200ms", "failing", "error('mine')"));
    lab_load_fine(lab);
    tasks = tasks_new(&lab->runtime);
    uint64_t began = clock_ms();
    for (int i = 0; i < 200 && (atoi(lab_run(lab, "return require('lib.count').fast or 0")) < 4 ||
                                atoi(lab_run(lab, "return require('lib.count').failing or 0")) < 2);
         i++)
        loop_for(worker, NULL, NULL, 50);
    int tenths = (int)((clock_ms() - began) / 100) + 1;
    counts(lab, "fast", 4, tenths);
    counts(lab, "failing", 2, tenths / 2 + 1);
    counts(lab, "slow", 1, 1);
    tasks_stop(tasks);
    assert_true(tasks_idle(tasks));
    char before[64];
    strcpy(before, lab_run(lab, "return require('lib.count').fast"));
    loop_for(worker, NULL, NULL, 250);
    lab_expect(lab, "return require('lib.count').fast", before);
}

/* What runs once a day and met a database that was not there yet waited for tomorrow. */
static void test_what_failed_runs_again_soon(void **state)
{
    struct lab *lab = *state;
    lab_write(lab, "lib/count.lua", "return {}");
    lab_write(lab, "tasks/daily.lua", TASK("24h", "daily", "if count.daily == 1 then error('mine') end"));
    lab_load_fine(lab);
    tasks = tasks_new(&lab->runtime);
    for (int i = 0; i < 500 && atoi(lab_run(lab, "return require('lib.count').daily or 0")) < 2; i++)
        loop_for(worker, NULL, NULL, 50);
    loop_for(worker, NULL, NULL, 250);
    counts(lab, "daily", 2, 2);
}

/* One that waits is not started again beside itself, also not by a reload. */
static void test_never_twice_at_once(void **state)
{
    struct lab *lab = *state;
    lab_write(lab, "lib/count.lua", "return {}");
    lab_write(lab, "tasks/a.lua",
              "local count = require('lib.count') return { every = '100ms', run = function()\n"
              "  count.now = (count.now or 0) + 1 count.most = math.max(count.most or 0, count.now)\n"
              "  for _ = 1, 12 do crypto.hash_password('0123456789') end\n"
              "  count.now = count.now - 1 count.done = (count.done or 0) + 1\n"
              "end }");
    lab_load_fine(lab);
    tasks = tasks_new(&lab->runtime);
    for (int i = 0; i < 400 && tasks_idle(tasks); i++)
        loop_for(worker, NULL, NULL, 5);
    assert_false(tasks_idle(tasks));
    struct generation *old = generation_hold(lab->runtime.current);
    lab_load_fine(lab);
    loop_for(worker, NULL, NULL, 250);
    if (old->refs > 1) /* still under way there */
        counts(lab, "most", 0, 0);
    generation_release(old);
    for (int i = 0; i < 300 && atoi(lab_run(lab, "return require('lib.count').done or 0")) < 2; i++)
        loop_for(worker, NULL, NULL, 20);
    counts(lab, "most", 1, 1);
}

/* Names of tasks that were gone kept their places: after 32 of them no new task ran. */
static void test_renamed_tasks(void **state)
{
    struct lab *lab = *state;
    lab_write(lab, "lib/count.lua", "return {}");
    for (int i = 0; i < 40; i++) {
        char name[32], before[64];
        snprintf(name, sizeof(name), "tasks/t%d.lua", i);
        lab_write(lab, name, TASK("100ms", "ran", ""));
        if (i > 0) {
            snprintf(before, sizeof(before), "scripts/tasks/t%d.lua", i - 1);
            remove(scratch_path(lab->scratch, before));
        }
        lab_load_fine(lab);
        if (tasks == NULL)
            tasks = tasks_new(&lab->runtime);
        for (int j = 0; j < 40 && atoi(lab_run(lab, "return require('lib.count').ran or 0")) == 0; j++)
            loop_for(worker, NULL, NULL, 10);
        counts(lab, "ran", 1, 100);
    }
}

/* Functions that wait beside each other, and what becomes of their errors. */
static void test_concurrently(void **state)
{
    struct lab *lab = *state;
    lab_write(lab, "lib/count.lua", "return {}");
    lab_write(
        lab, "tasks/a.lua",
        "local count = require('lib.count')\n"
        "local function waits(name) return function()\n"
        "  count.order = (count.order or '') .. name crypto.hash_password('0123456789')\n"
        "  count.order = count.order .. name:upper() end end\n"
        "local function fails(...) local ok, problem = pcall(concurrently, ...)\n"
        "  return ok and 'fine' or tostring(problem) end\n"
        "return { every = '1h', run = function()\n"
        "  concurrently() concurrently(function() end)\n"
        "  concurrently(waits 'a', waits 'b', function() count.order = count.order .. 'c' end)\n"
        "  count.order = count.order .. '.'\n"
        "  concurrently(function() concurrently(waits 'd') end)\n"
        "  count.first = fails(waits 'e', function() error('one', 0) end, function() error('two', 0) end)\n"
        "  count.late = fails(function() waits 'f'() error('late', 0) end, waits 'g')\n"
        "  count.wrong = fails(waits 'h', 7)\n"
        "  count.many = fails(table.unpack({}, 1, 17))\n"
        "  count.done = 1\n"
        "end }");
    lab_load_fine(lab);
    tasks = tasks_new(&lab->runtime);
    for (int i = 0; i < 500 && atoi(lab_run(lab, "return require('lib.count').done or 0")) == 0; i++)
        loop_for(worker, NULL, NULL, 20);
    lab_expect(lab, "return require('lib.count').order", "abcAB.dDeEfgFG");
    lab_expect(lab, "return require('lib.count').first", "one");
    lab_expect(lab, "return require('lib.count').late", "late");
    lab_expect(lab, "return (require('lib.count').wrong:match('function expected'))", "function expected");
    lab_expect(lab, "return (require('lib.count').many:match('too many'))", "too many");
    lab_write(lab, "tasks/b.lua",
              "concurrently(function() end) return { every = '1h', run = function() end }");
    lab_refused(lab, "scripts/tasks/b.lua", 1, "cannot wait here");
}

/* What nobody waits for begins when its caller waits or has ended, and its errors are nobody's. */
static void test_meanwhile(void **state)
{
    struct lab *lab = *state;
    lab_write(lab, "lib/count.lua", "return {}");
    lab_write(lab, "tasks/a.lua",
              "local count = require('lib.count')\n"
              "local function say(word) count.order = (count.order or '') .. word end\n"
              "return { every = '1h', run = function()\n"
              "  meanwhile(function() say 'b' crypto.hash_password('0123456789') say 'd' end)\n"
              "  meanwhile(function() say 'c' error('nobody hears this') end)\n"
              "  count.wrong = select(2, pcall(meanwhile, 7))\n"
              "  say 'a'\n"
              "end }");
    lab_load_fine(lab);
    tasks = tasks_new(&lab->runtime);
    while (strlen(lab_run(lab, "return require('lib.count').order or ''")) < 1)
        loop_for(worker, NULL, NULL, 20);
    for (int i = 0; i < 500 && lab->runtime.detached > 0; i++)
        loop_for(worker, NULL, NULL, 20);
    assert_int_equal(lab->runtime.detached, 0);
    lab_expect(lab, "return require('lib.count').order", "abcd");
    lab_expect(lab, "return (require('lib.count').wrong:match('function expected'))", "function expected");
    lab_write(lab, "tasks/b.lua", "meanwhile(function() end) return { every = '1h', run = function() end }");
    lab_refused(lab, "scripts/tasks/b.lua", 1, "cannot wait here");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_declarations, setup, teardown),
        cmocka_unit_test_setup_teardown(test_intervals, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_failed_runs_again_soon, setup, teardown),
        cmocka_unit_test_setup_teardown(test_never_twice_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_renamed_tasks, setup, teardown),
        cmocka_unit_test_setup_teardown(test_concurrently, setup, teardown),
        cmocka_unit_test_setup_teardown(test_meanwhile, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
