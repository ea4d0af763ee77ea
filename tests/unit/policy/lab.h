/* A policy of one test: loads a source, asks it, and says what came of it. */
#pragma once
#include "base/mem.h"
#include "samples.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif

static const struct policy_library lab_libraries[] = {
    {"lib/policy/good",
     {"local n = 0\nreturn { count = function() n = n + 1 return n end,\n say = function() return 'hold', "
      "'said' end }",
      0}},
    {"lib/policy/broken", {"return {\n  1 +\n}", 0}},
    {"lib/policy/self", {"return require 'lib.policy.self'", 0}},
    {"lib/policy/raises", {"return {\n  fail = function()\n    error('no way')\n  end }", 0}},
};
enum { LAB_LIBRARIES = sizeof(lab_libraries) / sizeof(lab_libraries[0]) };

static inline double lab_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static inline struct policy_source lab_source(const char *text, struct policy_library *libraries)
{
    for (int i = 0; i < LAB_LIBRARIES; i++) {
        libraries[i] = lab_libraries[i];
        libraries[i].source.len = strlen(libraries[i].source.text);
    }
    return (struct policy_source){"test", TEXT(text), libraries, LAB_LIBRARIES};
}

static inline struct policy *lab_load(struct policies *policies, const char *text, struct problems *problems)
{
    struct policy_library libraries[LAB_LIBRARIES];
    struct policy_source source = lab_source(text, libraries);
    return policy_load(policies, &source, problems);
}

/* One that loads. */
static inline struct policy *lab_policy(struct policies *policies, const char *text)
{
    struct problems problems = {0};
    struct policy *policy = lab_load(policies, text, &problems);
    if (policy == NULL)
        fail_msg("line %d: %s", problems.list[0].line, problems.list[0].message);
    return policy;
}

static const struct policy_moment lab_moment = {{rollout_json, sizeof(rollout_json) - 1}, 1767225600, 0};

/* A policy whose admit is `body`, asked once about the sample device. */
static inline struct policy_verdict lab_admit(struct policies *policies, const char *body)
{
    struct policy_verdict verdict;
    char *text = x_printf("return { admit = function(device, rollout, ctx)\n%s\nend }", body);
    struct policy *policy = lab_policy(policies, text);
    policy_admit(policy, &lab_moment, TEXT(device_json), &verdict);
    policy_free(policy);
    free(text);
    return verdict;
}

/* That it holds, without failing, for this reason. */
static inline void lab_says(struct policies *policies, const char *body, const char *reason)
{
    struct policy_verdict verdict = lab_admit(policies, body);
    if (verdict.failed || strcmp(verdict.reason, reason) != 0)
        fail_msg("%s: %s%s, not %s", body, verdict.failed ? "failed: " : "", verdict.reason, reason);
    assert_int_equal(verdict.answer, POLICY_HOLD);
}

static inline void lab_fails(struct policies *policies, const char *body, const char *reason)
{
    struct policy_verdict verdict = lab_admit(policies, body);
    if (!verdict.failed || strstr(verdict.reason, reason) == NULL)
        fail_msg("%s: %s%s, not %s", body, verdict.failed ? "failed: " : "", verdict.reason, reason);
    assert_int_equal(verdict.answer, POLICY_HOLD);
}

static inline int lab_setup(void **state)
{
    struct policies *policies = x_new(struct policies);
    policies->zones = zones_new(zones_load_file, NULL);
    *state = policies;
    return 0;
}

static inline int lab_teardown(void **state)
{
    struct policies *policies = *state;
    zones_free(policies->zones);
    free(policies);
    return 0;
}
