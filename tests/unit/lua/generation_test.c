#include "lab.h"
#include "lua/blob.h"
#include "lua/generation.h"

static void test_require(void **state)
{
    struct lab *lab = *state;
    lab_write(lab, "lib/a.lua", "return { n = require('lib.b').n + 1, b = require 'lib/b' }");
    lab_write(lab, "lib/b.lua", "return { n = 1 }");
    lab_write(lab, "lib/f.lua", "return function() return 'called' end");
    lab_load_fine(lab);
    lab_expect(lab, "return require('lib.a').n", "2");
    lab_expect(lab, "return require('lib.a').b == require('lib.b')", "true"); /* run once */
    lab_expect(lab, "return require('lib.f')()", "called");
    lab_expect_error(lab, "return require('lib.c')", "there is no script 'lib/c.lua'");
    lab_expect_error(lab, "return require(nil)", "string expected");
}

static void test_all_problems_at_once(void **state)
{
    struct lab *lab = *state;
    lab->config->lua_memory = 4 << 20;
    lab->runtime.watch.limit = 500;
    lab_write(lab, "lib/a.lua", "return {\n  x = \n}");
    lab_write(lab, "lib/b.lua", "\n\nerror('no luck')");
    lab_write(lab, "lib/c.lua", "return nil");
    lab_write(lab, "lib/d.lua", "\nreturn undefind.x");
    lab_write(lab, "lib/e.lua", "globl = 1 return {}");
    lab_write(lab, "lib/f.lua", "error({})");
    lab_write(lab, "lib/g.lua", "local function f()\n  while true do end\nend\nf() return {}");
    lab_write(lab, "lib/h.lua", "local t = {} while true do t[#t + 1] = ('x'):rep(9999) .. #t end");
    lab_write(lab, "lib/i.lua", "\x1bLua");
    lab_write(lab, "lib/ok.lua", "return {}");
    lab_write(lab, "lib/k_test.lua", "not even Lua");
    assert_null(lab_load(lab));
    lab_has_problem(lab, "scripts/lib/a.lua", 3, "unexpected symbol");
    lab_has_problem(lab, "scripts/lib/b.lua", 3, "no luck");
    lab_has_problem(lab, "scripts/lib/c.lua", 1, "returns nothing");
    lab_has_problem(lab, "scripts/lib/d.lua", 2, "undefined global 'undefind'");
    lab_has_problem(lab, "scripts/lib/e.lua", 1, "assignment to global 'globl'");
    lab_has_problem(lab, "scripts/lib/f.lua", 0, "error without a text");
    lab_has_problem(lab, "scripts/lib/g.lua", 2, "ran longer");
    lab_has_problem(lab, "scripts/lib/h.lua", 0, "not enough memory");
    lab_has_problem(lab, "scripts/lib/i.lua", 0, "binary");
    assert_int_equal(lab->problems.count, 9);
}

static void test_cycles(void **state)
{
    struct lab *lab = *state;
    lab_write(lab, "lib/a.lua", "return { require('lib.b') }");
    lab_write(lab, "lib/b.lua", "return { require('lib.c') }");
    lab_write(lab, "lib/c.lua", "\nreturn { require('lib.a') }");
    lab_refused(lab, "scripts/lib/c.lua", 2, "'lib/a' requires itself");
    lab_write(lab, "lib/c.lua", "return { require('lib.c') }");
    lab_refused(lab, "scripts/lib/c.lua", 1, "'lib/c' requires itself");
}

/* A file that required a broken one was told that the broken one required itself. */
static void test_what_requires_a_broken_file(void **state)
{
    struct lab *lab = *state;
    lab_write(lab, "lib/broken.lua", "return 1 +");
    lab_write(lab, "lib/empty.lua", "");
    lab_write(lab, "routes/a.lua", "local b = require('lib.broken')\nreturn {}");
    lab_write(lab, "routes/b.lua", "\nlocal e = require('lib.empty')\nreturn {}");
    lab_refused(lab, "scripts/lib/broken.lua", 1, "unexpected symbol");
    lab_refused(lab, "scripts/routes/a.lua", 1, "'lib/broken' did not load");
    lab_refused(lab, "scripts/routes/b.lua", 2, "'lib/empty' did not load");
    for (size_t i = 0; i < lab->problems.count; i++)
        assert_null(strstr(lab->problems.list[i].message, "itself"));
}

