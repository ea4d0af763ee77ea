/* Simulated rollouts: the rules of the driver, held at every line of the timeline. */
#include "fleet/rollout.h"
#include "lab.h"
#include "policy/simulate.h"
#include <jansson.h>

static json_t *ask(struct policies *policies, const char *policy, const char *request)
{
    struct policy_library libraries[LAB_LIBRARIES];
    struct policy_source source = lab_source(policy, libraries);
    struct buffer json = {0};
    simulate_run(policies, &source, (struct policy_text){request, strlen(request)}, NULL, 0, &json);
    json_t *answer = json_loadb(json.data, json.len, 0, NULL);
    if (answer == NULL)
        fail_msg("no JSON: %s", buffer_text(&json));
    buffer_free(&json);
    return answer;
}

static long long number(json_t *object, const char *name)
{
    return json_integer_value(json_object_get(object, name));
}

static const char *text(json_t *object, const char *name)
{
    const char *value = json_string_value(json_object_get(object, name));
    return value == NULL ? "" : value;
}

static long long count_of(json_t *answer, const char *state)
{
    return number(json_object_get(answer, "counts"), state);
}

static json_t *stage_of(json_t *answer, size_t i)
{
    return json_array_get(json_object_get(answer, "stages"), i);
}

static const char careful[] =
    "return {\n"
    "  stages = { { name = 'canary', share = 0.1, soak = '10m' }, { name = 'all', share = 1 } },\n"
    "  concurrency = 50, rate = { per_minute = 120 }, retry = { max = 2, after = '5m' },\n"
    "  admit = function(device)\n"
    "    if (device.telemetry.battery or 100) < 30 then return 'hold', 'battery below 30 %' end\n"
    "    return 'offer' end,\n"
    "  advance = function(rollout, stats)\n"
    "    if stats.ended >= 20 and stats.failure_low > 0.05 then return 'pause', 'failures above 5 %' end\n"
    "    if stats.stage_done and stats.stage_age >= rollout.soak then return 'advance' end\n"
    "    return 'hold' end }\n";

static void test_completes(void **state)
{
    json_t *answer = ask(*state, careful, "{\"fleet\": {\"devices\": 2000, \"battery_share\": 0}}");
    assert_string_equal(text(answer, "outcome"), "completed");
    assert_int_equal(count_of(answer, "succeeded"), 2000);
    json_t *canary_stage = stage_of(answer, 0), *all = stage_of(answer, 1);
    assert_int_equal(number(canary_stage, "targeted"), 200);
    assert_int_equal(number(canary_stage, "succeeded"), 200);
    assert_true(number(canary_stage, "until_s") - number(canary_stage, "entered_s") >= 600);
    assert_int_equal(number(all, "entered_s"), number(canary_stage, "until_s"));
    json_decref(answer);
}

/* The policy itself looks, at every call, whether more is under way or was offered than may be. */
static const char watchful[] =
    "return {\n"
    "  stages = { { name = 'a', share = 0.3 }, { name = 'b', share = 1 } },\n"
    "  concurrency = %s, rate = { per_minute = 120, growth = 2 }, spread = %s, max_failure = 1,\n"
    "  advance = function(rollout, stats)\n"
    "    local speed = rollout.stage == 'a' and 2 or 4\n"
    "    if stats.under_way > %d then return 'abort', 'cap: ' .. stats.under_way end\n"
    "    if stats.offered > speed * rollout.age + 20 then return 'abort', 'rate: ' .. stats.offered end\n"
    "    return stats.stage_done and 'advance' or 'hold' end }\n";

