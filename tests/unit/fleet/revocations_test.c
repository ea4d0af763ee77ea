#include "fleet/revocations.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

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

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_has_what_was_added),
                                       cmocka_unit_test(test_forms)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
