/* The arithmetic of rollouts, against numbers known from elsewhere. */
#include "fleet/rollout.h"
#include <limits.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void near(double a, double b)
{
    if (fabs(a - b) > 5e-4)
        fail_msg("%f is not %f", a, b);
}

/* Worked out apart, by the other form of the formula: (2np + z² ± z √(z² + 4np(1 - p))) / 2(n + z²). */
static void test_wilson(void **state)
{
    double low, high;
    rollout_wilson(8, 100, &low, &high);
    near(low, 0.0411);
    near(high, 0.1500);
    rollout_wilson(0, 20, &low, &high);
    near(low, 0);
    near(high, 0.1611);
    rollout_wilson(20, 20, &low, &high);
    near(low, 0.8389);
    near(high, 1);
    rollout_wilson(0, 0, &low, &high);
    assert_true(low == 0 && high == 1);
}

/* printf 3:42 | sha256sum */
static void test_bucket(void **state)
{
    assert_int_equal(rollout_bucket(3, 42), 0x8425eed8u);
}

static void test_versions(void **state)
{
    static const struct {
        const char *a, *b;
        int order;
    } cases[] = {
        {"1.2.0", "1.10.0", -1},     {"1.10", "1.9.9", 1},      {"v2.0.0", "2.0.0", 0},
        {"1.2", "1.2.0", -1},        {"1.2.0-rc1", "1.2.0", 0}, {"2", "10", -1},
        {"unknown", "1.0", INT_MIN}, {"1.0", "", INT_MIN},      {"1.2.", "1.2", 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (rollout_compare_versions(cases[i].a, cases[i].b) != cases[i].order)
            fail_msg("%s and %s: %d", cases[i].a, cases[i].b,
                     rollout_compare_versions(cases[i].a, cases[i].b));
    }
}

static void test_budget(void **state)
{
    struct rollout_plan plan = {.per_minute = 60, .growth = 2, .concurrency = 10};
    double credit = 0;
    assert_int_equal(rollout_budget(&plan, 0, 0.5, 0, &credit), 0);
    assert_int_equal(rollout_budget(&plan, 0, 0.5, 0, &credit), 1);
    assert_int_equal(rollout_budget(&plan, 0, 3600, 0, &credit), 5); /* not more than that of five seconds */
    assert_int_equal(rollout_budget(&plan, 2, 3600, 0, &credit), 10);
    assert_int_equal(rollout_budget(&plan, 2, 0, 9, &credit), 1);
    assert_int_equal(rollout_budget(&plan, 2, 0, 12, &credit), 0);
}

static void test_again(void **state)
{
    struct rollout_plan plan = {.retry_max = 2, .retry_after = 600};
    assert_true(rollout_retry(&plan, 1) == 600 && rollout_retry(&plan, 2) == 1200 &&
                rollout_retry(&plan, 3) < 0);
    assert_true(rollout_ask_again(0) == 60 && rollout_ask_again(3) == 480 && rollout_ask_again(4) == 900 &&
                rollout_ask_again(100) == 900);
}

static struct rollout_stats stats_of(const struct rollout_plan *plan, int stage, double age,
                                     const struct rollout_tally *tally)
{
    struct rollout_stats stats;
    struct rollout_known known = {0};
    rollout_stats(plan, stage, age, tally, &known, &stats);
    return stats;
}

static void test_count(void **state)
{
    struct rollout_plan plan = {.stage_count = 2};
    struct rollout_tally tally = {0};
    rollout_count(&tally, ROLLOUT_SUCCEEDED, true, false, false, 5);
    rollout_count(&tally, ROLLOUT_OFFERED, true, true, false, 3);
    rollout_count(&tally, ROLLOUT_TIMED_OUT, true, true, false, 2);
    rollout_count(&tally, ROLLOUT_WAITING, false, false, false, 90);
    struct rollout_stats stats = stats_of(&plan, 0, 0, &tally);
    assert_int_equal(stats.targeted, 10);
    assert_int_equal(stats.under_way, 3);
    assert_int_equal(stats.failed, 0); /* those never heard of it */
    assert_true(stats.stage_done);     /* and nobody waits for those that sleep */
    rollout_count(&tally, ROLLOUT_FAILED, true, false, true, 1);
    stats = stats_of(&plan, 0, 0, &tally);
    assert_false(stats.stage_done);
    assert_int_equal(stats.failed, 1);
}

/* Whether a stage of a soak of 60 s, and the last one, wait for what `open` says. */
static void waits(const struct rollout_tally *tally, double age, bool expected)
{
    struct rollout_plan plan = {.stages = {{.soak = 60}}, .stage_count = 2};
    assert_int_equal(!stats_of(&plan, 0, age, tally).stage_done, expected);
    assert_false(stats_of(&plan, 1, age, tally).stage_done);
}

static void test_stages_wait_for_those_held_until_the_soak_is_over(void **state)
{
    struct rollout_tally tally = {0};
    rollout_count(&tally, ROLLOUT_SUCCEEDED, true, false, false, 3);
    rollout_count(&tally, ROLLOUT_HELD, true, false, false, 2);
    rollout_count(&tally, ROLLOUT_TIMED_OUT, true, true, true, 1); /* held when it was to be tried again */
    waits(&tally, 59, true);
    waits(&tally, 60, false);
    rollout_count(&tally, ROLLOUT_SKIPPED, true, false, false, 10);
    waits(&tally, 60, false);
    rollout_count(&tally, ROLLOUT_HELD, true, true, false, 1); /* fewer than half have ended */
    waits(&tally, 60, true);
    rollout_count(&tally, ROLLOUT_SUCCEEDED, true, false, false, 9);
    waits(&tally, 60, false);
    rollout_count(&tally, ROLLOUT_WAITING, true, false, false, 1);
    waits(&tally, 600, true);
    assert_int_equal(tally.unheard, 0);
}

static void test_what_was_known_at_a_resume_does_not_count_again(void **state)
{
    struct rollout_plan plan = {.stage_count = 1, .max_failure = 0.05};
    struct rollout_tally tally = {0};
    struct rollout_known known = {0};
    struct rollout_stats stats;
    char reason[100];
    rollout_count(&tally, ROLLOUT_SUCCEEDED, true, false, false, 10);
    rollout_count(&tally, ROLLOUT_FAILED, true, false, false, 10);
    rollout_count(&tally, ROLLOUT_WAITING, true, false, false, 100);
    rollout_stats(&plan, 0, 0, &tally, &known, &stats);
    assert_int_equal(stats.since_resume.ended, 20);
    assert_true(stats.since_resume.failure_low == stats.failure_low);
    assert_string_equal(rollout_default_advance(&plan, &stats, 0, 0, reason, sizeof(reason)), "pause");
    assert_string_equal(reason, "10 of 20 failed: surely more than 5 %");

    known = (struct rollout_known){-1, -1};
    rollout_stats(&plan, 0, 0, &tally, &known, &stats);
    assert_true(known.succeeded == 10 && known.failed == 10 && stats.failed == 10);
    assert_int_equal(stats.since_resume.ended, 0);
    assert_string_equal(rollout_default_advance(&plan, &stats, 0, 0, reason, sizeof(reason)), "hold");

    rollout_count(&tally, ROLLOUT_FAILED, true, false, false, -4); /* tried again, and failed again: */
    rollout_stats(&plan, 0, 0, &tally, &known, &stats);
    rollout_count(&tally, ROLLOUT_FAILED, true, false, false, 4);
    rollout_count(&tally, ROLLOUT_SUCCEEDED, true, false, false, 16);
    rollout_stats(&plan, 0, 0, &tally, &known, &stats);
    assert_true(stats.since_resume.failed == 4 && stats.since_resume.succeeded == 16 && stats.failed == 10);
    assert_string_equal(rollout_default_advance(&plan, &stats, 0, 0, reason, sizeof(reason)), "pause");
    assert_string_equal(reason, "4 of 20 failed since it was resumed: surely more than 5 %");
}

static void test_silence_is_watched_as_long_as_the_stage(void **state)
{
    struct rollout_plan plan = {.stages = {{.soak = 60}, {.soak = 7200}}, .stage_count = 2};
    assert_true(rollout_watched(&plan, 0) == 3600 && rollout_watched(&plan, 1) == 7200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wilson),
        cmocka_unit_test(test_bucket),
        cmocka_unit_test(test_versions),
        cmocka_unit_test(test_budget),
        cmocka_unit_test(test_again),
        cmocka_unit_test(test_count),
        cmocka_unit_test(test_stages_wait_for_those_held_until_the_soak_is_over),
        cmocka_unit_test(test_what_was_known_at_a_resume_does_not_count_again),
        cmocka_unit_test(test_silence_is_watched_as_long_as_the_stage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
