#include "net/range.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { SIZE = 100, UNTOUCHED = 77 };

static void expect(const char *text, enum range_result result, size_t first, size_t last)
{
    size_t a = UNTOUCHED, b = UNTOUCHED;
    assert_int_equal(range_parse(text, strlen(text), SIZE, &a, &b), result);
    assert_int_equal(a, first);
    assert_int_equal(b, last);
}

static void test_one_range(void **state)
{
    expect("bytes=0-0", RANGE_ONE, 0, 0);
    expect("bytes=10-19", RANGE_ONE, 10, 19);
    expect("bytes=10-", RANGE_ONE, 10, 99);
    expect("bytes=-1", RANGE_ONE, 99, 99);
    expect("bytes=-1000", RANGE_ONE, 0, 99);
}

static void test_a_range_is_cut_at_the_end(void **state)
{
    expect("bytes=90-100", RANGE_ONE, 90, 99);
    expect("bytes=0-18446744073709551614", RANGE_NONE, UNTOUCHED, UNTOUCHED);
    expect("bytes=0-999999999999", RANGE_ONE, 0, 99);
}

static void test_beyond(void **state)
{
    expect("bytes=100-", RANGE_BEYOND, UNTOUCHED, UNTOUCHED);
    expect("bytes=100-200", RANGE_BEYOND, UNTOUCHED, UNTOUCHED);
    expect("bytes=-0", RANGE_BEYOND, UNTOUCHED, UNTOUCHED);
}

/* The whole is sent, so nothing may be left of the range. */
static void test_what_is_not_one_range_changes_nothing(void **state)
{
    static const char *const texts[] = {"",
                                        "bytes=",
                                        "bytes=-",
                                        "bytes=x",
                                        "bytes=5-4",
                                        "lines=0-1",
                                        "bytes=1",
                                        "bytes=0-0,2-2",
                                        "bytes=1-2x",
                                        "bytes=1--2",
                                        "bytes= 1-2",
                                        "bytes=-5,",
                                        "bytes=99999999999999999999999-"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        expect(texts[i], RANGE_NONE, UNTOUCHED, UNTOUCHED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_range),
        cmocka_unit_test(test_a_range_is_cut_at_the_end),
        cmocka_unit_test(test_beyond),
        cmocka_unit_test(test_what_is_not_one_range_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
