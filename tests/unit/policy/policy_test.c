#include "hostile.h"
#include "lab.h"

static void test_canary(void **state)
{
    struct policy *policy = lab_policy(*state, canary);
    struct policy_verdict verdict;
    policy_admit(policy, &lab_moment, TEXT(device_json), &verdict);
    assert_int_equal(verdict.answer, POLICY_OFFER);
    assert_false(verdict.failed);
    assert_int_equal(verdict.line, 15);
    assert_string_equal(verdict.reason, "");
    policy_admit(policy, &lab_moment, TEXT("{\"telemetry\": {\"battery\": 29}}"), &verdict);
    assert_int_equal(verdict.answer, POLICY_HOLD);
    assert_false(verdict.failed);
    assert_int_equal(verdict.line, 14);
    assert_string_equal(verdict.reason, "battery below 30 %");
    policy_admit(policy, &lab_moment, TEXT("{\"telemetry\": {\"battery\": null}}"), &verdict);
    assert_int_equal(verdict.answer, POLICY_OFFER);
    policy_admit(policy, &lab_moment, TEXT("{}"), &verdict);
    assert_int_equal(verdict.answer, POLICY_HOLD);
    assert_true(verdict.failed);
    assert_int_equal(verdict.line, 14);
    assert_string_equal(verdict.reason, "line 14: attempt to index a nil value (field 'telemetry')");
    policy_advance(policy, &lab_moment, TEXT(stats_json), &verdict);
    assert_int_equal(verdict.answer, POLICY_ADVANCE);
    assert_int_equal(verdict.line, 20);
    policy_advance(policy, &lab_moment, TEXT("{\"ended\": 20, \"failure_low\": 0.06}"), &verdict);
    assert_int_equal(verdict.answer, POLICY_PAUSE);
    assert_string_equal(verdict.reason, "failures above 5 %");
    policy_free(policy);
}

static void test_defaults(void **state)
{
    struct policy *policy = lab_policy(*state, "return {}");
    struct policy_verdict verdict;
    policy_admit(policy, &lab_moment, TEXT(device_json), &verdict);
    assert_int_equal(verdict.answer, POLICY_OFFER);
    policy_advance(policy, &lab_moment, TEXT(stats_json), &verdict);
    assert_int_equal(verdict.answer, POLICY_DEFAULT);
    assert_string_equal(
        policy_declaration(policy),
        "{\"stages\":[{\"name\":\"all\",\"share\":1,\"soak\":0}],\"rate\":null,\"concurrency\":500,"
        "\"timeout\":null,\"retry\":{\"max\":2,\"after\":600},\"spread\":null,\"priority\":0,\"from\":[],"
        "\"steps\":[],\"downgrade\":false,\"max_failure\":0.05,\"vanish_after\":null,\"admit\":false,"
        "\"advance\":false}");
    policy_free(policy);
}

