/* What is found in sources without running them. Expected problems are written as `otad check` shows them,
 * without the file. This program is its own process of policies, as otad is: main() takes the subcommand. */
#include "lab.h"
#include "policy/check.h"
#include "policy/host.h"
#include <lauxlib.h>

static int setup(void **state)
{
    *state = checker_new(NULL);
    assert_null(checker_missing(*state));
    return 0;
}

static int teardown(void **state)
{
    checker_free(*state);
    return 0;
}

static char *check(struct checker *checker, enum check_kind kind, const char *text)
{
    struct problems problems = {0};
    struct buffer out = {0};
    checker_run(checker, "x", kind, TEXT(text), &problems);
    problems_sort(&problems);
    for (size_t i = 0; i < problems.count; i++) {
        const struct problem *problem = &problems.list[i];
        assert_string_equal(problem->file, "x");
        buffer_printf(&out, "%d: %s%s\n", problem->line, problem->warning ? "warning: " : "",
                      problem->message);
    }
    char *found = x_strdup(buffer_text(&out));
    buffer_free(&out);
    problems_free(&problems);
    return found;
}

static void finds(struct checker *checker, enum check_kind kind, const char *text, const char *expected)
{
    char *found = check(checker, kind, text);
    if (strcmp(found, expected) != 0)
        fail_msg("%s\nfound:\n%sexpected:\n%s", text, found, expected);
    free(found);
}

/* Of a function that is `admit` (or `advance`), from line 2 on. */
static void body_finds(struct checker *checker, const char *name, const char *body, const char *expected)
{
    char *text = x_printf("return { %s = function(%s)\n%s\nend }", name,
                          *name == 'a' && name[2] == 'm' ? "dev, r, c" : "r, s, c", body);
    finds(checker, CHECK_POLICY, text, expected);
    free(text);
}

static void test_syntax(void **state)
{
    finds(*state, CHECK_POLICY, "return {\n", "2: unexpected symbol near <eof>\n");
    finds(*state, CHECK_POLICY, "return { admit = functoin(d) end }\n", "1: '}' expected near 'end'\n");
    finds(*state, CHECK_POLICY, "\x1bLua", "1: is compiled: only text is taken\n");
    finds(*state, CHECK_POLICY, "", "");
    finds(*state, CHECK_POLICY, "local x <const> = 1 goto e ::e:: return { x // 1, 1 << 2, '\\u{7fffffff}' }",
          "");
}

static void test_globals(void **state)
{
    finds(*state, CHECK_POLICY, "return { concurrency = tonumbr('3') }",
          "1: undefined global 'tonumbr' (did you mean tonumber?)\n");
    finds(*state, CHECK_POLICY, "return math.flor(1.5), string.format('x'), string.dump",
          "1: unknown field math.flor (did you mean floor?)\n1: unknown field string.dump\n");
    finds(*state, CHECK_POLICY, "return os.time(), math.random()",
          "1: undefined global 'os' (a policy has no clock: ctx.now is the time)\n"
          "1: unknown field math.random (ctx.random() is the same for the same rollout and device)\n");
    finds(*state, CHECK_POLICY, "local math = { random = 3 }\nreturn math.random", "");
    finds(*state, CHECK_POLICY, "x = 1\nfunction y() end\nstring.z = 2",
          "1: assignment to 'x' (policies have no globals: use local)\n"
          "2: assignment to 'y' (policies have no globals: use local)\n"
          "3: assignment to 'string' (policies have no globals: use local)\n");
    finds(*state, CHECK_SCRIPT, "return whatever", ""); /* not told what there is */
    lua_State *L = luaL_newstate();
    lua_newtable(L);
    lua_pushcfunction(L, lua_error);
    lua_setfield(L, -2, "one");
    lua_setglobal(L, "db");
    lua_newtable(L);
    lua_setglobal(L, "config");
    checker_learn(*state, CHECK_SCRIPT, L);
    lua_close(L);
    finds(*state, CHECK_SCRIPT, "return db.one, db.on, config.anything, dbb\n",
          "1: undefined global 'dbb' (did you mean db?)\n1: unknown field db.on (did you mean one?)\n");
    finds(*state, CHECK_SCRIPT, "x = 1", "1: assignment to global 'x' (use local)\n");
}

