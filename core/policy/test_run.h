/* Runs the tests of one policy (policy/policy_tests) where sources are hostile: in the process of policies,
 * within bounds of its own. A test has 1 s of processor time and 64 MiB, all of them 10 s; a policy's call in
 * it what it has in service. Tests see what computes and nothing else: Lua's own, json, rollouts, time, and
 * what tests are given; `require` finds lib/policy/ only. What loops in C goes on until the process is
 * ended. */
#pragma once
#include "base/buffer.h"
#include "policy/check.h"

enum {
    TEST_RUN_TIME = 1000, /* ms of processor time a test may take */
    TEST_RUN_LEFT_OUT = 8
};

struct test_run {
    /* Its libraries: of lib/policy/, and other policies, that may be loaded. */
    const struct policy_source *source;
    const struct policy_text *tests; /* its *_test.lua; NULL: there is none */
    /* Tests, by number, that have ended their process and thus failed. */
    uint64_t left_out[TEST_RUN_LEFT_OUT];
    size_t left_out_count;
    void (*on_test)(void *arg, size_t number); /* before each test; or NULL */
    void *arg;
};

/* Appends {"ok", "passed", "failed", "tests": [{"file", "name", "ok", "message", "line"}], "coverage":
 * {"lines", "ran", "missed": [lines]}}: coverage of the policy itself, null where the parser is missing
 * (checker_missing). Where the tests do not load {"problems": [...]}, and false. */
bool test_run(struct policies *policies, struct checker *checker, const struct test_run *run,
              struct buffer *json);
