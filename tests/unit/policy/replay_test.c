/* Recorded decisions, repeated. */
#include "lab.h"
#include "policy/replay.h"
#include <jansson.h>

static const char request[] =
    "{\"rollouts\": [{\"id\": 3, \"name\": \"spring\", \"params\": {\"lowest\": 20}, \"created_at\": 1000,"
    " \"firmware\": {\"version\": \"2.0.0\"}, \"stages\": [{\"name\": \"few\", \"soak\": 60}, {\"name\": "
    "\"all\","
    " \"soak\": 0}]}]}";

static json_t *replay(struct policies *policies, const char *policy, const char *other,
                      const char *const *decisions, size_t count)
{
    struct policy_library libraries[LAB_LIBRARIES], others[LAB_LIBRARIES];
    struct policy_source source = lab_source(policy, libraries),
                         compared = lab_source(other == NULL ? "" : other, others);
    struct policy_text texts[8];
    struct buffer json = {0};
    for (size_t i = 0; i < count; i++)
        texts[i] = (struct policy_text){decisions[i], strlen(decisions[i])};
    replay_run(policies, &source, other == NULL ? NULL : &compared, TEXT(request), texts, count, &json);
    json_t *answer = json_loadb(json.data, json.len, 0, NULL);
    assert_non_null(answer);
    buffer_free(&json);
    return answer;
}

static long long number(json_t *object, const char *name)
{
    return json_integer_value(json_object_get(object, name));
}

static const char *said(json_t *answer, size_t i, const char *side, const char *name)
{
    json_t *difference = json_array_get(json_object_get(answer, "differences"), i);
    const char *text = json_string_value(json_object_get(json_object_get(difference, side), name));
    return text == NULL ? "" : text;
}

/* Everything that a policy can see is there again. */
static void test_sees_the_same(void **state)
{
    static const char *const decisions[] = {
        "{\"id\": 1, \"rollout_id\": 3, \"device_id\": 7, \"verdict\": \"offer\", \"inputs\": {\"device\": "
        "{\"id\": 7,"
        " \"battery\": 25}, \"now\": 1500, \"stage\": 0}}",
        "{\"id\": 2, \"rollout_id\": 3, \"device_id\": null, \"verdict\": \"hold\", \"inputs\": {\"stats\":"
        " {\"ended\": 4}, \"rollout\": {\"stage\": \"all\", \"age\": 77}, \"now\": 1600}}"};
    json_t *answer =
        replay(*state,
               "return { admit = function(d, r, c)\n"
               "  return 'skip', table.concat({d.id, d.battery, r.id, r.name, r.stage, r.soak // 1,\n"
               "    r.params.lowest, r.firmware.version, r.age // 1, c.now // 1}, ' ') end,\n"
               "advance = function(r, s, c)\n"
               "  return 'abort', table.concat({s.ended, r.id, r.stage, r.soak // 1, r.age}, ' ') end }",
               NULL, decisions, 2);
    assert_int_equal(number(answer, "differing"), 2);
    assert_string_equal(said(answer, 0, "was", "verdict"), "offer");
    assert_string_equal(said(answer, 0, "is", "reason"), "7 25 3 spring few 60 20 2.0.0 500.0 1500.0");
    assert_string_equal(said(answer, 1, "is", "reason"), "4 3 all 0 77");
    json_decref(answer);
}