static void test_caps(void **state)
{
    static const struct {
        const char *concurrency, *spread, *fleet;
        int most;
    } cases[] = {
        {"40", "nil", "\"devices\": 3000", 40},
        {"1", "nil", "\"devices\": 20", 1},
        {"500", "{ tag = 'site', concurrency = 7 }",
         "\"devices\": 2000, \"tags\": {\"site\": [\"a\", \"b\", \"c\"]}", 21},
        {"500", "{ tag = 'site', concurrency = 1 }", "\"devices\": 100, \"tags\": {\"site\": [\"a\"]}", 1},
        {"30", "{ tag = 'site', concurrency = 7 }",
         "\"devices\": 2000, \"offline_share\": 0.3, \"tags\": {\"site\": [\"a\", \"b\", \"c\", \"d\", "
         "\"e\"]}",
         30},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char policy[1000];
        snprintf(policy, sizeof(policy), watchful, cases[i].concurrency, cases[i].spread, cases[i].most);
        char *request =
            x_printf("{\"days\": 30, \"fleet\": {%s}, \"assume\": {\"cut_rate\": 0.1}}", cases[i].fleet);
        json_t *answer = ask(*state, policy, request);
        if (strcmp(text(answer, "outcome"), "completed") != 0)
            fail_msg("%s: %s, %s", request, text(answer, "outcome"), text(answer, "reason"));
        json_decref(answer);
        free(request);
    }
}

/* Whom stage 1 of that share reaches: the policy skips everybody and says whom. */
static void reach(struct policies *policies, double share, bool reached[31])
{
    char *policy =
        x_printf("return { stages = { { share = %g }, { share = 1 } },\n"
                 "  admit = function(device) return 'skip', device.id .. '' end,\n"
                 "  advance = function(_, stats) return stats.stage_done and 'pause' or 'hold' end }",
                 share);
    json_t *answer = ask(policies, policy, "{\"fleet\": {\"devices\": 30}, \"rollout\": {\"id\": 7}}"), *held;
    size_t i;
    memset(reached, 0, 31 * sizeof(*reached));
    json_array_foreach(json_object_get(answer, "held"), i, held)
    {
        reached[atoi(text(held, "reason"))] = true;
    }
    json_decref(answer);
    free(policy);
}

static void test_shares_are_nested(void **state)
{
    bool small[31], large[31];
    int counts[2] = {0, 0};
    uint32_t highest = 0, lowest = UINT32_MAX;
    reach(*state, 0.2, small);
    reach(*state, 0.5, large);
    for (int i = 1; i <= 30; i++) {
        uint32_t bucket = rollout_bucket(7, i);
        counts[0] += small[i];
        counts[1] += large[i];
        assert_true(large[i] || !small[i]);
        if (large[i])
            highest = bucket > highest ? bucket : highest;
        else
            lowest = bucket < lowest ? bucket : lowest;
    }
    assert_int_equal(counts[0], 6);
    assert_int_equal(counts[1], 15);
    assert_true(highest < lowest);
}

static char *answer_text(struct policies *policies, const char *request)
{
    json_t *answer = ask(policies, careful, request);
    json_object_del(answer, "seed");
    char *dumped = json_dumps(answer, JSON_COMPACT);
    json_decref(answer);
    return dumped;
}

static void test_same_seed_same_answer(void **state)
{
    static const char request[] =
        "{\"seed\": %d, \"fleet\": {\"devices\": 3000, \"offline_share\": 0.1},"
        " \"assume\": {\"failure_rate\": 0.02, \"cut_rate\": 0.05, \"vanish_rate\": 0.01}}";
    char *texts[3];
    for (int i = 0; i < 3; i++) {
        char *with = x_printf(request, i == 2 ? 6 : 5);
        texts[i] = answer_text(*state, with);
        free(with);
    }
    assert_string_equal(texts[0], texts[1]);
    assert_string_not_equal(texts[0], texts[2]);
    for (int i = 0; i < 3; i++)
        free(texts[i]);
}

/* What a policy sees are the counts' bounds, and it stops with the first that say so. */
static void test_failures_stop_it(void **state)
{
    json_t *answer =
        ask(*state, careful, "{\"fleet\": {\"devices\": 5000}, \"assume\": {\"failure_rate\": 0.2}}");
    json_t *timeline = json_object_get(answer, "timeline"),
           *last = json_array_get(timeline, json_array_size(timeline) - 1);
    double low, high;
    assert_string_equal(text(answer, "outcome"), "paused");
    assert_string_equal(text(answer, "stage"), "canary");
    assert_string_equal(text(answer, "reason"), "failures above 5 %");
    assert_int_equal(number(answer, "line"), 8);
    assert_string_equal(text(last, "verdict"), "pause");
    long long failed = number(last, "failed"), ended = failed + number(last, "succeeded");
    rollout_wilson((int)failed, (int)ended, &low, &high);
    assert_true(fabs(json_number_value(json_object_get(last, "failure_low")) - low) < 1e-5);
    assert_true(fabs(json_number_value(json_object_get(last, "failure_high")) - high) < 1e-5);
    assert_true(ended >= 20 && low > 0.05);
    assert_int_equal(count_of(answer, "rolled_back"), failed);
    assert_int_equal(count_of(answer, "waiting") + count_of(answer, "held"), 5000 - number(last, "offered"));
    json_decref(answer);
}