static void test_answers(void **state)
{
    struct policy_verdict verdict = lab_admit(*state, "return 'hold', 'later', { again = '2h' }");
    assert_int_equal(verdict.answer, POLICY_HOLD);
    assert_false(verdict.failed);
    assert_true(verdict.again == 7200);
    verdict = lab_admit(*state, "return 'skip', 'a\\1b\\255c'");
    assert_int_equal(verdict.answer, POLICY_SKIP);
    assert_string_equal(verdict.reason, "a b\xef\xbf\xbd"
                                        "c");
    verdict = lab_admit(*state, "return 'skip', ('\\u{e4}'):rep(400)");
    assert_int_equal(strlen(verdict.reason), POLICY_REASON);
    assert_true((unsigned char)verdict.reason[POLICY_REASON - 1] == 0xa4);
    verdict = lab_admit(*state, "return 'skip', 'x' .. ('\\u{e4}'):rep(400)");
    assert_int_equal(strlen(verdict.reason), POLICY_REASON - 1);
    verdict = lab_admit(*state, "return require('lib.policy.good').say()");
    assert_string_equal(verdict.file, "scripts/lib/policy/good.lua");
    assert_int_equal(verdict.line, 3);

    lab_fails(*state, "", "admit returned nothing where a verdict is due");
    lab_fails(*state, "return true", "line 2: admit returned a boolean where");
    lab_fails(*state, "return 'offr'",
              "line 2: admit returned \"offr\", which is no verdict (did you mean offer?)");
    lab_fails(*state, "return 'pause'", "which is no verdict");
    lab_fails(*state, "return 'hold', 7", "a number where a reason is due");
    lab_fails(*state, "return 'offer', nil, { again = 60 }", "only a hold may have one");
    lab_fails(*state, "return 'hold', nil, { again = 0 }", "no duration from 1 s to 30 d");
    lab_fails(*state, "return 'hold', nil, { again = '1y' }", "no duration");
    lab_fails(*state, "return 'hold', nil, { again = 0 / 0 }", "no duration");
    lab_fails(*state, "return 'hold', nil, {}", "no duration");
    lab_fails(*state, "\nerror('my words')", "line 3: my words");
    lab_fails(*state, "\nerror({})", "line 3: an error without a text");
    lab_fails(*state, "\nreturn ('%99999d'):format(1)", "line 3: invalid conversion");
    lab_fails(*state, "\nlocal t, s = {}, ('x'):rep(300000)\nwhile true do t[#t + 1] = s .. #t end",
              "line 4: needed more than 16 MiB");
    lab_fails(*state, "\nfor i = 1, 1e9 do table.concat({}, ('x'):rep(300000)) end", "line 3: ran longer");
    lab_fails(*state, "return 'offer\\0'", "line 2: admit returned \"offer...\", which is no verdict");
    lab_fails(*state, "return ('x'):rep(9000)",
              "returned \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...\", which is no verdict");
    lab_fails(*state, "require('lib.policy.raises').fail()", "scripts/lib/policy/raises.lua line 3: no way");
    lab_fails(*state, "require 'lib.policy.broken'",
              "scripts/lib/policy/broken.lua line 3: unexpected symbol");
    lab_fails(*state, "require 'lib.policy.none'", "there is no library 'lib/policy/none'");
    lab_fails(*state, "require '../../etc/passwd'", "there is no library");
}

/* The same question has the same answer, whatever was asked before. */
static void test_nothing_outlives_a_call(void **state)
{
    static const char counting[] = "local n, seen, lib = 0, {}, require 'lib.policy.good'\n"
                                   "return { admit = function(device, rollout, ctx)\n"
                                   "  n = n + 1 seen[#seen + 1] = n\n"
                                   "  local before = rollout.params.mark or 0\n"
                                   "  rollout.params.mark, device.tags, rollout.name = 9, nil, nil\n"
                                   "  return 'hold', n .. #seen .. lib.count() .. before\n"
                                   "end }";
    struct policy *policy = lab_policy(*state, counting);
    struct policy_verdict verdict;
    for (int i = 0; i < 3; i++) {
        policy_admit(policy, &lab_moment, TEXT(device_json), &verdict);
        assert_string_equal(verdict.reason, "1110");
    }
    policy_free(policy);
    lab_fails(*state, "x = 1", "assignment to 'x'");
    lab_fails(*state, "string = nil", "assignment to 'string'");
    lab_fails(*state, "string.x = 1", "assignment to 'x'");
    lab_fails(*state, "math.pi = 3", "assignment to 'pi'");
    lab_fails(*state, "_ENV.x = 1", "assignment to 'x'");
    lab_fails(*state, "table.insert(string, 1)", "assignment to '1'");
    lab_fails(*state, "table.move({ 1 }, 1, 1, 1, math)", "assignment to '1'");
    lab_fails(*state, "return lenght", "undefined global 'lenght'");
    lab_says(*state, "local _ENV = { a = 1 } return 'hold', 'a' .. a", "a1");
}

