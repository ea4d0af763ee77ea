/* The policies that are shipped: they load, and do what their first lines say. */
#include "lab.h"
#include "policy/shelf.h"

struct shipped {
    struct bundle *bundle;
    struct shelf shelf;
    struct policies policies;
};

static int setup(void **state)
{
    char *error = NULL;
    struct shipped *shipped = x_new(struct shipped);
    shipped->bundle = bundle_read(SOURCE_DIR "/scripts", &error);
    assert_non_null(shipped->bundle);
    shipped->shelf = shelf_of(shipped->bundle);
    shipped->policies.zones = zones_new(zones_load_file, NULL);
    *state = shipped;
    return 0;
}

static int teardown(void **state)
{
    struct shipped *shipped = *state;
    shelf_free(&shipped->shelf);
    bundle_release(shipped->bundle);
    zones_free(shipped->policies.zones);
    free(shipped);
    return 0;
}

static struct policy *load(struct shipped *shipped, const char *name)
{
    struct problems problems = {0};
    struct policy_source source;
    char *file = x_printf("policies/%s", name);
    const struct bundle_file *found = bundle_find(shipped->bundle, file);
    free(file);
    assert_non_null(found);
    assert_true(shelf_policy(&shipped->shelf, found, &source));
    assert_string_equal(source.name, name);
    struct policy *policy = policy_load(&shipped->policies, &source, &problems);
    if (policy == NULL)
        fail_msg("%s:%d: %s", problems.list[0].file, problems.list[0].line, problems.list[0].message);
    return policy;
}

static void test_all_load(void **state)
{
    struct shipped *shipped = *state;
    struct problems problems = {0};
    struct policy_source source;
    size_t count = 0;
    for (size_t i = 0; i < shipped->bundle->count; i++)
        count += shelf_policy(&shipped->shelf, &shipped->bundle->files[i], &source);
    assert_int_equal(count, 8);
    shelf_check(shipped->bundle, &problems);
    assert_int_equal(problems.count, 0);
}

static void declares(struct shipped *shipped, const char *name, const char *part)
{
    struct policy *policy = load(shipped, name);
    if (strstr(policy_declaration(policy), part) == NULL)
        fail_msg("%s: %s", name, policy_declaration(policy));
    policy_free(policy);
}

static void test_declarations(void **state)
{
    declares(*state, "canary", "{\"name\":\"half\",\"share\":0.5,\"soak\":21600}");
    declares(*state, "all_at_once",
             "\"stages\":[{\"name\":\"all\",\"share\":1,\"soak\":0}],\"rate\":null,\"concurrency\":2000");
    declares(*state, "linear",
             "[{\"name\":\"1 of 10\",\"share\":0.1,\"soak\":3600},{\"name\":\"2 of 10\",\"share\":0.2");
    declares(*state, "linear",
             "{\"name\":\"9 of 10\",\"share\":0.9,\"soak\":3600},{\"name\":\"all\",\"share\":1,\"soak\":0}]");
    declares(*state, "exponential",
             "[{\"name\":\"1 %\",\"share\":0.01,\"soak\":3600},{\"name\":\"3 %\",\"share\":0.03");
    declares(*state, "exponential",
             "{\"name\":\"81 %\",\"share\":0.81,\"soak\":3600},{\"name\":\"all\",\"share\":1,\"soak\":0}]");
    declares(*state, "by_site", "\"spread\":{\"tag\":\"site\",\"concurrency\":5}");
    declares(*state, "wait_for_approval", "{\"name\":\"trial\",\"share\":0.05,\"soak\":0}");
}

static void admits(struct shipped *shipped, const char *name, double now, const char *device,
                   enum policy_answer answer, const char *reason, double again)
{
    struct policy *policy = load(shipped, name);
    struct policy_moment moment = {TEXT("{\"id\": 1, \"params\": {\"timezone\": \"America/New_York\"}}"), now,
                                   0};
    struct policy_verdict verdict;
    policy_admit(policy, &moment, TEXT(device), &verdict);
    if (verdict.failed || verdict.answer != answer || strcmp(verdict.reason, reason) != 0 ||
        verdict.again != again)
        fail_msg("%s, %s: %s, %s, %f", name, device, policy_answer_name(verdict.answer), verdict.reason,
                 verdict.again);
    policy_free(policy);
}

static void test_admit(void **state)
{
    static const double midnight = 1767225600; /* UTC, 2026-01-01 */
    admits(*state, "canary", 0, "{\"telemetry\": {\"battery\": 29}}", POLICY_HOLD, "battery below 30 %", 0);
    admits(*state, "night_window", midnight + 600, "{\"tags\": {\"timezone\": \"Europe/Berlin\"}}",
           POLICY_OFFER, "", 0);
    admits(*state, "night_window", midnight + 600, "{\"tags\": {}}", POLICY_HOLD, "1:00 to 5:00 only", 1200);
    admits(*state, "night_window", midnight + 1799.5, "{\"tags\": {}}", POLICY_HOLD, "1:00 to 5:00 only", 60);
    admits(*state, "night_window", midnight + 6 * 3600, "{\"tags\": {}}", POLICY_OFFER, "", 0);
    admits(*state, "battery_and_wifi", 0, "{\"telemetry\": {}}", POLICY_OFFER, "", 0);
    admits(*state, "battery_and_wifi", 0, "{\"telemetry\": {\"battery\": 12.5}}", POLICY_HOLD,
           "battery at 12.5 %, below 50 %", 600);
    admits(*state, "battery_and_wifi", 0, "{\"telemetry\": {\"battery\": 12, \"charging\": true}}",
           POLICY_OFFER, "", 0);
    admits(*state, "battery_and_wifi", 0, "{\"telemetry\": {\"battery\": 90, \"rssi\": -80}}", POLICY_HOLD,
           "Wi-Fi at -80 dBm, below -75 dBm", 600);
}

static void advances(struct shipped *shipped, const char *rollout, const char *stats,
                     enum policy_answer answer)
{
    struct policy *policy = load(shipped, "wait_for_approval");
    struct policy_moment moment = {TEXT(rollout), 0, 0};
    struct policy_verdict verdict;
    policy_advance(policy, &moment, TEXT(stats), &verdict);
    if (verdict.failed || verdict.answer != answer)
        fail_msg("%s, %s: %s, %s", rollout, stats, policy_answer_name(verdict.answer), verdict.reason);
    policy_free(policy);
}

static void test_wait_for_approval(void **state)
{
    static const char few[] = "{\"since_resume\": {\"ended\": 3, \"failure_low\": 0}, \"stage_done\": false}",
                      bad[] =
                          "{\"since_resume\": {\"ended\": 50, \"failure_low\": 0.2}, \"stage_done\": false}",
                      done[] = "{\"since_resume\": {\"ended\": 3, \"failure_low\": 0}, \"stage_done\": true}";
    advances(*state, "{}", few, POLICY_HOLD);
    advances(*state, "{}", bad, POLICY_PAUSE);
    advances(*state, "{\"resumed\": false}", done, POLICY_PAUSE);
    advances(*state, "{\"resumed\": true}", done, POLICY_ADVANCE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_all_load, setup, teardown),
        cmocka_unit_test_setup_teardown(test_declarations, setup, teardown),
        cmocka_unit_test_setup_teardown(test_admit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_wait_for_approval, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