static void test_default_advance(void **state)
{
    static const char plain[] =
        "return { max_failure = 0.1, stages = { { name = 'few', share = 0.1, soak = '1h' },"
        " { name = 'all', share = 1 } } }";
    struct rollout_plan plan = {.stage_count = 2, .max_failure = 0.1};
    struct rollout_stats stats = {0};
    char reason[100];
    json_t *answer = ask(*state, plain, "{\"assume\": {\"failure_rate\": 0.4}}");
    json_t *timeline = json_object_get(answer, "timeline"),
           *last = json_array_get(timeline, json_array_size(timeline) - 1);
    stats.failed = (int)number(last, "failed");
    stats.succeeded = (int)number(last, "succeeded");
    stats.since_resume.failed = stats.failed;
    stats.since_resume.ended = stats.succeeded + stats.failed;
    stats.since_resume.failure_low = json_number_value(json_object_get(last, "failure_low"));
    assert_string_equal(rollout_default_advance(&plan, &stats, 0, 0, reason, sizeof(reason)), "pause");
    assert_string_equal(text(answer, "outcome"), "paused");
    assert_string_equal(text(answer, "reason"), reason);
    json_decref(answer);
    answer = ask(*state, plain, "{}");
    assert_string_equal(text(answer, "outcome"), "completed");
    assert_int_equal(number(stage_of(answer, 0), "until_s"), 3600);
    json_decref(answer);
}

/* The share that fails in all attempts: 0.5, or 0.5 * 0.5 * 0.5. */
static void test_retry(void **state)
{
    static const char request[] = "{\"fleet\": {\"devices\": 4000}, \"assume\": {\"cut_rate\": 0.5}}";
    json_t *once = ask(*state, "return { max_failure = 1, retry = { max = 0, after = 1 } }", request),
           *thrice = ask(*state, "return { max_failure = 1, retry = { max = 2, after = '1h' } }", request);
    assert_string_equal(text(once, "outcome"), "completed");
    assert_in_range(count_of(once, "failed"), 1900, 2100);
    assert_int_equal(count_of(once, "succeeded") + count_of(once, "failed"), 4000);
    assert_in_range(count_of(thrice, "failed"), 430, 570);
    /* An hour, then two. */
    assert_in_range(number(thrice, "at_s"), number(once, "at_s") + 3 * 3600 - 60,
                    number(once, "at_s") + 3 * 3600 + 900);
    json_decref(once);
    json_decref(thrice);
}

/* After 1, 2, 4, 8 minutes, then every 15. */
static void test_asked_again(void **state)
{
    json_t *answer = ask(*state, "return { admit = function() return 'hold', 'no' end }",
                         "{\"fleet\": {\"devices\": 10}, \"days\": 0.0416666667}");
    assert_string_equal(text(answer, "outcome"), "running");
    assert_int_equal(number(json_object_get(answer, "calls"), "admit"), 70);
    assert_int_equal(count_of(answer, "held"), 10);
    json_t *held = json_array_get(json_object_get(answer, "held"), 0);
    assert_string_equal(text(held, "reason"), "no");
    assert_int_equal(number(held, "count"), 10);
    assert_int_equal(number(held, "line"), 1);
    json_decref(answer);
    answer = ask(*state, "return { admit = function() return 'hold', 'no', { again = '30m' } end }",
                 "{\"fleet\": {\"devices\": 10}, \"days\": 0.0416666667}");
    assert_int_equal(number(json_object_get(answer, "calls"), "admit"), 20);
    json_decref(answer);
}