static void test_what_is_absent(void **state)
{
    static const char *const absent[] = {"debug",        "io",           "os",         "package",
                                         "load",         "loadfile",     "loadstring", "dofile",
                                         "print",        "warn",         "xpcall",     "coroutine",
                                         "setmetatable", "getmetatable", "rawset",     "rawget",
                                         "rawequal",     "rawlen",       "next",       "collectgarbage",
                                         "_G",           "_VERSION"};
    static const char *const fields[] = {"string.dump", "string.pack",     "string.packsize", "string.unpack",
                                         "math.random", "math.randomseed", "(\"\").dump"};
    for (size_t i = 0; i < sizeof(absent) / sizeof(absent[0]); i++) {
        char body[64], says[64];
        snprintf(body, sizeof(body), "return 'hold', type(%s)", absent[i]);
        snprintf(says, sizeof(says), "line 2: undefined global '%s'", absent[i]);
        lab_fails(*state, body, says);
    }
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        char body[64];
        snprintf(body, sizeof(body), "return 'hold', type(%s)", fields[i]);
        lab_says(*state, body, "nil");
    }
}

static void test_what_is_there(void **state)
{
    lab_says(*state, "local t = { 3, 1, 2 } table.sort(t) return 'hold', table.concat(t, ',')", "1,2,3");
    lab_says(*state,
             "local t = { 3, 1, 2 } table.sort(t, function(a, b) return a > b end) "
             "return 'hold', table.concat(t, ',')",
             "3,2,1");
    lab_says(*state, "return 'hold', table.concat(table.move({ 1, 2 }, 1, 2, 2), ',')", "1,1,2");
    lab_says(*state, "return 'hold', table.concat(table.move({ 1, 2 }, 1, 2, 1, {}), ',')", "1,2");
    lab_says(*state, "return 'hold', ('ab'):rep(2, '-') .. ('%5.1f|%s|%d'):format(2.25, 'x', 7)",
             "ab-ab  2.2|x|7");
    lab_says(*state, "local ok, e = pcall(error, 'x') return 'hold', tostring(ok) .. e", "falsex");
    lab_says(*state, "return 'hold', utf8.char(228) .. math.max(1, 2) .. select('#', 1, 2) .. tonumber('3')",
             "\xc3\xa4"
             "223");
    lab_says(*state, "local s = 0 for i, v in ipairs({ 1, 2 }) do s = s + i * v end return 'hold', s .. ''",
             "5");
    lab_says(*state,
             "assert(true) return 'hold', device.chip .. device.tags.site .. rollout.firmware.version",
             "esp32s3hamburg1.5.0");
    lab_says(*state, "return 'hold', math.type(device.id) .. math.type(device.silent_for)", "integerfloat");
    lab_fails(*state, "assert(false, 'not so')", "not so");
}

/* Hash seeds and addresses differ from process to process. */
static void test_determinism(void **state)
{
    lab_says(
        *state,
        "local t, out = { z = 1, a = 2, [2] = 3, [10] = 4, [1.5] = 5, [true] = 6, [false] = 7, B = 8 }, {}\n"
        "for k, v in pairs(t) do out[#out + 1] = tostring(k) .. v end return 'hold', table.concat(out, ' ')",
        "1.55 23 104 B8 a2 z1 false7 true6");
    lab_says(*state,
             "local t, n = { a = 1, b = 2, c = 3 }, 0 for k in pairs(t) do n = n + 1 t.b = nil t[k] = 9 end "
             "return 'hold', n .. ''",
             "2");
    lab_says(*state, "return 'hold', tostring({}) .. tostring(pairs) .. ('%s'):format({})",
             "tablefunctiontable");
    lab_fails(*state, "return 'hold', ('%-20p'):format({})", "invalid conversion");
    lab_fails(*state, "for _ in pairs({ [{}] = 1 }) do end", "a table as key has no place in the order");
    lab_says(*state,
             "local t = {} for i = 1, 300 do t[i] = { i % 3, i } end\n"
             "table.sort(t, function(a, b) return a[1] < b[1] end)\n"
             "for i = 2, 300 do assert(t[i - 1][1] < t[i][1] or t[i - 1][2] < t[i][2]) end return 'hold', "
             "'stable'",
             "stable");
}

