#include "lab.h"
#include <unistd.h>

static void test_what_is_absent(void **state)
{
    static const char *const absent[] = {"os",   "io",       "debug",  "package",        "coroutine",
                                         "load", "loadfile", "dofile", "collectgarbage", "print",
                                         "warn", "xpcall",   "_G",     "_VERSION"};
    lab_load_fine(*state);
    for (size_t i = 0; i < sizeof(absent) / sizeof(absent[0]); i++) {
        char code[64], says[64];
        snprintf(code, sizeof(code), "return %s", absent[i]);
        snprintf(says, sizeof(says), "undefined global '%s'", absent[i]);
        lab_expect_error(*state, code, says);
    }
    lab_expect(*state, "return string.dump", "nil");
    lab_expect(*state, "return getmetatable('')", "false");
    lab_expect_error(*state, "return require('os')", "there is no script");
    lab_expect_error(*state, "return require('../../etc/passwd')", "there is no script");
}

static void test_what_is_there(void **state)
{
    lab_load_fine(*state);
    lab_expect(*state, "return ('x'):rep(3) .. utf8.char(228) .. #table.pack(1, 2) .. math.max(1, 2)",
               "xxx\xc3\xa4"
               "22");
    lab_expect(*state, "local ok, e = pcall(error, 'x') return tostring(ok) .. e", "falsex");
    lab_expect(*state, "return setmetatable({}, { __index = function(_, k) return k .. '!' end }).a", "a!");
    lab_expect(*state, "return rawlen({ 1, 2 }) + select('#', 1, 2) + tonumber('3')", "7");
}

static void test_globals(void **state)
{
    lab_load_fine(*state);
    lab_expect_error(*state, "x = 1", "assignment to global 'x'");
    lab_expect_error(*state, "function f() end", "assignment to global 'f'");
    lab_expect_error(*state, "return lenght", "undefined global 'lenght'");
    lab_expect_error(*state, "config['workers'] = 2", "read-only");
    lab_expect_error(*state, "return config['database.url']", "no 'database.url' for scripts");
    lab_expect_error(*state, "return config['mqtt.password']", "for scripts");
    lab_expect_error(*state, "return config['redis.url']", "for scripts");
    lab_expect(*state, "return config['device.offline_after']", "120.0");
    lab_expect(*state, "return config.public_url", "http://localhost:8080");
}

static void test_rep_is_bounded(void **state)
{
    lab_load_fine(*state);
    lab_expect(*state, "return #('x'):rep(500000)", "500000");
    lab_expect(*state, "return ('ab'):rep(3, '-')", "ab-ab-ab");
    lab_expect(*state, "return ('ab'):rep(0) .. ('ab'):rep(-5) .. ('ab'):rep(math.mininteger)", "");
    lab_expect_error(*state, "return ('x'):rep(2000000)", "too large");
    lab_expect_error(*state, "return (''):rep(1e12 // 1 | 0)", "too large");
    lab_expect_error(*state, "return ('x'):rep(math.maxinteger)", "too large");
    lab_expect_error(*state, "return ('x'):rep(2, ('y'):rep(600000))", "too large");
}