static void test_locals(void **state)
{
    finds(*state, CHECK_POLICY, "local a = 1\nlocal function f() end\nlocal b\nb = 2\nlocal _c = 1",
          "1: warning: unused local 'a'\n2: warning: unused function 'f'\n"
          "3: warning: local 'b' is set, and never read\n");
    finds(*state, CHECK_POLICY, "for i = 1, 2 do end\nfor k, v in pairs({}) do local _ = v end",
          "1: warning: unused loop variable 'i'\n2: warning: unused loop variable 'k'\n");
    finds(*state, CHECK_POLICY, "local a = 1\ndo\nlocal a = a\nreturn a\nend",
          "3: warning: local 'a' hides the one of line 1\n");
    finds(*state, CHECK_POLICY, "local a = 1\nreturn function(a) return a end, a",
          "2: warning: local 'a' hides the one of line 1\n");
    finds(*state, CHECK_POLICY,
          "local function f(unused) return f end\nreturn f, function(...) return ... end", "");
}

static void test_fields(void **state)
{
    body_finds(*state, "admit", "if dev.chp == r.firmware.size then return 'skip' end\nreturn 'offer'",
               "2: unknown field device.chp (did you mean chip?)\n");
    body_finds(*state, "admit",
               "local x, y = dev.telemetry.what, r.params.ever\nlocal z = dev.tags.site\nreturn x and y and "
               "z and 'skip' or "
               "'offer'",
               "");
    body_finds(*state, "admit", "local d = dev\nlocal e = (d or {})\nreturn e['chp'] and 'offer' or 'hold'",
               "4: unknown field device.chp (did you mean chip?)\n");
    body_finds(*state, "admit",
               "local f = r.firmware\nreturn f.vresion == '1' and c.hours > 3 and 'offer' or 'hold'",
               "3: unknown field ctx.hours (did you mean hour?)\n"
               "3: unknown field rollout.firmware.vresion (did you mean version?)\n");
    body_finds(*state, "advance", "return s.control.device > s.endd and 'hold' or 'advance'",
               "2: unknown field stats.control.device (did you mean devices?)\n"
               "2: unknown field stats.endd (did you mean ended?)\n");
    body_finds(*state, "admit", "dev.mark = 1\nreturn dev.mark and 'offer' or 'hold'", "");
    body_finds(*state, "admit", "dev = {}\nreturn dev.anything and 'offer' or 'hold'", "");
}

static void test_fields_in_functions(void **state)
{
    finds(*state, CHECK_POLICY,
          "local function low(d, least)\n  return d.telmetry.battery < least\nend\n"
          "return { admit = function(dev) return low(dev, 30) and 'hold' or 'offer' end }",
          "2: unknown field device.telmetry (did you mean telemetry?)\n");
    finds(*state, CHECK_POLICY,
          "local helpers = {}\nfunction helpers.deep(x) return x.nam end\n"
          "local function middle(y) return helpers.deep(y) end\nlocal policy = {}\n"
          "function policy.admit(dev) return middle(dev) and 'hold' or 'offer' end\nreturn policy",
          "2: unknown field device.nam (did you mean name?)\n");
    /* Whose callers differ says nothing; nor do tables of one's own. */
    finds(*state, CHECK_POLICY,
          "local function get(x) return x.size end\n"
          "return { admit = function(dev, r) return get(dev) and get(r) and 'hold' or 'offer' end }",
          "");
    finds(*state, CHECK_POLICY,
          "local function get(x) return x.size end\n"
          "return { admit = function(dev) return get(dev) and get({}) and 'hold' or 'offer' end }",
          "");
    finds(*state, CHECK_LIBRARY,
          "return { old = function(device, rollout) return device.version == rollout.id end }",
          "1: warning: unknown field device.version\n");
}

static void test_verdicts(void **state)
{
    body_finds(*state, "admit", "return 'offr'", "2: \"offr\" is no verdict (did you mean offer?)\n");
    body_finds(*state, "admit", "return 'pause'",
               "2: \"pause\" is a verdict of advance, and admit has offer, hold, skip\n");
    body_finds(*state, "advance", "return 'skip'",
               "2: \"skip\" is a verdict of admit, and advance has hold, advance, pause, abort, rollback\n");
    body_finds(
        *state, "admit", "return dev.online and 'ofer' or ('hld'), 'why'",
        "2: \"hld\" is no verdict (did you mean hold?)\n2: \"ofer\" is no verdict (did you mean offer?)\n");
    body_finds(*state, "admit", "local v = 'offer'\nif dev.online then v = 'hodl' end\nreturn v",
               "3: \"hodl\" is no verdict (did you mean hold?)\n");
    body_finds(*state, "admit", "return nil, 'why'", "2: admit returns nil where a verdict is due\n");
    body_finds(*state, "admit", "return true", "2: admit returns true where a verdict is due\n");
    body_finds(*state, "admit", "return 'offer', nil, { again = 3 }",
               "2: only a hold may have { again = ... }\n");
    body_finds(*state, "admit", "return 'hold', nil, { agian = 3 }",
               "2: unknown field agian (did you mean again?)\n");
    body_finds(*state, "admit", "return 'hold', nil, { again = 3 }", "");
    finds(
        *state, CHECK_POLICY,
        "local function decide() return 'yes' end\nlocal function maybe(d) if d.online then return 'nope' "
        "end end\n"
        "return { admit = function(dev)\nlocal v = maybe(dev)\nif v then return v end\nreturn decide() end }",
        "1: \"yes\" is no verdict\n2: \"nope\" is no verdict\n");
}