/* A person who resumes once gets it past one stage, not two. */
static void test_resume(void **state)
{
    static const char asks[] =
        "return { stages = { { name = 'a', share = 0.1 }, { name = 'b', share = 0.2 }, { name = 'c', share = "
        "1 } },\n"
        "  advance = function(rollout, stats)\n"
        "    if not stats.stage_done then return 'hold' end\n"
        "    if rollout.stage ~= 'c' and not rollout.resumed then return 'pause', rollout.stage end\n"
        "    return 'advance' end }";
    static const char *const stages[] = {"a", "b", "c"};
    for (int i = 0; i < 3; i++) {
        char *request = x_printf("{\"resumes\": %d}", i);
        json_t *answer = ask(*state, asks, request);
        assert_string_equal(text(answer, "outcome"), i < 2 ? "paused" : "completed");
        assert_string_equal(text(answer, "stage"), stages[i]);
        json_decref(answer);
        free(request);
    }
}

static void test_rollback(void **state)
{
    json_t *answer = ask(*state,
                         "return { stages = { { name = 'a', share = 0.5 }, { name = 'b', share = 1 } },\n"
                         "advance = function(rollout, stats)\n"
                         "if stats.failed >= 5 then return 'rollback', 'it is bad' end\n"
                         "return stats.stage_done and 'advance' or 'hold' end }",
                         "{\"fleet\": {\"devices\": 500}, \"assume\": {\"failure_rate\": 0.03}}");
    assert_string_equal(text(answer, "outcome"), "rolled_back");
    assert_string_equal(text(answer, "reason"), "it is bad");
    assert_int_equal(number(answer, "line"), 3);
    assert_int_equal(count_of(answer, "succeeded"), 0);
    assert_int_equal(count_of(answer, "waiting"), 0);
    assert_true(count_of(answer, "rolled_back") > 5);
    assert_int_equal(count_of(answer, "rolled_back") + count_of(answer, "cancelled"), 500);
    json_decref(answer);
}

/* Updated ones that fall silent count as failed; those that were offline get the update once they are back.
 */
static void test_silence(void **state)
{
    json_t *answer =
        ask(*state, "return { max_failure = 0.05, stages = { { share = 0.5, soak = '1h' }, { share = 1 } } }",
            "{\"assume\": {\"vanish_rate\": 0.2}}");
    assert_string_equal(text(answer, "outcome"), "paused");
    assert_true(count_of(answer, "vanished") >= 10);
    json_decref(answer);
    answer =
        ask(*state, "return {}", "{\"fleet\": {\"devices\": 400, \"offline_share\": 0.5}, \"days\": 60}");
    assert_string_equal(text(answer, "outcome"), "completed");
    assert_true(count_of(answer, "succeeded") > 300);
    assert_true(count_of(answer, "timed_out") > 0); /* that offline for a week */
    assert_int_equal(count_of(answer, "succeeded") + count_of(answer, "timed_out"), 400);
    assert_true(number(answer, "at_s") > 7 * 86400);
    json_decref(answer);
}

/* Who sleeps by habit later than the soak of its stage, an hour at least, has not vanished: a twelfth of
 * these falls asleep within that hour. */
static void test_sleep_later_on_is_no_failure(void **state)
{
    json_t *answer =
               ask(*state,
                   "return { max_failure = 1, stages = { { share = 0.999, soak = '1d' }, { share = 1 } } }",
                   "{\"fleet\": {\"devices\": 2000, \"sleeping_share\": 1, \"sleep_period_s\": 172800, "
                   "\"sleep_awake_s\": 86400}, \"days\": 0.9}"),
           *shorter =
               ask(*state,
                   "return { max_failure = 1, stages = { { share = 0.999, soak = '30m' }, { share = 1 } } }",
                   "{\"fleet\": {\"devices\": 2000, \"sleeping_share\": 1, \"sleep_period_s\": 172800, "
                   "\"sleep_awake_s\": 86400}, \"days\": 0.9}");
    long long soaked = count_of(answer, "vanished"), hour = count_of(shorter, "vanished");
    assert_true(soaked > 5 * hour && hour > 0);
    json_decref(answer);
    json_decref(shorter);
}

