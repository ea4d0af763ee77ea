/* Tests of scripts: runs a *_test.lua, and gives it what tests have besides what scripts have
 * (policy_tests.lua): policies loaded as the server does, in this process, a clock that stands still, and
 * which lines ran. For `otad test`, and in the process of policies for the server (policy/test_run). */
#pragma once
#include "lua/generation.h"
#include "policy/check.h"

struct policy_tests;

struct policy_tests_options {
    struct policies *policies; /* its on_line is taken until the end */
    bool traceback;            /* in messages */
    /* Bounds for sources that may be hostile; 0: none. */
    size_t most_tests;  /* in a file */
    size_t most_memory; /* bytes that the policies which tests load hold together */
    /* Within each protected call before it runs a script; `test` counts from 0, SIZE_MAX: the file is loaded
     * and its tests are listed. May raise; NULL: nothing to be done. */
    void (*on_call)(void *arg, lua_State *L, size_t test);
    void *arg;
};

/* Adds the globals of tests to the sandbox; NULL: why not, in `problems`. The generation must outlive it. */
struct policy_tests *policy_tests_open(struct generation *generation,
                                       const struct policy_tests_options *options, struct problems *problems)
    __attribute__((warn_unused_result));
void policy_tests_close(struct policy_tests *tests);

/* Runs the tests of the file by name, each a call of its own, with clock and chance as at the beginning.
 * `report` gets what became of each, once: no problem: it has passed. `name` NULL: the file does not load. */
void policy_tests_run(struct policy_tests *tests, const struct bundle_file *file,
                      void (*report)(void *arg, const char *name, const struct problem *problem), void *arg);

/* Raises an error on the line where the test called, past the functions that tests are given. */
int policy_tests_error(lua_State *L, const char *message);

/* Lines of policies, and of their library, with statements: how many there are, and which of them never ran.
 * The caller frees *missed. */
struct coverage {
    size_t lines, missed_count;
    int *missed;
};
bool policy_tests_covers(const struct bundle_file *file); /* whether it is one of those */
/* `tests` NULL: none ran. */
struct coverage policy_tests_coverage(struct policy_tests *tests, struct checker *checker,
                                      const struct bundle_file *file);