static void test_ends(void **state)
{
    static const char may_end[] = "4: warning: admit may end here without a verdict\n";
    body_finds(*state, "admit", "if dev.online then return 'offer'\nend", may_end);
    body_finds(*state, "admit", "if dev.online then return 'offer'\nelse error('x') end", "");
    body_finds(*state, "admit", "if dev.online then return 'offer'\nelseif dev.name then return 'skip' end",
               may_end);
    body_finds(*state, "admit", "while true do if dev.online then return 'offer' end\nend", "");
    body_finds(*state, "admit", "while true do if dev.online then break end\nend", may_end);
    body_finds(*state, "admit", "repeat do return 'offer' end\nuntil true", "");
    body_finds(*state, "admit", "do goto out end\n::out:: return 'offer'", "");
    body_finds(*state, "admit", "for _ = 1, 2 do return 'offer'\nend", may_end);
    body_finds(*state, "admit", "if dev.online then return end\nreturn 'offer'",
               "2: warning: admit may end here without a verdict\n");
    body_finds(*state, "advance", "\n", "4: warning: advance may end here without a verdict\n");
}

static void test_state(void **state)
{
    finds(*state, CHECK_POLICY,
          "local n, seen, late = 0, {}\nlate = 1\nreturn { admit = function(dev)\nlocal own = 0\nn = n + 1\n"
          "seen[dev.id] = true\nlocal function add() own = own + late end\nadd()\nreturn 'offer' end }",
          "5: warning: 'n' is forgotten after the call: the file runs anew for each\n"
          "6: warning: 'seen' is forgotten after the call: the file runs anew for each\n");
}

static void test_whole_policies(void **state)
{
    struct problems problems = {0};
    struct policies policies = {.zones = zones_new(zones_load_file, NULL)};
    struct policy_source source = {.name = "canary", .source = TEXT(canary)};
    assert_true(checker_policy(*state, &policies, &source, &problems));
    assert_int_equal(problems.count, 0);
    /* What loading finds and what reading finds are told once. */
    source.source = TEXT("local x = tonumbr('1')\nreturn {}");
    assert_false(checker_policy(*state, &policies, &source, &problems));
    assert_int_equal(problems.count, 2);
    assert_string_equal(problems.list[0].message, "undefined global 'tonumbr' (did you mean tonumber?)");
    assert_string_equal(problems.list[0].file, "scripts/policies/canary.lua");
    assert_true(problems.list[1].warning);
    problems_free(&problems);
    source.source =
        TEXT("return {\n stages = {{ share = 1, soka = 1 }},\n admit = function(d)\n return d.chp end }");
    assert_false(checker_policy(*state, &policies, &source, &problems));
    assert_int_equal(problems.count, 2);
    assert_string_equal(problems.list[0].message, "unknown field stages.1.soka (did you mean soak?)");
    assert_int_equal(problems.list[1].line, 4);
    assert_int_equal(problems.list[1].column, 11);
    problems_free(&problems);
    zones_free(policies.zones);
}

static void test_lines(void **state)
{
    int *lines;
    size_t count = checker_lines(*state, TEXT(canary), &lines);
    static const int expected[] = {1, 14, 15, 19, 20, 21};
    assert_int_equal(count, 6);
    assert_memory_equal(lines, expected, sizeof(expected));
    free(lines);
}

static char *repeat(const char *head, const char *middle, int count, const char *tail)
{
    struct buffer out = {0};
    buffer_puts(&out, head);
    for (int i = 0; i < count; i++)
        buffer_puts(&out, middle);
    buffer_puts(&out, tail);
    char *text = x_strdup(buffer_text(&out));
    buffer_free(&out);
    return text;
}