static void test_counts(void **state)
{
    static const char *const decisions[] = {
        "{\"id\": 1, \"rollout_id\": 3, \"device_id\": 7, \"verdict\": \"hold\", \"reason\": \"low\","
        " \"inputs\": {\"device\": {\"id\": 7}, \"now\": 1, \"stage\": 0}}",
        "{\"id\": 2, \"rollout_id\": 3, \"device_id\": 7, \"verdict\": \"offer\","
        " \"inputs\": {\"device\": {\"id\": 7}, \"now\": 2, \"stage\": 0}}",
        "{\"id\": 3, \"rollout_id\": 3, \"device_id\": 8, \"verdict\": \"hold\", \"reason\": \"low\","
        " \"inputs\": {\"device\": {\"id\": 8}, \"now\": 2, \"stage\": 0}}",
        "{\"id\": 4, \"rollout_id\": 3, \"device_id\": 9, \"verdict\": \"hold\", \"reason\": \"low\","
        " \"inputs\": {\"device\": {\"id\": 9}, \"now\": 2, \"stage\": 0}}",
        "{\"id\": 5, \"rollout_id\": 3, \"device_id\": null, \"verdict\": \"pause\", \"reason\": \"on "
        "request\","
        " \"inputs\": {\"by\": \"somebody\"}}",
        "{\"id\": 6, \"rollout_id\": 3, \"device_id\": null, \"verdict\": \"hold\", \"reason\": \"x\", "
        "\"inputs\":"
        " {\"stats\": {\"failed\": 10, \"succeeded\": 20, \"stage_done\": false, \"since_resume\": "
        "{\"ended\": 30, \"failed\": 10, \"failure_low\": 0.2}}, \"now\": 3}}"};
    json_t *answer = replay(*state,
                            "return { admit = function(d)\n"
                            "  if d.id == 9 then return 'hold', 'still low' end return 'offer' end }",
                            NULL, decisions, 6);
    assert_int_equal(number(answer, "decisions"), 6);
    assert_int_equal(number(answer, "asked"), 5);
    assert_int_equal(number(answer, "same"), 1);
    assert_int_equal(number(answer, "reworded"), 1);
    assert_int_equal(number(answer, "differing"), 3);
    json_t *kinds = json_object_get(answer, "changes"), *held = json_array_get(kinds, 0);
    assert_int_equal(json_array_size(kinds), 2);
    assert_int_equal(number(held, "count"), 2);
    assert_int_equal(json_array_size(json_object_get(held, "device_ids")), 2);
    assert_int_equal(number(json_array_get(kinds, 1), "stages"), 1);
    /* 7 was offered it in the end. */
    json_t *now = json_object_get(answer, "now_offered");
    assert_int_equal(number(now, "count"), 1);
    assert_int_equal(json_integer_value(json_array_get(json_object_get(now, "device_ids"), 0)), 8);
    /* Without an advance of its own the server's holds. */
    assert_string_equal(said(answer, 2, "is", "verdict"), "pause");
    assert_string_equal(said(answer, 2, "is", "reason"), "10 of 30 failed: surely more than 5 %");
    json_decref(answer);
}

static void test_two_sources(void **state)
{
    static const char *const decisions[] = {"{\"id\": 1, \"rollout_id\": 3, \"device_id\": 7, \"verdict\": "
                                            "\"hold\", \"inputs\": {\"device\": {\"id\": 7},"
                                            " \"now\": 1, \"stage\": 0}}"};
    static const char skips[] = "return { admit = function() return 'skip' end }";
    json_t *answer = replay(*state, skips, skips, decisions, 1);
    assert_int_equal(number(answer, "same"), 1);
    json_decref(answer);
    answer = replay(*state, "return {}", skips, decisions, 1);
    assert_string_equal(said(answer, 0, "was", "verdict"), "skip");
    assert_string_equal(said(answer, 0, "is", "verdict"), "offer");
    json_decref(answer);
    answer = replay(*state, "return { admit = function(d) return d.no.thing end }", NULL, decisions, 1);
    assert_int_equal(number(answer, "failed"), 1);
    json_decref(answer);
    answer = replay(*state, "return {}", "return 1", decisions, 1);
    assert_int_equal(json_array_size(json_object_get(answer, "problems")), 1);
    json_decref(answer);
    answer = replay(*state, "return {}", NULL, (const char *const[]){"[1]"}, 1);
    assert_int_equal(json_array_size(json_object_get(answer, "problems")), 1);
    json_decref(answer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sees_the_same),
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_two_sources),
    };
    return cmocka_run_group_tests(tests, lab_setup, lab_teardown);
}