/* Once its soak is over, a stage does not wait for devices that the policy holds; the rollout does. */
static void test_held_for_good(void **state)
{
    static const char holds[] =
        "return { stages = { { name = 'a', share = 0.5, soak = '1h' }, { share = 1 } },\n"
        "  admit = function(device)\n"
        "    return device.id %% %d == 0 and 'hold' or 'offer', 'as it is' end }";
    char *few = x_printf(holds, 4),
         *most = x_printf("return { admit = function(d) return d.id %% 4 > 0 and 'hold' "
                          "or 'offer' end, stages = { { share = 0.5 }, { share = 1 } } }");
    json_t *answer = ask(*state, few, "{\"fleet\": {\"devices\": 400}, \"days\": 1}"),
           *stuck = ask(*state, most, "{\"fleet\": {\"devices\": 400}, \"days\": 1}");
    assert_int_equal(number(stage_of(answer, 1), "entered_s"), 3600);
    assert_string_equal(text(answer, "outcome"), "running");
    assert_int_equal(count_of(answer, "succeeded"), 300);
    assert_int_equal(count_of(answer, "held"), 100);
    assert_true(
        json_is_null(json_object_get(stage_of(stuck, 1), "entered_s"))); /* fewer than half have ended */
    json_decref(answer);
    json_decref(stuck);
    free(few);
    free(most);
}

/* Of a site, too, half of what may be under way is for devices that are awake. */
static void test_sleepers_leave_room_in_their_group(void **state)
{
    json_t *answer =
        ask(*state, "return { spread = { tag = 'site', concurrency = 2 }, max_failure = 1 }",
            "{\"fleet\": {\"devices\": 200, \"offline_share\": 0.5, \"tags\": {\"site\": [\"a\", \"b\"]}}, "
            "\"days\": 0.25}");
    assert_int_equal(count_of(answer, "waiting"), 0);
    assert_true(count_of(answer, "succeeded") > 95 && count_of(answer, "offered") <= 2);
    assert_true(count_of(answer, "held") > 10);
    json_decref(answer);
}

static void test_excluded(void **state)
{
    json_t *answer = ask(*state, "return { from = { '1.*' } }",
                         "{\"fleet\": {\"devices\": 1000, \"chips\": {\"esp32\": 3, \"esp32s3\": 1},"
                         " \"versions\": {\"1.0.0\": 0.5, \"2.0.0\": 0.25, \"0.9\": 0.25}}}");
    json_t *excluded = json_object_get(answer, "excluded"), *reason;
    long long sum = 0;
    size_t i;
    assert_int_equal(json_array_size(excluded), 3);
    json_array_foreach(excluded, i, reason)
    {
        const char *said = text(reason, "reason");
        assert_true(strcmp(said, "is an esp32s3, the firmware is for esp32") == 0 ||
                    strcmp(said, "runs this image already") == 0 ||
                    strcmp(said, "runs 0.9, which the policy does not update from") == 0);
        sum += number(reason, "count");
    }
    assert_int_equal(sum, count_of(answer, "excluded"));
    assert_int_equal(number(answer, "targeted"), 1000 - sum);
    assert_int_equal(count_of(answer, "succeeded"), 1000 - sum);
    json_decref(answer);
}

