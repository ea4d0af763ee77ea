/* What the functions of a policy hold on to is put back before each call: no answer depends on what was asked
 * before. Each of these policies would tell, for it answers with what it counted. */
#include "lab.h"

static const struct {
    const char *what, *text, *admit, *advance; /* reasons; NULL: has no such function */
} policies[] = {
    {"numbers", "local n = 0 return { admit = function() n = n + 1 return 'hold', n .. '' end }", "1", NULL},
    {"nothing", "local n return { admit = function() n = (n or 0) + 1 return 'hold', n .. '' end }", "1",
     NULL},
    {"booleans and texts",
     "local b, s = false, 'a' return { admit = function() local was = tostring(b) .. s b, s = true, s .. 'b' "
     "return 'hold', was end }",
     "falsea", NULL},
    {"tables",
     "local t = { 1, 2, deep = { n = 0, [true] = 1, [1.5] = 2 } } return { admit = function() t[#t + 1] = 3 "
     "t.deep.n = t.deep.n + #t t.deep[true] = nil return 'hold', t.deep.n .. tostring(t.deep[1.5]) end }",
     "32", NULL},
    {"tables with holes",
     "local t = { 1, nil, 3, nil, nil, 6 } return { admit = function() local n = 0 for k, v in pairs(t) do "
     "n = n * 10 + v end t[2], t[6] = 2, nil return 'hold', n .. '' end }",
     "136", NULL},
    {"tables that are one",
     "local a = {} local b = { a = a } a.b = b return { admit = function() a[#a + 1] = 1 return 'hold', "
     "#b.a .. tostring(b.a == a and a.b == b) end }",
     "1true", NULL},
    {"what both functions share",
     "local n, t = 0, {} return { admit = function() n = n + 1 t[#t + 1] = 0 return 'hold', n .. #t end, "
     "advance = function() n = n + 10 t[#t + 1] = 0 return 'hold', n .. #t end }",
     "11", "101"},
    {"functions within",
     "local function counter() local n = 0 return function() n = n + 1 return n end end "
     "local a, b = counter(), { count = counter() } "
     "return { admit = function() a() return 'hold', a() .. b.count() end }",
     "21", NULL},
    {"functions that are replaced",
     "local function f() return 'first' end return { admit = function() local was = f() "
     "f = function() return 'second' end return 'hold', was end }",
     "first", NULL},
    {"recursion",
     "local n = 0 local function f(i) n = n + 1 if i > 0 then return f(i - 1) end return n end "
     "return { admit = function() return 'hold', f(3) .. '' end }",
     "4", NULL},
    {"one function twice",
     "local n = 0 local function both() n = n + 1 return 'hold', n .. '' end "
     "return { admit = both, advance = both }",
     "1", "1"},
    {"libraries",
     "local good = require 'lib.policy.good' return { admit = function() good.count() "
     "return 'hold', good.count() .. '' end }",
     "2", NULL},
    {"libraries that are required late",
     "local n = 0 return { admit = function() n = n + 1 local good = require 'lib.policy.good' "
     "return 'hold', n .. good.count() end, advance = function() n = n + 1 return 'hold', n .. '' end }",
     "11", "1"},
    {"libraries that are required late, and what that says is swallowed",
     "local n = 0 return { admit = function() n = n + 1 local fine, good = pcall(require, 'lib.policy.good') "
     "return 'hold', tostring(fine) .. n end }",
     "true1", NULL},
    {"libraries that are altered",
     "local good = require 'lib.policy.good' return { admit = function() local was = type(good.count) "
     "good.count, good.more = nil, {} return 'hold', was end }",
     "function", NULL},
    {"globals that are not the file's any more",
     "return { admit = function() local say = tostring _ENV = { n = 1 } return 'hold', say(n) end, "
     "advance = function() return 'hold', tostring(1) end }",
     "1", "1"},
    {"globals of its own",
     "local _ENV = { n = 0 } return { admit = function() n = n + 1 return 'hold', n .. '' end }", "1", NULL},
    {"functions that are globals'",
     "local say, f = tostring, string.format return { admit = function() local was = say(f('%d', 7)) "
     "f = nil return 'hold', was end }",
     "7", NULL},
    {"an error midway",
     "local n = 0 return { admit = function() n = n + 1 if n > 0 then error('n ' .. n, 0) end end, "
     "advance = function() n = n + 5 return 'hold', n .. '' end }",
     "line 1: n 1", "5"},
    /* These the file has to run for. */
    {"iterators", "local f = ('a b c'):gmatch('%a') return { admit = function() return 'hold', f() end }",
     "a", NULL},
    {"iterators in tables",
     "local t = { f = ('a b c'):gmatch('%a') } return { admit = function() return 'hold', t.f() end }", "a",
     NULL},
    {"iterators of pairs",
     "local f, t, k = pairs({ a = 1, b = 2 }) return { admit = function() k = f(t, k) return 'hold', k end }",
     "a", NULL},
    {"tables as keys",
     "local k = {} local t = { [k] = 0 } return { admit = function() t[k] = t[k] + 1 return 'hold', t[k] .. "
     "'' "
     "end }",
     "1", NULL},
    {"functions as keys",
     "local function k() end local t = { [k] = 0 } return { admit = function() t[k] = t[k] + 1 return "
     "'hold', "
     "t[k] .. '' end }",
     "1", NULL},
    {"many fields",
     "local t = {} for i = 1, 200 do t[i] = i end return { admit = function() t[#t + 1] = 0 return 'hold', "
     "#t .. '' end }",
     "201", NULL},
    {"many tables",
     "local t = {} for i = 1, 20 do t[i] = {} end return { admit = function() t[20].n = (t[20].n or 0) + 1 "
     "return 'hold', t[20].n .. '' end }",
     "1", NULL},
    {"deep tables",
     "local t = {} local last = t for i = 1, 40 do last.next = {} last = last.next end last.n = 0 "
     "return { admit = function() last.n = last.n + 1 return 'hold', last.n .. '' end }",
     "1", NULL},
    {"many functions",
     "local n = 0 local f = function() n = n + 1 return n end for i = 1, 100 do local g = f "
     "f = function() return g() end end return { admit = function() return 'hold', f() .. '' end }",
     "1", NULL},
};

