/* Declarations: what they become, what is wrong with them, and on which line. */
#include "lab.h"
#include "policy/lines.h"

/* `text` does not load; the first problem is on `line` and says `message`. */
static void refuse(void **state, const char *text, int line, const char *message)
{
    struct problems problems = {0};
    struct policy *policy = lab_load(*state, text, &problems);
    assert_null(policy);
    assert_true(problems.count > 0);
    if (problems.list[0].line != line || strstr(problems.list[0].message, message) == NULL)
        fail_msg("%s\nline %d: %s", text, problems.list[0].line, problems.list[0].message);
    problems_free(&problems);
}

static void declares(void **state, const char *text, const char *part)
{
    struct policy *policy = lab_policy(*state, text);
    if (strstr(policy_declaration(policy), part) == NULL)
        fail_msg("%s\n%s", text, policy_declaration(policy));
    policy_free(policy);
}

static void test_normalized(void **state)
{
    declares(state, canary,
             "{\"stages\":[{\"name\":\"canary\",\"share\":0.01,\"soak\":1800},{\"name\":\"early\",\"share\":"
             "0.1,\"soak\":7200},"
             "{\"name\":\"half\",\"share\":0.5,\"soak\":21600},{\"name\":\"all\",\"share\":1,\"soak\":0}],"
             "\"rate\":{\"per_minute\":600,\"growth\":1.5},\"concurrency\":500,\"timeout\":900,\"retry\":{"
             "\"max\":2,\"after\":600},");
    declares(
        state, "return { stages = { { share = 0.5 }, { share = 1 } } }",
        "[{\"name\":\"stage 1\",\"share\":0.5,\"soak\":0},{\"name\":\"stage 2\",\"share\":1,\"soak\":0}]");
    declares(state, "return { spread = { tag = 'site', concurrency = 5 }, priority = -3, downgrade = true }",
             "\"spread\":{\"tag\":\"site\",\"concurrency\":5},\"priority\":-3,\"from\":[],\"steps\":[],"
             "\"downgrade\":true");
    declares(state, "return { from = '1.*', steps = { '1.9.0', '2.0.0' }, retry = { max = 0 } }",
             "\"retry\":{\"max\":0,\"after\":600},\"spread\":null,\"priority\":0,\"from\":[\"1.*\"],"
             "\"steps\":[\"1.9.0\",\"2.0.0\"]");
    declares(state, "return { timeout = 90, vanish_after = '1d', max_failure = 0.2 }", "\"timeout\":90,");
    declares(state, "return { vanish_after = '1d', max_failure = 0.2 }",
             "\"max_failure\":0.2,\"vanish_after\":86400");
    declares(state, "return { timeout = '1500ms' }", "\"timeout\":1.5,");
}

static void test_problems(void **state)
{
    refuse(state, "return {\n  stages = {\n    { share = 0.1 },\n    { share = 0.1 },\n  } }", 4,
           "stages.2.share must be above the share of the stage before");
    refuse(state, "return {\n  stages = { { share = 0.1 },\n    { share = 0.9 } } }", 3,
           "stages.2.share must be 1");
    refuse(state, "return { stages = {\n { share = 0 }, { share = 1 } } }", 2,
           "stages.1.share must be above 0 and at most 1");
    refuse(state, "return { stages = {\n { share = 2 } } }", 2, "at most 1");
    refuse(state, "return { stages = {\n {} } }", 2, "stages.1.share is missing");
    refuse(state, "return {\n stages = {} }", 2, "stages must be a list of 1 to 100");
    refuse(state, "return {\n stages = { a = 1, { share = 1 } } }", 2, "stages must be a list");
    refuse(state, "return {\n stages = 'all' }", 2, "stages must be a table, not a string");
    refuse(state, "return { stages = { { share = 0.5, name = 'a' },\n { share = 1, name = 'a' } } }", 2,
           "two stages are named a");
    refuse(state, "return { stages = { {\n  share = 1,\n  soaks = 3 } } }", 3,
           "unknown field stages.1.soaks (did you mean soak?)");
    refuse(state, "return {\n\n  consurrency = 5 }", 3,
           "unknown field consurrency (did you mean concurrency?)");
    refuse(state, "return {\n  frobnicate = 5 }", 2, "unknown field frobnicate");
    refuse(state, "return {\n  7 }", 1, "a policy has named fields only");
    refuse(state, "return {\n  concurrency = 0 }", 2, "concurrency must be from 1 to 1000000");
    refuse(state, "return {\n  concurrency = 1.5 }", 2, "concurrency must be a whole number");
    refuse(state, "return {\n  concurrency = '5' }", 2, "concurrency must be a number");
    refuse(state, "return {\n  concurrency = 0/0 }", 2, "concurrency");
    refuse(state, "return {\n  timeout = '15 m' }", 2, "timeout must be a duration like \"30m\"");
    refuse(state, "return {\n  timeout = '15' }", 2, "must be a duration");
    refuse(state, "return {\n  timeout = -1 }", 2, "must be a duration");
    refuse(state, "return {\n  timeout = 1e300 }", 2, "timeout must be from 1 s to 2592000 s");
    refuse(state, "return { rate = {\n  per_minute = 0 } }", 2, "rate.per_minute must be above 0");
    refuse(state, "return {\n  rate = {} }", 2, "rate.per_minute is missing");
    refuse(state, "return {\n  rate = 60 }", 2, "rate must be a table, not a number");
    refuse(state, "return {\n  spread = { tag = '',\n concurrency = 1 } }", 2,
           "spread.tag must be a text of 1 to 64 bytes");
    refuse(state, "return {\n  downgrade = 'no' }", 2, "downgrade must be a boolean, not a string");
    refuse(state, "return {\n  from = { '1.*', 2 } }", 2, "from.2 must be a text");
    refuse(state, "return {\n  admit = 'offer' }", 2, "admit must be a function, not a string");
    refuse(state, "local x = 1\nreturn x", 2, "a policy returns a table");
    refuse(state, "", 1, "a policy returns a table");
    refuse(state, "return {\n  admit = function(\n}", 3, "expected near '}'");
    refuse(state, "return {\n  a = b }", 2, "undefined global 'b'");
    refuse(state, "\nwhile true do end", 2, "ran longer than 10 ms");
    refuse(state, "local t, s = {}, ('x'):rep(200000) while true do t[#t + 1] = s .. #t end", 1, "16 MiB");
    refuse(state, "\33Lua", 1, "is compiled");
}

