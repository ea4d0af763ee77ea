#include "policy/test_run.h"
#include "base/mem.h"
#include "lua/sandbox.h"
#include "policy/policy_tests.h"
#include "policy/report.h"
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

enum {
    MOST_TIME = 10000, /* ms of processor time for all tests */
    MOST_TESTS = 500,
    LOOK_EVERY = 1000, /* instructions between looks at the clock: calls of policies count as a few */
    MOST_MEMORY = 64 * 1024 * 1024,
    MOST_LOADED = 128 * 1024 * 1024 /* bytes that the policies which tests load hold together */
};

struct session {
    struct runtime runtime; /* first: the state knows its address */
    const struct test_run *run;
    const char *file; /* of the tests */
    int64_t began, call_began;
    size_t passed, failed;
    struct problems problems; /* for which the tests do not load */
    struct buffer tests;      /* JSON of those that ran */
};

static int64_t spent_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void on_hook(lua_State *L, lua_Debug *activation)
{
    const struct session *session = (const struct session *)runtime_of(L);
    if (spent_ms() - session->call_began < TEST_RUN_TIME)
        return;
    lua_sethook(L, on_hook, LUA_MASKCOUNT, 1); /* at every instruction: no pcall swallows it for good */
    policy_tests_error(L, "ran longer than 1 s");
}

static void on_call(void *arg, lua_State *L, size_t test)
{
    struct session *session = arg;
    const struct test_run *run = session->run;
    if (test != SIZE_MAX) {
        for (size_t i = 0; i < run->left_out_count; i++) {
            if (run->left_out[i] == test)
                luaL_error(L, "ran too long, or needed too much memory: its process had to be ended");
        }
        if (spent_ms() - session->began >= MOST_TIME)
            luaL_error(L, "did not run: those before it took %d s", MOST_TIME / 1000);
        if (run->on_test != NULL)
            run->on_test(run->arg, test);
    }
    session->call_began = spent_ms();
    lua_sethook(L, on_hook, LUA_MASKCOUNT, LOOK_EVERY);
}

/* As people read it: on one line, with what they can open. */
static struct problem *told(const struct session *session, const struct problem *problem,
                            struct problems *problems)
{
    bool script = strncmp(problem->file, "scripts/", 8) == 0;
    bool memory = strcmp(problem->message, "not enough memory") == 0;
    problems_add(problems, script ? problem->file : session->file, script ? problem->line : 0,
                 memory ? "needed more than 64 MiB of memory" : problem->message);
    problems_shorten(problems, problems->count - 1);
    return &problems->list[problems->count - 1];
}

static void report(void *arg, const char *name, const struct problem *problem)
{
    struct session *session = arg;
    struct buffer *out = &session->tests;
    struct problems problems = {0};
    if (name == NULL) {
        told(session, problem, &session->problems);
        return;
    }
    const struct problem *failure = problem == NULL ? NULL : told(session, problem, &problems);
    const char *file = failure == NULL ? session->file : failure->file;
    session->passed += failure == NULL;
    session->failed += failure != NULL;
    buffer_puts(out, out->len == 0 ? "{\"file\":" : ",{\"file\":");
    buffer_put_json(out, file, strlen(file));
    buffer_puts(out, ",\"name\":");
    buffer_put_json(out, name, strlen(name));
    buffer_printf(out, ",\"ok\":%s,\"message\":", failure == NULL ? "true" : "false");
    if (failure == NULL)
        buffer_puts(out, "null");
    else
        buffer_put_json(out, failure->message, strlen(failure->message));
    if (failure == NULL || failure->line == 0)
        buffer_puts(out, ",\"line\":null}");
    else
        buffer_printf(out, ",\"line\":%d}", failure->line);
    problems_free(&problems);
}

static int open_sandbox(lua_State *L)
{
    sandbox_open_pure(L);
    sandbox_close(L);
    return 0;
}

static void put_coverage(struct buffer *json, struct policy_tests *tests, struct checker *checker,
                         const struct bundle_file *file)
{
    struct coverage coverage = policy_tests_coverage(tests, checker, file);
    if (checker_missing(checker) != NULL) {
        buffer_puts(json, "null");
    } else {
        buffer_printf(json, "{\"lines\":%zu,\"ran\":%zu,\"missed\":[", coverage.lines,
                      coverage.lines - coverage.missed_count);
        for (size_t i = 0; i < coverage.missed_count; i++)
            buffer_printf(json, i == 0 ? "%d" : ",%d", coverage.missed[i]);
        buffer_puts(json, "]}");
    }
    free(coverage.missed);
}

static void run_tests(struct session *session, struct policies *policies, struct checker *checker,
                      struct bundle *bundle, const struct bundle_file *policy, const struct bundle_file *file,
                      struct buffer *json)
{
    struct generation *generation = generation_new(&session->runtime, bundle);
    struct policy_tests *tests = NULL;
    struct policy_tests_options options = {.policies = policies,
                                           .most_tests = MOST_TESTS,
                                           .most_memory = MOST_LOADED,
                                           .on_call = on_call,
                                           .arg = session};
    session->began = spent_ms();
    if (generation_call(generation, open_sandbox, NULL, "", &session->problems))
        tests = policy_tests_open(generation, &options, &session->problems);
    if (tests != NULL && file != NULL)
        policy_tests_run(tests, file, report, session);
    if (session->problems.count != 0) {
        report_problems(json, &session->problems);
    } else {
        buffer_printf(json, "{\"ok\":%s,\"passed\":%zu,\"failed\":%zu,\"tests\":[",
                      session->failed == 0 ? "true" : "false", session->passed, session->failed);
        buffer_put(json, session->tests.data, session->tests.len);
        buffer_puts(json, "],\"coverage\":");
        put_coverage(json, tests, checker, policy);
        buffer_putc(json, '}');
    }
    policy_tests_close(tests);
    generation_release(generation);
}

bool test_run(struct policies *policies, struct checker *checker, const struct test_run *run,
              struct buffer *json)
{
    static const struct config config = {.lua_memory = MOST_MEMORY};
    static const struct services services = {.config = &config};
    struct session session = {.runtime.services = &services, .run = run};
    const struct policy_source *source = run->source;
    struct bundle *bundle = bundle_new();
    char *policy = x_printf("policies/%s", source->name), *tests = x_printf("%s_test", policy);
    bundle_add(&bundle, policy, source->source.text, source->source.len);
    if (run->tests != NULL)
        bundle_add(&bundle, tests, run->tests->text, run->tests->len);
    for (size_t i = 0; i < source->library_count; i++)
        bundle_add(&bundle, source->libraries[i].name, source->libraries[i].source.text,
                   source->libraries[i].source.len);
    const struct bundle_file *file = run->tests == NULL ? NULL : bundle_find(bundle, tests);
    session.file = file == NULL ? "" : file->path;
    run_tests(&session, policies, checker, bundle, bundle_find(bundle, policy), file, json);
    bool ran = session.problems.count == 0;
    bundle_release(bundle);
    buffer_free(&session.runtime.out);
    buffer_free(&session.tests);
    problems_free(&session.problems);
    free(policy);
    free(tests);
    return ran;
}