static void says(struct policy *policy, size_t i, bool admit)
{
    const char *reason = admit ? policies[i].admit : policies[i].advance;
    struct policy_verdict verdict;
    if (reason == NULL)
        return;
    if (admit)
        policy_admit(policy, &lab_moment, TEXT(device_json), &verdict);
    else
        policy_advance(policy, &lab_moment, TEXT(stats_json), &verdict);
    if (verdict.answer != POLICY_HOLD || strcmp(verdict.reason, reason) != 0)
        fail_msg("%s: %s says %s, not %s", policies[i].what, admit ? "admit" : "advance", verdict.reason,
                 reason);
}

static void test_every_call_is_the_first(void **state)
{
    for (size_t i = 0; i < sizeof(policies) / sizeof(policies[0]); i++) {
        struct policy *policy = lab_policy(*state, policies[i].text);
        for (int round = 0; round < 12; round++)
            says(policy, i, 0xa53 >> round & 1);
        policy_free(policy);
    }
}

/* Memory that runs out, or time, while all of it is put back or after: the next call is as the first. */
static void test_after_a_call_was_ended(void **state)
{
    struct policy *policy =
        lab_policy(*state, "local t, n = {}, 0 return { admit = function(device) n = n + 1 "
                           "if device.id == 1 then while true do t[#t + 1] = ('x'):rep(1000) .. #t end end "
                           "if device.id == 2 then while true do n = n + 1 end end "
                           "return 'hold', n .. #t end }");
    static const char *const devices[] = {"{\"id\": 1}", "{\"id\": 3}", "{\"id\": 2}", "{\"id\": 3}"};
    for (int i = 0; i < 12; i++) {
        struct policy_verdict verdict;
        struct policy_text device = {devices[i % 4], strlen(devices[i % 4])};
        policy_admit(policy, &lab_moment, device, &verdict);
        assert_int_equal(verdict.failed, i % 2 == 0);
        if (i % 2 == 1)
            assert_string_equal(verdict.reason, "10");
    }
    policy_free(policy);
}

/* What is called by whoever tests policies: each line of the file counts as run, though it runs only once. */
static void count_line(void *arg, const char *file, int line)
{
    int *lines = arg;
    if (line < 4)
        lines[line]++;
}

static void test_the_file_runs_once(void **state)
{
    struct policies *all = *state;
    int lines[4] = {0};
    all->on_line = count_line;
    all->arg = lines;
    struct policy *policy = lab_policy(all, "local n = 0\nreturn { admit = function()\nreturn 'hold'\nend }");
    struct policy_verdict verdict;
    for (int i = 0; i < 5; i++)
        policy_admit(policy, &lab_moment, TEXT(device_json), &verdict);
    policy_free(policy);
    assert_int_equal(lines[1], 1);
    assert_int_equal(lines[3], 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_every_call_is_the_first, lab_setup, lab_teardown),
        cmocka_unit_test_setup_teardown(test_after_a_call_was_ended, lab_setup, lab_teardown),
        cmocka_unit_test_setup_teardown(test_the_file_runs_once, lab_setup, lab_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