/* Calls that wait armed their I/O before they found that nothing can wait here; the answer then came to a
 * state that was gone, or to another request's coroutine. Here each would raise before it asks for its
 * service. */
static void test_nothing_waits_while_loading(void **state)
{
    struct lab *lab = *state;
    static char place[1];
    static const char *const waiting[] = {"redis('PING')",
                                          "server.reload()",
                                          "server.metrics()",
                                          "firmware.open('x')",
                                          "firmware.remove('x')",
                                          "crypto.hash_password('x')",
                                          "crypto.verify_password(nil, 'x')"};
    /* Services that are there, as far as anybody looks. */
    lab->runtime.redis = (struct redis *)place;
    lab->services.reload = (struct reload *)place;
    lab->services.app = place;
    lab->services.store = (struct store *)place;
    lab->services.offload = (struct offload *)place;
    for (size_t i = 0; i < sizeof(waiting) / sizeof(waiting[0]); i++) {
        char code[80];
        snprintf(code, sizeof(code), "\nreturn { %s }", waiting[i]);
        lab_write(lab, "lib/a.lua", code);
        lab_refused(lab, "scripts/lib/a.lua", 2, "cannot wait here");
    }
}

static void test_problems_take_errors_apart(void **state)
{
    struct problems problems = {0}, copy = {0};
    problems_add_error(&problems, "f", "scripts/a.lua:12: what");
    problems_add_error(&problems, "f", "plain");
    problems_add_error(&problems, "f", "a: b");
    problems_add_error(&problems, "f", "x:1:y");
    problems_add_error(&problems, "f", ":");
    problems_copy(&copy, &problems);
    problems_free(&problems);
    assert_int_equal(copy.count, 5);
    assert_string_equal(copy.list[0].file, "scripts/a.lua");
    assert_int_equal(copy.list[0].line, 12);
    assert_string_equal(copy.list[0].message, "what");
    for (size_t i = 1; i < 5; i++) {
        assert_string_equal(copy.list[i].file, "f");
        assert_int_equal(copy.list[i].line, 0);
    }
    problems_free(&copy);
}

/* -- blobs: bytes outside Lua's memory ------------------------------------------------------------------ */

static size_t alive, most_alive;

static void on_release(void *owner)
{
    alive -= 16 << 20;
    free(owner);
}

static int make_blobs(lua_State *L)
{
    for (int i = 0; i < 50; i++) {
        char *data = malloc(1);
        alive += 16 << 20; /* as if: what counts is what the collector is told */
        if (alive > most_alive)
            most_alive = alive;
        blob_push_foreign(L, (uint8_t *)data, 16 << 20, on_release, data);
        lua_pop(L, 1);
    }
    return 0;
}

/* The collector saw 40 bytes where 16 MiB hung on them: uploads stayed until Lua's own memory had doubled. */
static void test_dead_blobs_do_not_pile_up(void **state)
{
    struct lab *lab = *state;
    lab_load_fine(lab);
    assert_true(generation_call(lab->runtime.current, make_blobs, NULL, "", &lab->problems));
    assert_true(most_alive <= (size_t)6 * (16 << 20));
    lab_drop(lab);
    assert_int_equal(alive, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LAB_CASE(test_require),
        LAB_CASE(test_all_problems_at_once),
        LAB_CASE(test_cycles),
        LAB_CASE(test_what_requires_a_broken_file),
        LAB_CASE(test_nothing_waits_while_loading),
        cmocka_unit_test(test_problems_take_errors_apart),
        LAB_CASE(test_dead_blobs_do_not_pile_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