static void test_ctx(void **state)
{
    static const char clock[] =
        "return { admit = function(device, rollout, ctx)\n"
        "  return 'hold', ctx.weekday .. ' ' .. ctx.hour .. ' ' .. math.type(ctx.now) end,\n"
        "advance = function(rollout, stats, ctx) return 'hold', ctx.weekday .. ' ' .. ctx.hour end }";
    struct policy *policy = lab_policy(*state, clock);
    struct policy_moment moment = {.now = 1767225600}; /* 2026-01-01 00:00 UTC, a Thursday */
    struct policy_verdict verdict;
    moment.rollout = TEXT("{\"id\": 1}");
    policy_admit(policy, &moment, TEXT("{\"id\": 2}"), &verdict);
    assert_string_equal(verdict.reason, "4 0 float");
    moment.rollout = TEXT("{\"id\": 1, \"params\": {\"timezone\": \"America/New_York\"}}");
    policy_admit(policy, &moment, TEXT("{\"id\": 2, \"tags\": {\"timezone\": \"Asia/Tokyo\"}}"), &verdict);
    assert_string_equal(verdict.reason, "4 9 float");
    policy_advance(policy, &moment, TEXT("{}"), &verdict);
    assert_string_equal(verdict.reason, "3 19");
    policy_admit(policy, &moment, TEXT("{\"tags\": {\"timezone\": \"../../etc/passwd\"}}"), &verdict);
    assert_false(verdict.failed); /* whoever owns a device names its tags */
    assert_string_equal(verdict.reason,
                        "line 2: the device's tag timezone: there is no time zone '../../etc/passwd'");
    moment.rollout = TEXT("{\"id\": 1, \"params\": {\"timezone\": \"Europe/Berlni\"}}");
    policy_advance(policy, &moment, TEXT("{}"), &verdict);
    assert_true(verdict.failed);
    assert_string_equal(verdict.reason, "line 3: params.timezone: there is no time zone 'Europe/Berlni'");
    policy_free(policy);
    lab_says(*state, "return 'hold', tostring(ctx.hours) .. tostring(ctx[1])", "nilnil");
}

static void test_random(void **state)
{
    struct policy *policy =
        lab_policy(*state, "return { admit = function(device, rollout, ctx)\n"
                           "local a, b = ctx.random(), ctx.random()\n"
                           "assert(a >= 0 and a < 1 and a ~= b) return 'hold', ('%.17g'):format(a) end }");
    struct policy_moment moment = lab_moment;
    struct policy_verdict first, second;
    double sum = 0;
    for (int i = 0; i < 2000; i++) {
        char device[64];
        snprintf(device, sizeof(device), "{\"id\": %d}", i);
        policy_admit(policy, &moment, TEXT(device), &first);
        sum += strtod(first.reason, NULL);
    }
    assert_true(sum / 2000 > 0.48 && sum / 2000 < 0.52);
    policy_admit(policy, &moment, TEXT("{\"id\": 7}"), &first);
    policy_admit(policy, &moment, TEXT("{\"id\": 7}"), &second);
    assert_string_equal(first.reason, second.reason);
    moment.seed = 1;
    policy_admit(policy, &moment, TEXT("{\"id\": 7}"), &second);
    assert_string_not_equal(first.reason, second.reason);
    policy_free(policy);
}

