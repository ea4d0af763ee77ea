#include "lab.h"
#include "lua/modules.h"

static void test_time(void **state)
{
    lab_load_fine(*state);
    lab_expect(*state, "return time.rfc3339(0)", "1970-01-01T00:00:00Z");
    lab_expect(*state, "return time.rfc3339(1767323045.5)", "2026-01-02T03:04:05.500Z");
    lab_expect(*state, "return time.rfc3339(-0.5)", "1969-12-31T23:59:59.500Z");
    lab_expect(*state, "return time.rfc3339(1.9996)", "1970-01-01T00:00:02Z");
    lab_expect_error(*state, "return time.rfc3339(0/0)", "out of range");
    lab_expect_error(*state, "return time.rfc3339(1e300)", "out of range");
    lab_expect_error(*state, "return time.rfc3339(-1e12)", "out of range");
    lab_expect(*state, "return time.parse('2026-01-02T03:04:05.5Z')", "1767323045.5");
    lab_expect(*state, "return time.parse('2026-01-02t03:04:05z')", "1767323045.0");
    lab_expect(*state,
               "return time.parse('2026-01-02T04:34:05+01:30') == time.parse('2026-01-01T22:04:05-05:00')",
               "true");
    lab_expect(*state, "return time.parse('2024-02-29T00:00:00Z') ~= nil", "true");
    lab_expect(*state, "return math.abs(now() - time.parse(time.rfc3339(now()))) < 1", "true");
}

/* Milliseconds were cut, not rounded: what was read was written one less. strptime() took more than RFC 3339.
 */
static void test_time_round_trips_and_is_strict(void **state)
{
    lab_load_fine(*state);
    lab_expect(*state,
               "for ms = 0, 999 do local t = ('2026-01-02T03:04:05.%03dZ'):format(ms)\n"
               "if ms > 0 and time.rfc3339(time.parse(t)) ~= t then return t end end return 'all'",
               "all");
    static const char *const wrong[] = {"",
                                        "2026-01-02",
                                        "2026-01-02T03:04:05",
                                        "2026-01-02 03:04:05Z",
                                        " 2026-01-02T03:04:05Z",
                                        "2026-1-2T3:4:5Z",
                                        "2026-02-30T00:00:00Z",
                                        "2025-02-29T00:00:00Z",
                                        "2026-13-01T00:00:00Z",
                                        "2026-00-01T00:00:00Z",
                                        "2026-01-00T00:00:00Z",
                                        "2026-01-02T24:00:00Z",
                                        "2026-01-02T00:60:00Z",
                                        "2026-01-02T00:00:61Z",
                                        "2026-01-02T00:00:00.Z",
                                        "2026-01-02T00:00:00Zx",
                                        "2026-01-02T00:00:00+1:00",
                                        "2026-01-02T00:00:00+ 1:00",
                                        "2026-01-02T00:00:00+24:00",
                                        "2026-01-02T00:00:00+01:60",
                                        "2026-01-02T00:00:00+0100",
                                        "-026-01-02T00:00:00Z",
                                        "+2026-01-02T00:00:00Z",
                                        "12026-01-02T00:00:00Z"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        char code[96];
        snprintf(code, sizeof(code), "return time.parse('%s')", wrong[i]);
        lab_expect(*state, code, "nil");
    }
}

static void test_crypto(void **state)
{
    struct lab *lab = *state;
    memset(lab->services.seal_key, 7, sizeof(lab->services.seal_key));
    lab_load_fine(lab);
    lab_expect(lab, "return crypto.sha256('abc')",
               "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    lab_expect(lab, "return #crypto.random(32)", "43");
    lab_expect(lab, "return crypto.random(16) ~= crypto.random(16)", "true");
    lab_expect_error(lab, "crypto.random(0)", "1 to 256");
    lab_expect_error(lab, "crypto.random(257)", "1 to 256");
    lab_expect(lab, "return crypto.unseal(crypto.seal('a\\0b')) == 'a\\0b'", "true");
    lab_expect(lab, "return crypto.unseal(crypto.seal('')) == ''", "true");
    lab_expect(lab, "return #crypto.unseal(crypto.seal(('x'):rep(1024)))", "1024");
    lab_expect_error(lab, "crypto.seal(('x'):rep(1025))", "too long");
    lab_expect(lab,
               "local s = crypto.seal('cursor') for i = 1, #s do for _, c in ipairs { 'A', 'B', '-', '=', "
               "'!', '' } do\n"
               "local t = s:sub(1, i - 1) .. c .. s:sub(i + 1) if t ~= s and crypto.unseal(t) then return t "
               "end end end return 'none'",
               "none");
    lab_expect(lab, "return crypto.unseal('') == nil and crypto.unseal(('A'):rep(4000)) == nil", "true");
    lab_expect_error(lab, "return crypto.hash_password('x')", "not available here");
    lab_expect_error(lab, "return jwt.sign({ sub = 1 })", "not available here");
}

static void test_log(void **state)
{
    lab_load_fine(*state);
    lab_expect(*state, "log.debug('not shown', { a = 1 }) return 1", "1");
    lab_expect(*state,
               "local t = {} for i = 1, 40 do t['f' .. i] = i % 3 == 0 and {} or i % 3 == 1 and 'x' or i / 2 "
               "end log.debug('many', t) return 1",
               "1");
    lab_expect_error(*state, "log.info({})", "string expected");
    lab_expect_error(*state, "log.info('x', 'y')", "table expected");
    lab_expect_error(
        *state, "log.debug('x', { a = setmetatable({}, { __tostring = function() error('mine') end }) })",
        "mine");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LAB_CASE(test_time),
        LAB_CASE(test_time_round_trips_and_is_strict),
        LAB_CASE(test_crypto),
        LAB_CASE(test_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
