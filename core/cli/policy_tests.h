/* What tests of policies are given (policy_tests.lua): policies loaded as the server does, in this process, a
 * clock that stands still, and which lines ran. */
#pragma once
#include "lua/generation.h"
#include "policy/check.h"

struct policy_tests;

/* Adds the globals of tests to the sandbox; false: why not, in `problems`. The generation must outlive it. */
struct policy_tests *policy_tests_open(struct generation *generation, struct problems *problems)
    __attribute__((warn_unused_result));
void policy_tests_close(struct policy_tests *tests);

/* Before each test, within a protected call: the clock and chance as at the beginning. */
void policy_tests_reset(lua_State *L);

/* Lines of policies, and of their library, with statements: how many there are, and which of them never ran.
 * The caller frees *missed. */
struct coverage {
    size_t lines, missed_count;
    int *missed;
};
bool policy_tests_covers(const struct bundle_file *file); /* whether it is one of those */
struct coverage policy_tests_coverage(struct policy_tests *tests, struct checker *checker,
                                      const struct bundle_file *file);
