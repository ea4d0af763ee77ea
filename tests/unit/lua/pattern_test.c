/* lua/pattern: the bound on what a match may cost, against Lua's own matcher. */
#include "lua/pattern.h"
#include <lauxlib.h>
#include <lualib.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static bool bounded(const char *pattern, size_t len, double most)
{
    return pattern_bounded(pattern, strlen(pattern), len, true, most);
}

/* What takes a walk over the text and no more, a walk from each place, and so on. */
static void test_powers(void **state)
{
    static const struct {
        const char *pattern;
        int power;
    } cases[] = {
        {"x", 1},
        {"^x", 0},
        {"[^\n]+", 1}, /* cannot fail once it has begun */
        {"%s+", 1},
        {"%w*", 1},
        {"^%d+$", 1},
        {"^([^@]+)@([%w.-]+)$", 1},
        {"^%-?[1-9]%d*$", 1},
        {"^(%d+)%.(%d+)%.(%d+)$", 1},
        {"%d+-%d+", 2},
        {"(%w+)%s*=%s*(%w+)", 2},
        {"([^,]*),", 2},
        {"%s+$", 2},
        {"%b()", 2},
        {"^%s*(.-)%s*$", 3},
        {"(.-)%.", 2},
        {"foo.*bar", 2},
        {"^[^@%s]+@[^@%s]+%.[^@%s]+$", 2},
        {"^.*.*.*x", 3},
        {".*a.*b", 3},
        {"^[a-f]*[%d]*[g-z]*x", 1},
        {"^[a-g]*[%d]*[g-z]*x", 2},
        {"^[^%W]*%a*x", 2},
        {"^[]]*]%d*x", 2},
        {"^[%]]*]%d*x", 2},
        {"^[^]]*]%d*x", 1},
        {"^a*%f[%w]%d*x", 2},
        {"^(a*)%1x", 2},
        {"^.*.*.*[", 3}, /* malformed, but only where the matcher gets so far */
        {"^.*.*.*%", 3},
        {"^a*$b", 1},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        double n = 1e6, steps = 1;
        for (int power = 0; power < cases[i].power; power++)
            steps *= n;
        if (!bounded(cases[i].pattern, (size_t)n, steps * 60))
            fail_msg("%s costs more than expected", cases[i].pattern);
        if (bounded(cases[i].pattern, (size_t)n, steps / 60))
            fail_msg("%s costs less than expected", cases[i].pattern);
    }
    assert_true(bounded("a?a?a?a?x", 100000, 1e8));
    assert_false(bounded("a?a?a?a?a?a?a?a?a?a?a?a?a?a?a?a?a?a?a?a?a?a?a?a?a?a?a?a?x", 100000, 1e12));
    assert_false(pattern_bounded("^a", 2, 1000, false, 500)); /* gmatch */
    assert_true(pattern_bounded("^a", 2, 1000, true, 500));
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Patterns at random over texts that make them backtrack: none that is let through takes long. */
static void test_the_bound_holds(void **state)
{
    static const char *const pieces[] = {"a",      "b",  ".",  "%a",   "[ab]", "[^a]", "[^b]", "%w",
                                         "[a-z]",  "(",  ")",  "%1",   "%d",   "$",    "[%a]", "%A",
                                         "%f[%a]", "%b", "ab", "[%]]", "()",   "-",    "^"};
    static const char quantifiers[] = "*+-?";
    enum { TEXT = 400, ROUNDS = 6000 };
    lua_State *L = luaL_newstate();
    unsigned let = 0, refused = 0;
    luaL_openlibs(L);
    srand(1);
    for (int round = 0; round < ROUNDS; round++) {
        char pattern[128] = "", text[TEXT + 1];
        for (int i = rand() % 9 + 1; i > 0; i--) {
            strcat(pattern, pieces[(size_t)rand() % (sizeof(pieces) / sizeof(pieces[0]))]);
            if (rand() % 3 != 0)
                strncat(pattern, &quantifiers[rand() % 4], 1);
        }
        int every = rand() % 3 == 0 ? rand() % 50 + 1 : TEXT;
        for (int i = 0; i < TEXT; i++)
            text[i] = (i + 1) % every == 0 ? 'b' : 'a';
        text[TEXT] = '\0';
        if (!bounded(pattern, TEXT, 2e6)) {
            refused++;
            continue;
        }
        let++;
        lua_getglobal(L, "string");
        lua_getfield(L, -1, "gsub");
        lua_pushstring(L, text);
        lua_pushstring(L, pattern);
        lua_pushliteral(L, "");
        double began = seconds();
        (void)lua_pcall(L, 3, 1, 0); /* may be malformed */
        double took = seconds() - began;
        if (took > 0.5)
            fail_msg("%s took %.1f s", pattern, took);
        lua_settop(L, 0);
    }
    lua_close(L);
    assert_true(let > ROUNDS / 4 && refused > ROUNDS / 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_powers), cmocka_unit_test(test_the_bound_holds)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