/* Each of these ran for hours in C, where the watchdog cannot stop it. */
static void test_what_does_not_return_to_lua_is_bounded(void **state)
{
    lab_load_fine(*state);
    static const struct {
        const char *code, *says;
    } cases[] = {
        {"local x = ('a'):rep(30000):find('.-.-.-.-b')", "pattern '.-.-.-.-b' could run too long"},
        {"return ('a'):rep(500):match(('a*'):rep(30) .. 'b')", "too long"},
        {"return ('a'):rep(60):gsub(('a?'):rep(60) .. 'b', '')", "too long"},
        {"for _ in ('a'):rep(5000):gmatch('.*.*b') do end", "too long"},
        {"return ('a'):find(('a'):rep(600))", "longer than 512 bytes"},
        {"return ('a'):rep(500000):find(('a'):rep(250000) .. 'b', 1, true)", "too long"},
        {"table.move({}, 1, math.maxinteger - 1, 2)", "more than"},
        {"table.move({}, math.mininteger, -1, 2)", "more than"},
        {"table.concat(setmetatable({}, { __index = rawlen }), '', 1, 1 << 40)", "more than"},
        {"table.concat(setmetatable({}, { __len = function() return 1 << 40 end }))", "__len"},
        {"table.insert(setmetatable({}, { __len = function() return 1 << 40 end }), 1, 0)", "__len"},
        {"table.remove(setmetatable({}, { __len = function() return 1 << 40 end }), 1)", "__len"},
        {"table.sort(setmetatable({}, { __len = function() return 1 << 30 end, __index = rawlen }))",
         "__len"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        lab_expect_error(*state, cases[i].code, cases[i].says);
}

static void test_what_is_bounded_works(void **state)
{
    lab_load_fine(*state);
    lab_expect(*state, "return table.concat({ ('a=1, b=2'):match('(%w)=(%d)') }, ' ')", "a 1");
    lab_expect(*state, "return table.concat({ ('x.y'):find('.', 1, true) }, ' ')", "2 2");
    lab_expect(*state, "return table.concat({ ('x.y'):find('%.()') }, ' ')", "2 2 3");
    lab_expect(*state, "return (('a b'):gsub('%w', function(c) return c:upper() end))", "A B");
    lab_expect(*state, "return select(2, ('aaa'):gsub('a', 'b', 2))", "2");
    lab_expect(*state, "local n = 0 for k, v in ('a=1,b=2'):gmatch('(%w)=(%w)') do n = n + v end return n",
               "3");
    lab_expect(*state,
               "local n = 0 for line in ('some line\\n'):rep(50000):gmatch('[^\\n]+') do n = n + 1 end "
               "return n",
               "50000");
    lab_expect(*state, "return #('\\r\\n'):rep(100000):gsub('\\r\\n', '\\n')", "100000");
    lab_expect(*state, "return (('  trimmed '):rep(10):match('^%s*(.-)%s*$')):sub(1, 7)", "trimmed");
    lab_expect(*state, "return select(2, pcall(function() local x = ('x'):find('[') end))",
               "chunk:1: malformed pattern (missing ']')"); /* with the script's line */
    lab_expect(*state, "return select(2, pcall(function() local x = ('x'):find() end))",
               "chunk:1: bad argument #1 to 'find' (string expected, got no value)");
    lab_expect(*state,
               "local t = { 3, 1 } table.insert(t, 2) table.insert(t, 1, 9) table.sort(t) "
               "return table.remove(t) .. table.remove(t, 1) .. table.concat(t, '-', 1, 2) .. "
               "table.unpack(table.move(t, 1, 2, 2))",
               "912-32");
    lab_expect_error(*state, "table.insert(nil, 1)", "bad argument #1 to 'insert'");
    lab_expect_error(*state, "return table.concat({}, '', 1, 2)", "invalid value");
}

static void test_finalizers_are_refused(void **state)
{
    lab_load_fine(*state);
    lab_expect_error(*state, "setmetatable({}, { __gc = function() end })", "__gc");
    lab_expect_error(*state, "setmetatable({}, { __gc = true })", "__gc");
    lab_expect_error(*state, "local t = setmetatable({}, {}) setmetatable(t, { __gc = function() end })",
                     "__gc");
    lab_expect_error(*state, "setmetatable(setmetatable({}, { __metatable = 1 }), {})", "protected");
    lab_expect_error(*state, "setmetatable('', {})", "table expected");
    lab_expect(*state,
               "local m = {} local t = setmetatable({}, m) m.__gc = function() error('ran') end t = nil "
               "for i = 1, 20000 do local x = { i } end return 'not run'",
               "not run");
}

static void ends(struct lab *lab, const char *code)
{
    uint64_t began = clock_ms();
    lab_expect_error(lab, code, "ran longer than 200 ms");
    uint64_t took = clock_ms() - began;
    if (took < 190 || took > 20000)
        fail_msg("%s took %d ms", code, (int)took);
    lab_expect(lab, "local n = 0 for i = 1, 1e6 do n = n + 1 end return n",
               "1000000"); /* the next call is free */
}

static void test_endless_loops_end(void **state)
{
    ((struct lab *)*state)->runtime.watch.limit = 200;
    lab_load_fine(*state);
    ends(*state, "while true do end");
    ends(*state, "local function f() return f() end f()");
    ends(*state, "while true do pcall(function() while true do end end) end");
    ends(*state, "repeat local ok = pcall(error, 'x') until not ok and false");
    ends(*state, "local s = 'x' while true do s = ('x'):rep(1000) end");
    ends(*state, "local t = setmetatable({}, { __index = function(t, k) return t[k + 1] end }) while true do "
                 "pcall(function() return t[1] end) end");
    ends(*state, "for _ in function() return 1 end do end");
    ends(*state, "table.sort({ 3, 2, 1 }, function() while true do end end)");
    ends(*state, "return (('x'):gsub('x', function() while true do end end))");
    ends(*state, "local x <close> = setmetatable({}, { __close = function() while true do end end })");
}

/* What is closed after an error ran where no deadline reached it. */
static void on_end(struct coroutine *coroutine, bool ok, int results)
{
    assert_false(ok);
}

static int close_endlessly(lua_State *L)
{
    static const char code[] =
        "local x <close> = setmetatable({}, { __close = function() while true do end end }) error('x')";
    if (luaL_loadbufferx(L, code, sizeof(code) - 1, "=chunk", "t") != LUA_OK)
        return lua_error(L);
    lua_callk(L, 0, 0, 0, NULL);
    return 0;
}

static void test_endless_close_after_an_error_ends(void **state)
{
    struct lab *lab = *state;
    lab->runtime.watch.limit = 200;
    lab_load_fine(lab);
    for (int i = 0; i < 2; i++) {
        struct coroutine *coroutine = coroutine_new(lab->runtime.current);
        uint64_t began = clock_ms();
        coroutine->on_end = on_end;
        lua_pushcfunction(coroutine->L, close_endlessly);
        coroutine_resume(coroutine, 0);
        assert_in_range(clock_ms() - began, 190, 20000);
    }
    lab_expect(lab, "return 'alive'", "alive");
}

/* As when the machine is busy and others have the processor. */
static int wait_for_a_turn(lua_State *L)
{
    usleep(600000);
    return 0;
}

static int wait_and_compute(lua_State *L)
{
    static const char code[] = "local wait = ... wait() for i = 1, 100000 do end wait() return 'done'";
    if (luaL_loadbufferx(L, code, sizeof(code) - 1, "=chunk", "t") != LUA_OK)
        return lua_error(L);
    lua_pushcfunction(L, wait_for_a_turn);
    lua_call(L, 1, 1);
    return 1;
}

static void on_end_fine(struct coroutine *coroutine, bool ok, int results)
{
    assert_true(ok);
}

static void test_waiting_for_the_processor_does_not_count(void **state)
{
    struct lab *lab = *state;
    lab->runtime.watch.limit = 300;
    lab_load_fine(lab);
    struct coroutine *coroutine = coroutine_new(lab->runtime.current);
    coroutine->on_end = on_end_fine;
    lua_pushcfunction(coroutine->L, wait_and_compute);
    coroutine_resume(coroutine, 0);
}

static void test_memory_runs_out_as_an_error(void **state)
{
    struct lab *lab = *state;
    lab->config->lua_memory = 4 << 20;
    lab->runtime.watch.limit = 60000;
    lab_load_fine(lab);
    static const char *const greedy[] = {
        "local s = 'x' while true do s = s .. s end",
        "local t = {} while true do t[#t + 1] = {} end",
        "local t = {} for i = 1, 1e9 do t[i] = ('x'):rep(1000) .. i end",
        "local function f() return f() + 1 end return f()",
        "local t = {} for i = 1, 1e8 do t[i] = function() return i end end",
        "local x = ('x'):rep(500000) return table.concat({ x, x, x, x, x, x, x, x, x })",
        "return json.decode('[' .. ('[],'):rep(100000) .. '[]]')"};
    for (size_t i = 0; i < sizeof(greedy) / sizeof(greedy[0]); i++) {
        lab_expect_error(lab, greedy[i], "memory");
        assert_true(lab->runtime.current->memory <= 4 << 20);
        lab_expect(lab,
                   "local ok, e = pcall(function() local t = {} while true do t[#t + 1] = ('x'):rep(9999) .. "
                   "#t end end) "
                   "return e",
                   "not enough memory");
        lab_expect(lab, "return json.encode({ 1, 2, 3 })", "[1,2,3]");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LAB_CASE(test_what_is_absent),
        LAB_CASE(test_what_is_there),
        LAB_CASE(test_globals),
        LAB_CASE(test_rep_is_bounded),
        LAB_CASE(test_what_does_not_return_to_lua_is_bounded),
        LAB_CASE(test_what_is_bounded_works),
        LAB_CASE(test_finalizers_are_refused),
        LAB_CASE(test_endless_loops_end),
        LAB_CASE(test_endless_close_after_an_error_ends),
        LAB_CASE(test_waiting_for_the_processor_does_not_count),
        LAB_CASE(test_memory_runs_out_as_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
