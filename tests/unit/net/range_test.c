#include "net/range.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static enum range_result parse(const char *text, size_t size, size_t *first, size_t *last)
{
    /* A copy without a byte behind it: reading on would be seen. */
    size_t len = strlen(text);
    char *copy = malloc(len + (len == 0));
    memcpy(copy, text, len);
    enum range_result result = range_parse(copy, len, size, first, last);
    free(copy);
    return result;
}

static void one(const char *text, size_t size, size_t first, size_t last)
{
    size_t a = 99, b = 99;
    if (parse(text, size, &a, &b) != RANGE_ONE || a != first || b != last)
        fail_msg("%s of %zu: %zu-%zu", text, size, a, b);
}

static void other(const char *text, size_t size, enum range_result expected)
{
    size_t a = 77, b = 77;
    if (parse(text, size, &a, &b) != expected || a != 77 || b != 77) /* nothing may be left of the range */
        fail_msg("%s of %zu", text, size);
}

static void test_examples_of_rfc_9110(void **state)
{
    one("bytes=0-499", 10000, 0, 499);
    one("bytes=500-999", 10000, 500, 999);
    one("bytes=-500", 10000, 9500, 9999);
    one("bytes=9500-", 10000, 9500, 9999);
    one("bytes=0-0", 10000, 0, 0);
    other("bytes=0-0,-1", 10000, RANGE_NONE); /* several: the whole, as a server may */
    other("bytes=0-999, 4500-5499, -1000", 10000, RANGE_NONE);
    other("seconds=0-10", 10000, RANGE_NONE);
}

static void test_ends(void **state)
{
    one("bytes=0-", 1, 0, 0);
    one("bytes=5-10", 10, 5, 9); /* one past the end is cut */
    one("bytes=9-9", 10, 9, 9);
    one("bytes=-10", 10, 0, 9);
    one("bytes=-11", 10, 0, 9);
    one("bytes=-1", 10, 9, 9);
    other("bytes=10-", 10, RANGE_BEYOND);
    other("bytes=10-20", 10, RANGE_BEYOND);
    other("bytes=-0", 10, RANGE_BEYOND);
    other("bytes=0-", 0, RANGE_BEYOND);
    other("bytes=-1", 0, RANGE_BEYOND);
}

static void test_malformed(void **state)
{
    static const char *const texts[] = {"",           "bytes",       "bytes=",      "bytes=-",
                                        "bytes=a-b",  "bytes=5",     "bytes=5-4",   "bytes=0-1x",
                                        "bytes=0--1", "bytes=+1-2",  "bytes= 0-1",  "bytes=0 -1",
                                        "bytes=0- 1", "bytes=0x1-2", "bytes=1.0-2", "bytes:0-1",
                                        " bytes=0-1", "bytes=--5",   "bytes==0-1"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        other(texts[i], 100, RANGE_NONE);
}

/* RFC 9110, 14.1: names of units are case-insensitive. */
static void test_unit_in_any_case(void **state)
{
    one("Bytes=1-2", 10, 1, 2);
    one("BYTES=-3", 10, 7, 9);
}

/* A number too large for size_t made the header malformed; it only lies past the end. */
static void test_numbers_of_any_size(void **state)
{
    one("bytes=5-18446744073709551616", 10, 5, 9);
    one("bytes=5-18446744073709551615", 10, 5, 9);
    one("bytes=5-99999999999999999999999999999999999999", 10, 5, 9);
    one("bytes=-99999999999999999999999999999999999999", 10, 0, 9);
    one("bytes=00000000000000000000000000000000000000000001-2", 10, 1, 2);
    other("bytes=18446744073709551616-", 10, RANGE_BEYOND);
    other("bytes=18446744073709551615-18446744073709551615", 10, RANGE_BEYOND);
    other("bytes=99999999999999999999-5", 10, RANGE_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_examples_of_rfc_9110),
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_unit_in_any_case),
        cmocka_unit_test(test_numbers_of_any_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