/* Devices as they are given: their values reach the policy, and what changes is the simulation's. */
static void test_given_devices(void **state)
{
    static const char *const texts[] = {
        "{\"id\": 4, \"online\": true, \"silent_for\": 3, \"attempts\": 9, \"tags\": {}, \"telemetry\": "
        "{\"battery\": 5}}",
        "{\"id\": 9, \"online\": true, \"silent_for\": 3, \"tags\": {}, \"telemetry\": {\"battery\": 50}}\n",
        "{\"id\": 11, \"online\": true, \"tags\": {}, \"telemetry\": {}, \"excluded\": \"too old\"}",
        "{\"id\": 12, \"online\": false, \"silent_for\": 60, \"tags\": {}, \"telemetry\": {}}"};
    static const char policy[] = "return { admit = function(device)\n"
                                 "  if device.telemetry.battery == 5 then return 'skip', 'battery 5, "
                                 "attempts ' .. device.attempts end\n"
                                 "  return 'offer' end }";
    struct policy_text devices[4];
    struct policy_library libraries[LAB_LIBRARIES];
    struct policy_source source = lab_source(policy, libraries);
    struct buffer json = {0};
    for (int i = 0; i < 4; i++)
        devices[i] = (struct policy_text){texts[i], strlen(texts[i])};
    assert_true(simulate_run(*state, &source, TEXT("{\"days\": 300}"), devices, 4, &json));
    json_t *answer = json_loadb(json.data, json.len, 0, NULL);
    assert_int_equal(number(answer, "devices"), 4);
    assert_int_equal(count_of(answer, "skipped"), 1);
    assert_int_equal(count_of(answer, "excluded"), 1);
    assert_string_equal(text(json_array_get(json_object_get(answer, "held"), 0), "reason"),
                        "battery 5, attempts 0");
    assert_string_equal(text(json_array_get(json_object_get(answer, "excluded"), 0), "reason"), "too old");
    assert_int_equal(count_of(answer, "succeeded") + count_of(answer, "timed_out"), 2);
    json_decref(answer);
    json.len = 0;
    devices[1] = TEXT("{\"name\": \"no id\"}");
    assert_false(simulate_run(*state, &source, TEXT("{}"), devices, 4, &json));
    assert_non_null(strstr(buffer_text(&json), "device 2 of the list"));
    buffer_free(&json);
}

static void test_bad_policies(void **state)
{
    json_t *answer = ask(*state, "return { admit = function(d) return d.nothing.there end }", "{}");
    assert_string_equal(text(answer, "outcome"), "reverted");
    assert_non_null(strstr(text(answer, "reason"), "calls failed: line 1:"));
    assert_int_equal(count_of(answer, "succeeded"), 0);
    json_decref(answer);
    answer = ask(*state, "return {\n rat = 1 }", "{}");
    json_t *problem = json_array_get(json_object_get(answer, "problems"), 0);
    assert_int_equal(number(problem, "line"), 2);
    json_decref(answer);
}

static void test_bad_requests(void **state)
{
    static const char *const cases[][2] = {
        {"[]", "the request is not a JSON object"},
        {"{\"fleet\": {\"devices\": 0}}", "fleet.devices must be a number from 1"},
        {"{\"fleet\": {\"devices\": 1e9}}", "fleet.devices must be a number from 1"},
        {"{\"fleet\": {\"chips\": {\"esp32\": -1}}}", "fleet.chips.esp32 must be a share"},
        {"{\"fleet\": {\"tags\": {\"site\": []}}}", "fleet.tags must be"},
        {"{\"fleet\": {\"telemetry\": {\"rssi\": [1]}}}", "fleet.telemetry must be"},
        {"{\"assume\": {\"failure_rate\": 1.5}}", "assume.failure_rate must be a number from 0 to 1"},
        {"{\"assume\": {\"durations\": [3, 2]}}", "assume.durations must be an ascending list"},
        {"{\"days\": \"many\"}", "days must be a number"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        json_t *answer = ask(*state, careful, cases[i][0]);
        const char *message = text(json_array_get(json_object_get(answer, "problems"), 0), "message");
        if (strstr(message, cases[i][1]) == NULL)
            fail_msg("%s: %s", cases[i][0], message);
        json_decref(answer);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_completes),
        cmocka_unit_test(test_caps),
        cmocka_unit_test(test_shares_are_nested),
        cmocka_unit_test(test_same_seed_same_answer),
        cmocka_unit_test(test_failures_stop_it),
        cmocka_unit_test(test_default_advance),
        cmocka_unit_test(test_retry),
        cmocka_unit_test(test_asked_again),
        cmocka_unit_test(test_resume),
        cmocka_unit_test(test_rollback),
        cmocka_unit_test(test_silence),
        cmocka_unit_test(test_sleep_later_on_is_no_failure),
        cmocka_unit_test(test_held_for_good),
        cmocka_unit_test(test_sleepers_leave_room_in_their_group),
        cmocka_unit_test(test_excluded),
        cmocka_unit_test(test_given_devices),
        cmocka_unit_test(test_bad_policies),
        cmocka_unit_test(test_bad_requests),
    };
    return cmocka_run_group_tests(tests, lab_setup, lab_teardown);
}
