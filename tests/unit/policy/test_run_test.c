/* Tests of a policy within bounds, in this process; over there: host_test.c. */
#include "lab.h"
#include "policy/test_run.h"
#include <jansson.h>

static const char watched[] = "return {\n"
                              "  admit = function(device)\n"
                              "    if device.online then return 'offer' end\n"
                              "    return 'hold', 'offline'\n"
                              "  end }";

struct bench {
    struct policies policies;
    struct checker *checker;
    char begun[16]; /* numbers of tests that began */
};

static int setup(void **state)
{
    struct bench *bench = x_new(struct bench);
    bench->policies.zones = zones_new(zones_load_file, NULL);
    bench->checker = checker_new(NULL);
    *state = bench;
    return 0;
}

static int teardown(void **state)
{
    struct bench *bench = *state;
    checker_free(bench->checker);
    zones_free(bench->policies.zones);
    free(bench);
    return 0;
}

static void on_test(void *arg, size_t number)
{
    struct bench *bench = arg;
    size_t len = strlen(bench->begun);
    snprintf(bench->begun + len, sizeof(bench->begun) - len, "%zu", number);
}

/* The answer, JSON; `tests` NULL: none. */
static char *run(struct bench *bench, const char *source, const char *tests, size_t left_out)
{
    struct policy_library libraries[LAB_LIBRARIES];
    struct policy_source policy = lab_source(source, libraries);
    struct policy_text text = TEXT(tests == NULL ? "" : tests);
    struct test_run request = {.source = &policy,
                               .tests = tests == NULL ? NULL : &text,
                               .on_test = on_test,
                               .arg = bench};
    struct buffer json = {0};
    if (left_out != SIZE_MAX)
        request.left_out[request.left_out_count++] = left_out;
    *bench->begun = '\0';
    bool ran = test_run(&bench->policies, bench->checker, &request, &json);
    json_t *answer = json_loadb(json.data, json.len, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(answer);
    assert_int_equal(ran, json_object_get(answer, "problems") == NULL);
    json_decref(answer);
    assert_null(bench->policies.on_line);
    char *copy = x_strdup(buffer_text(&json));
    buffer_free(&json);
    return copy;
}

static void answers(struct bench *bench, const char *source, const char *tests, const char *expected)
{
    char *json = run(bench, source, tests, SIZE_MAX);
    if (strcmp(json, expected) != 0)
        fail_msg("%s, not %s", json, expected);
    free(json);
}

/* Under a sanitizer memory may take longer to fill than a test may take. */
static bool has(const char *json, const char *part)
{
    return strstr(json, part) != NULL || (SANITIZED && strstr(part, " MiB") != NULL &&
                                          strstr(json, "\"message\":\"ran longer than 1 s\"") != NULL);
}

/* That the answer for one test of this body has this. */
static void says(struct bench *bench, const char *body, const char *part)
{
    char *tests = x_printf("return { a = function()\n%s\nend }", body);
    char *json = run(bench, watched, tests, SIZE_MAX);
    if (!has(json, part))
        fail_msg("%s: %s, not %s", body, json, part);
    free(json);
    free(tests);
}

static void test_passes(void **state)
{
    answers(
        *state, watched,
        "return { b = function() end, a = function() equal(policy 'test'.admit {}, 'offer') end }",
        "{\"ok\":true,\"passed\":2,\"failed\":0,\"tests\":["
        "{\"file\":\"scripts/policies/test_test.lua\",\"name\":\"a\",\"ok\":true,\"message\":null,\"line\":"
        "null},"
        "{\"file\":\"scripts/policies/test_test.lua\",\"name\":\"b\",\"ok\":true,\"message\":null,\"line\":"
        "null}],\"coverage\":{\"lines\":3,\"ran\":2,\"missed\":[4]}}");
    assert_string_equal(((struct bench *)*state)->begun, "01");
}

static void test_fails(void **state)
{
    answers(*state, watched, "return { a = function()\n  equal(1, 2, 'one')\nend }",
            "{\"ok\":false,\"passed\":0,\"failed\":1,\"tests\":["
            "{\"file\":\"scripts/policies/test_test.lua\",\"name\":\"a\",\"ok\":false,\"message\":\"one: "
            "expected 2, got 1\",\"line\":2}],\"coverage\":{\"lines\":3,\"ran\":0,\"missed\":[1,3,4]}}");
    says(*state, "require('lib.policy.raises').fail()",
         "\"file\":\"scripts/lib/policy/raises.lua\",\"name\":\"a\",\"ok\":false,\"message\":\"no "
         "way\",\"line\":3");
    says(*state, "device(7)",
         "\"message\":\"bad argument #1 to 'for iterator' (table expected, got number)\","
         "\"line\":null");
}

static void test_none(void **state)
{
    answers(*state, watched, NULL,
            "{\"ok\":true,\"passed\":0,\"failed\":0,\"tests\":[],\"coverage\":{\"lines\":3,\"ran\":0,"
            "\"missed\":[1,3,4]}}");
}

static void test_left_out(void **state)
{
    char *json =
        run(*state, watched, "return { a = function() end, b = function() end, c = function() end }", 1);
    assert_non_null(strstr(json, "\"passed\":2,\"failed\":1"));
    assert_non_null(strstr(json, "\"name\":\"b\",\"ok\":false,\"message\":\"ran too long, or needed"));
    assert_string_equal(((struct bench *)*state)->begun, "02");
    free(json);
}

static void test_does_not_load(void **state)
{
    answers(*state, watched, "return {\n",
            "{\"problems\":[{\"file\":\"scripts/policies/test_test.lua\",\"line\":2,\"severity\":\"error\","
            "\"message\":\"unexpected symbol near <eof>\"}]}");
    answers(*state, watched, "local broken = require 'lib.policy.broken'",
            "{\"problems\":[{\"file\":\"scripts/lib/policy/broken.lua\",\"line\":3,\"severity\":\"error\","
            "\"message\":\"unexpected symbol near '}'\"}]}");
    char *json = run(*state, "return { rat = 1 }", "local p = policy 'test' return {}", SIZE_MAX);
    assert_non_null(
        strstr(json, "\"line\":1,\"severity\":\"error\",\"message\":\"scripts/policies/test.lua:1: unknown"));
    free(json);
}

static void test_bounds(void **state)
{
    double began = lab_ms();
    says(*state, "while true do pcall(function() while true do end end) end",
         "\"message\":\"ran longer than 1 s\"");
    assert_true(lab_ms() - began < 30000);
    says(*state, "local t = {} while true do t[#t + 1] = ('x'):rep(1000):rep(100) .. #t end",
         "\"message\":\"needed more than 64 MiB of memory\",\"line\":null");
    says(*state, "policy { source = 'while true do end' }", "ran longer than 10 ms");
    says(*state, "return db", "undefined global 'db'");
    says(*state, "require 'lib.schema'", "there is no script 'lib/schema.lua'");
}

/* A test that loads policies without end fails, and those after it can load theirs. */
static void test_many_policies(void **state)
{
    char *json =
        run(*state, watched,
            "local big = 'local s = (\"x\"):rep(1000):rep(500) s = s .. s .. s .. s return { admit = "
            "function() return s end }'\n"
            "return { a = function() while true do policy { source = big } end end,\n"
            "b = function() equal(policy 'test'.admit {}, 'offer') end }",
            SIZE_MAX);
    assert_non_null(strstr(json, "\"passed\":1,\"failed\":1"));
    if (!has(json, "hold more than 128 MiB\",\"line\":2"))
        fail_msg("%s", json);
    free(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_passes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_fails, setup, teardown),
        cmocka_unit_test_setup_teardown(test_none, setup, teardown),
        cmocka_unit_test_setup_teardown(test_left_out, setup, teardown),
        cmocka_unit_test_setup_teardown(test_does_not_load, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bounds, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_policies, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