static void test_hostile(void **state)
{
    static const struct {
        const char *head, *middle;
        int count;
        const char *tail;
    } sources[] = {{"return ", "{", 30000, ""},
                   {"return ", "{", 150, "{}"},
                   {"return 1", "+1", 30000, ""},
                   {"return 1", "..1", 20000, ""},
                   {"local a = {} return a", ".b", 30000, ""},
                   {"local a = 1 return a", "()", 30000, ""},
                   {"return {", "1,", 32000, "}"},
                   {"return {", "aa = 1,", 9000, "}"},
                   {"local a if a then ", "elseif a then ", 4500, "end"},
                   {"local a ", "while a do ", 5900, ""},
                   {"", "local a = 1 ", 190, ""},
                   {"", "do local a = 1 end ", 3400, ""},
                   {"", "foo() ", 10000, ""},
                   {"return '", "\xff", 60000, "'"},
                   {"return { admit = function(d) local v = 'a' ", "v = v or v if v then return v end ", 1900,
                    "end }"},
                   {"local function f(d) return d.x end return { admit = function(d) ", "f(d)", 15000,
                    "end }"},
                   {"local d = 1 return d.x ", ";", 1, "::a:: ::a::"}};
    for (size_t i = 0; i < sizeof(sources) / sizeof(sources[0]); i++) {
        char *text = repeat(sources[i].head, sources[i].middle, sources[i].count, sources[i].tail);
        assert_true(strlen(text) < POLICY_LARGEST);
        free(check(*state, CHECK_POLICY, text));
        free(text);
    }
    finds(*state, CHECK_POLICY, "return 1", "");
}

static void test_missing(void **state)
{
    struct checker *checker = checker_new("/nowhere");
    assert_non_null(strstr(checker_missing(checker), "Debian package lua-check"));
    finds(checker, CHECK_POLICY, "return foo", "");
    finds(checker, CHECK_POLICY, "return (", "1: unexpected symbol near <eof>\n");
    checker_free(checker);
}

static void test_in_the_process(void **state)
{
    struct host *host = host_new();
    struct buffer json = {0};
    struct policy_source source = {.name = "canary", .source = TEXT(canary)};
    assert_true(host_check(host, &source, CHECK_POLICY, &json));
    assert_string_equal(buffer_text(&json), "{\"problems\":[]}");
    json.len = 0;
    source.source = TEXT("return {\n admit = function(d) return d.chp end }");
    assert_false(host_check(host, &source, CHECK_POLICY, &json));
    assert_string_equal(
        buffer_text(&json),
        "{\"problems\":[{\"file\":\"scripts/policies/canary.lua\",\"line\":2,\"column\":31,"
        "\"severity\":\"error\",\"message\":\"unknown field device.chp (did you mean chip?)\"}]}");
    json.len = 0;
    source.source = TEXT("local \"severity\":\"error\" = 1");
    assert_false(host_check(host, &source, CHECK_POLICY, &json));
    json.len = 0;
    source = (struct policy_source){.name = "lib/policy/x", .source = TEXT("local \\u{1} = 1")};
    assert_false(host_check(host, &source, CHECK_LIBRARY, &json));
    json.len = 0;
    source.source = TEXT("local a = '\"severity\":\"error\"' return {}");
    assert_true(host_check(host, &source, CHECK_LIBRARY, &json));
    assert_non_null(strstr(buffer_text(&json),
                           "\"scripts/lib/policy/x.lua\",\"line\":1,\"column\":7,\"severity\":\"warning\""));
    json.len = 0;
    source = (struct policy_source){.name = "canary", .source = TEXT("while true do end")};
    assert_false(host_check(host, &source, CHECK_POLICY, &json));
    assert_non_null(strstr(buffer_text(&json), "ran longer than 10 ms"));
    json.len = 0;
    char *large = repeat("return 1", "+1", 30000, "");
    source.source = TEXT(large);
    host_check(host, &source, CHECK_POLICY, &json);
    free(large);
    assert_int_equal(host_counts(host).started, 1);
    buffer_free(&json);
    host_free(host);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_syntax, setup, teardown),
        cmocka_unit_test_setup_teardown(test_globals, setup, teardown),
        cmocka_unit_test_setup_teardown(test_locals, setup, teardown),
        cmocka_unit_test_setup_teardown(test_fields, setup, teardown),
        cmocka_unit_test_setup_teardown(test_fields_in_functions, setup, teardown),
        cmocka_unit_test_setup_teardown(test_verdicts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ends, setup, teardown),
        cmocka_unit_test_setup_teardown(test_state, setup, teardown),
        cmocka_unit_test_setup_teardown(test_whole_policies, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lines, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hostile, setup, teardown),
        cmocka_unit_test_setup_teardown(test_missing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_in_the_process, setup, teardown),
    };
    if (argc == 2 && strcmp(argv[1], "policy-host") == 0)
        return host_main(argc - 1, argv + 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