static void test_input(void **state)
{
    static const char *const bad[] = {
        "",           "[]",          "7",           "{",           "{\"a\"}",           "{\"a\":}",
        "{\"a\":1,}", "{\"a\":1}x",  "{\"a\":tru}", "{\"a\":\"x}", "{\"a\":\"\\u12\"}", "{\"a\":\"\\x\"}",
        "{\"a\":-}",  "{\"a\":[1,]}"};
    struct policy *policy = lab_policy(
        *state,
        "return { admit = function(d) return 'hold', "
        "d.text .. '|' .. d.number .. '|' .. #d.list .. '|' .. tostring(d.none) .. tostring(d.yes) end }");
    struct policy_verdict verdict;
    policy_admit(
        policy, &lab_moment,
        TEXT(" { \"text\" : \"a\\n\\u00e4\\ud83d\\ude00\\ud800\\\"\" , \"number\":-1.5e2,\"list\":[1,{},[]],"
             "\"none\":null,\"yes\":true}\n"),
        &verdict);
    assert_string_equal(verdict.reason, "a \xc3\xa4\xf0\x9f\x98\x80\xef\xbf\xbd\"|-150.0|3|niltrue");
    policy_admit(policy, &lab_moment, TEXT("{\"text\":\"\",\"number\":123456789012345678,\"list\":[]}"),
                 &verdict);
    assert_string_equal(verdict.reason, "|123456789012345678|0|nilnil");
    policy_admit(policy, &lab_moment, TEXT("{\"text\":\"\",\"number\":12345678901234567890,\"list\":[]}"),
                 &verdict);
    assert_string_equal(verdict.reason, "|1.2345678901235e+19|0|nilnil");
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        policy_admit(policy, &lab_moment, TEXT(bad[i]), &verdict);
        assert_true(verdict.failed);
        assert_string_equal(verdict.reason, "device is not a JSON object");
    }
    char deep[200] = "{\"a\":";
    memset(deep + 5, '[', 100);
    policy_admit(policy, &lab_moment, TEXT(deep), &verdict);
    assert_string_equal(verdict.reason, "device is not a JSON object");
    policy_free(policy);
}

/* Every hostile script that Lua's limits can end; host_test has all of them. */
static void test_hostile(void **state)
{
    struct policy *good = lab_policy(*state, canary);
    for (size_t i = 0; i < HOSTILE; i++) {
        if (hostile[i].in_c)
            continue;
        char *text = x_printf("return { admit = function()\n%s\nend, advance = function()\n%s\nend }",
                              hostile[i].body, hostile[i].body);
        struct policy *policy = lab_policy(*state, text);
        for (int round = 0; round < 4; round++) {
            struct policy_verdict verdict;
            double began = lab_ms();
            if (round % 2 == 0)
                policy_admit(policy, &lab_moment, TEXT(device_json), &verdict);
            else
                policy_advance(policy, &lab_moment, TEXT(stats_json), &verdict);
            if (verdict.answer != POLICY_HOLD || !verdict.failed || *verdict.reason == '\0' ||
                lab_ms() - began > 10000)
                fail_msg("%s: %d %s, %.0f ms", hostile[i].body, verdict.failed, verdict.reason,
                         lab_ms() - began);
            policy_admit(good, &lab_moment, TEXT(device_json), &verdict);
            assert_int_equal(verdict.answer, POLICY_OFFER);
        }
        policy_free(policy);
        free(text);
    }
    policy_free(good);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_canary, lab_setup, lab_teardown),
        cmocka_unit_test_setup_teardown(test_defaults, lab_setup, lab_teardown),
        cmocka_unit_test_setup_teardown(test_answers, lab_setup, lab_teardown),
        cmocka_unit_test_setup_teardown(test_nothing_outlives_a_call, lab_setup, lab_teardown),
        cmocka_unit_test_setup_teardown(test_what_is_absent, lab_setup, lab_teardown),
        cmocka_unit_test_setup_teardown(test_what_is_there, lab_setup, lab_teardown),
        cmocka_unit_test_setup_teardown(test_determinism, lab_setup, lab_teardown),
        cmocka_unit_test_setup_teardown(test_ctx, lab_setup, lab_teardown),
        cmocka_unit_test_setup_teardown(test_random, lab_setup, lab_teardown),
        cmocka_unit_test_setup_teardown(test_input, lab_setup, lab_teardown),
        cmocka_unit_test_setup_teardown(test_hostile, lab_setup, lab_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
