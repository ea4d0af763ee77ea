#include "fleet/revocations.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static time_t skew[2]; /* s, of the wall clock and of the monotonic one */

/* Before the library's. */
int clock_gettime(clockid_t id, struct timespec *now)
{
    long failed = syscall(SYS_clock_gettime, id, now);
    now->tv_sec += id == CLOCK_REALTIME ? skew[0] : skew[1];
    return (int)failed;
}

static const char *uuid(unsigned n, char out[40])
{
    srand(n); /* random bytes, the same for the same n */
    unsigned a = (unsigned)rand(), b = (unsigned)rand(), c = (unsigned)rand();
    snprintf(out, 40, "%08x-%04x-4%03x-a%03x-%08x%04x", a ^ n, b & 0xffff, c & 0xfff, b >> 16 & 0xfff, c,
             n & 0xffff);
    return out;
}

static void test_has_what_was_added(void **state)
{
    char text[40];
    struct revocations *revocations = revocations_new(900000);
    assert_false(revocations_has(revocations, uuid(1, text)));
    for (unsigned n = 0; n < 20000; n += 2)
        revocations_add(revocations, uuid(n, text));
    for (unsigned n = 0; n < 20000; n++)
        assert_int_equal(revocations_has(revocations, uuid(n, text)), n % 2 == 0);
    for (unsigned n = 0; n < 20000; n += 2)
        revocations_add(revocations, uuid(n, text)); /* again: still there */
    for (unsigned n = 0; n < 20000; n++)
        assert_int_equal(revocations_has(revocations, uuid(n, text)), n % 2 == 0);
    revocations_free(revocations);
}

static void test_forms(void **state)
{
    struct revocations *revocations = revocations_new(900000);
    revocations_add(revocations, "0DF4A7C0-1B2C-4d3e-8f40-0123456789ab");
    assert_true(revocations_has(revocations, "0df4a7c0-1b2c-4d3e-8f40-0123456789AB"));
    static const char *const wrong[] = {"",
                                        "0df4a7c0",
                                        "0df4a7c0-1b2c-4d3e-8f40-0123456789a",
                                        "0df4a7c0-1b2c-4d3e-8f40-0123456789abc",
                                        "0df4a7c0-1b2c-4d3e-8f40-0123456789ag",
                                        "0df4a7c01b2c4d3e8f400123456789ab"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        revocations_add(revocations, wrong[i]);
        assert_false(revocations_has(revocations, wrong[i]));
    }
    revocations_free(revocations);
}

static void pass(time_t seconds)
{
    skew[0] += seconds;
    skew[1] += seconds;
}

/* The entry outlives the tokens, whatever is done to the clock that those end by. */
static void test_clocks_that_jump(void **state)
{
    static const char sid[] = "0df4a7c0-1b2c-4d3e-8f40-0123456789ab";
    struct revocations *revocations = revocations_new(900000);
    revocations_add(revocations, sid);
    skew[0] += 7200; /* ahead: only one of them says that it is over */
    assert_true(revocations_has(revocations, sid));
    skew[0] -= 10800; /* and an hour back */
    pass(1000);
    assert_true(revocations_has(revocations, sid)); /* tokens are good for an hour still */
    pass(3500);
    assert_true(revocations_has(revocations, sid));
    char text[40];
    for (unsigned n = 0; n < 1000; n++) /* also where room is made */
        revocations_add(revocations, uuid(n, text));
    assert_true(revocations_has(revocations, sid));
    pass(200);
    assert_false(revocations_has(revocations, sid));
    assert_true(revocations_has(revocations, uuid(1, text)));
    revocations_free(revocations);
    skew[0] = skew[1] = 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_has_what_was_added),
                                       cmocka_unit_test(test_forms), cmocka_unit_test(test_clocks_that_jump)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