static void test_limits(void **state)
{
    struct problems problems = {0};
    char *text = x_alloc(POLICY_LARGEST + 2);
    memset(text, ' ', POLICY_LARGEST + 1);
    memcpy(text, "return {}", 9);
    struct policy_source source = {.name = "big", .source = {text, POLICY_LARGEST}};
    struct policy *policy = policy_load(*state, &source, &problems);
    assert_non_null(policy);
    policy_free(policy);
    source.source.len++;
    assert_null(policy_load(*state, &source, &problems));
    assert_string_equal(problems.list[0].message, "larger than 64 KiB");
    problems_free(&problems);
    free(text);
    static const char *const names[] = {"", "../x", "a b", "a/b", "abcdefghijklmnopqrstuvwxyz0123456"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        source = (struct policy_source){.name = names[i], .source = TEXT("return {}")};
        assert_null(policy_load(*state, &source, &problems));
        assert_non_null(strstr(problems.list[0].message, "a policy's name"));
        problems_free(&problems);
    }
}

/* All problems at once, in the order of the lines. */
static void test_several(void **state)
{
    struct problems problems = {0};
    assert_null(lab_load(*state, "return {\n  x = 1,\n  priority = 'a',\n  rate = { x = 1 } }", &problems));
    assert_int_equal(problems.count, 4);
    assert_int_equal(problems.list[0].line, 2);
    assert_int_equal(problems.list[1].line, 3);
    assert_int_equal(problems.list[2].line, 4);
    assert_int_equal(problems.list[3].line, 4);
    assert_string_equal(problems.list[0].file, "scripts/policies/test.lua");
    problems_free(&problems);
}

static void test_lines(void **state)
{
    static const char text[] =
        "-- rate = { } --[[ in a comment ]] x = {\n"
        "--[==[ stages = {\n { share = 1 } ]==]\n"
        "local stages = {\n"
        "  { share = 0.5 },\n"
        "  { name = \"a { b\", share = 1, [[\n]], soak = 3 },\n"
        "}\n"
        "local function rate(x) local per_minute = { growth = 3 } return { per_minute = x } end\n"
        "return helper {\n"
        "  admit = function(device)\n"
        "    local concurrency = 3\n"
        "    if device.a == 2 then return 'x' end\n"
        "    repeat local z = { retry = 1 } until true\n"
        "  end,\n"
        "  concurrency = 5, spread\n"
        "    = {\n"
        "    tag = 'x' },\n"
        "}\n";
    static const struct {
        const char *path;
        int line;
    } cases[] = {{"stages.1.share", 5}, {"stages.2.soak", 7}, {"stages.3.soak", 4},   {"concurrency", 16},
                 {"spread", 16},        {"spread.tag", 18},   {"spread.nothing", 16}, {"admit", 11},
                 {"timeout", 10},       {"retry", 10}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int line = lines_find(text, strlen(text), cases[i].path);
        if (line != cases[i].line)
            fail_msg("%s: line %d, not %d", cases[i].path, line, cases[i].line);
    }
    assert_int_equal(lines_find("", 0, "x"), 0);
    static const char behind_a_local[] = "local idle = 1\nreturn {\n  rate = { } }";
    assert_int_equal(lines_find(behind_a_local, sizeof(behind_a_local) - 1, "rate"), 3);
    for (size_t len = 0; len < strlen(text); len++) { /* ends anywhere */
        char *copy = malloc(len + (len == 0));
        memcpy(copy, text, len);
        lines_find(copy, len, "stages.2.soak");
        free(copy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_normalized, lab_setup, lab_teardown),
        cmocka_unit_test_setup_teardown(test_problems, lab_setup, lab_teardown),
        cmocka_unit_test_setup_teardown(test_limits, lab_setup, lab_teardown),
        cmocka_unit_test_setup_teardown(test_several, lab_setup, lab_teardown),
        cmocka_unit_test(test_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
