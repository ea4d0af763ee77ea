/* The guard's rules, without sockets. */
#include "net/limits.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
/* cmocka.h wants the above first */
#include <cmocka.h>

static void bucket_spends_what_it_holds_and_earns_by_time(void **state)
{
    struct limits_bucket bucket;
    limits_bucket_init(&bucket, 5000);
    for (int i = 0; i < LIMITS_POINTS / 10; i++)
        assert_true(limits_spend(&bucket, 5000, 10));
    assert_false(limits_spend(&bucket, 5000, 1));
    assert_false(limits_spend(&bucket, 5009, 1)); /* not a point yet */
    assert_true(limits_spend(&bucket, 6000, LIMITS_POINTS_SECOND));
    assert_false(limits_spend(&bucket, 6000, 1));
}

static void bucket_never_holds_more_than_its_size(void **state)
{
    struct limits_bucket bucket;
    limits_bucket_init(&bucket, 0);
    limits_earn(&bucket, UINT64_MAX);
    assert_true(limits_spend(&bucket, UINT64_C(1) << 50, LIMITS_POINTS));
    assert_false(limits_spend(&bucket, UINT64_C(1) << 50, 1));
    limits_earn(&bucket, 7);
    assert_true(limits_spend(&bucket, UINT64_C(1) << 50, 7));
}

static void bucket_earns_by_time_whatever_the_steps(void **state)
{
    struct limits_bucket bucket;
    limits_bucket_init(&bucket, 0);
    assert_true(limits_spend(&bucket, 0, LIMITS_POINTS));
    for (uint64_t now = 1; now <= 1000; now++)
        assert_true(limits_spend(&bucket, now, 0));
    assert_true(limits_spend(&bucket, 1000, LIMITS_POINTS_SECOND));
    assert_false(limits_spend(&bucket, 1000, 1));
}

static void pace_ends_what_makes_no_progress(void **state)
{
    struct limits_pace pace = {0};
    assert_true(limits_pace(&pace, true, 1000, 50, 20000, 100));
    assert_true(limits_pace(&pace, true, 20999, 149, 20000, 100));
    assert_false(limits_pace(&pace, true, 21000, 149, 20000, 100));
}

static void pace_begins_anew_with_progress_and_with_rest(void **state)
{
    struct limits_pace pace = {0};
    for (uint64_t now = 1000; now < 200000; now += 19000)
        assert_true(limits_pace(&pace, true, now, now, 20000, 19000));
    assert_true(limits_pace(&pace, false, 210000, 0, 20000, 19000));
    assert_true(limits_pace(&pace, true, 300000, 0, 20000, 19000));
    assert_true(limits_pace(&pace, true, 319999, 0, 20000, 19000));
    assert_false(limits_pace(&pace, true, 320000, 0, 20000, 19000));
}

static size_t count(const char *block, size_t len)
{
    return limits_hpack((const uint8_t *)block, len, LIMITS_HEADER_FIELDS);
}

static void hpack_counts_every_form_of_field(void **state)
{
    assert_int_equal(count("", 0), 0);
    assert_int_equal(count("\x82\x86\xbe", 3), 3);         /* indexed, static and dynamic */
    assert_int_equal(count("\xff\x80\x01\x82", 4), 2);     /* index in three bytes */
    assert_int_equal(count("\x20\x3f\xe1\x1f\x82", 5), 3); /* size updates, short and long */
    assert_int_equal(count("\x41\x03www\x82", 6), 2);      /* indexing, name from the table */
    assert_int_equal(count("\x40\x01x\x02yz\x82", 7), 2);  /* indexing, new name */
    assert_int_equal(count("\x04\x01/\x82", 4), 2);        /* without indexing */
    assert_int_equal(count("\x0f\x0d\x03"
                           "123\x82",
                           7),
                     2);                                       /* long index */
    assert_int_equal(count("\x10\x81\xff\x81\xff\x82", 6), 2); /* never indexed, Huffman */
    char text[140];
    memset(text, 'y', sizeof(text));
    memcpy(text, "\x41\x7f\x08", 3); /* 135 bytes of value */
    text[138] = '\x82';
    assert_int_equal(count(text, 139), 2);
}

static void hpack_stops_at_the_limit_and_at_the_end(void **state)
{
    char many[16384];
    memset(many, '\xbe', sizeof(many));
    assert_int_equal(count(many, LIMITS_HEADER_FIELDS), LIMITS_HEADER_FIELDS);
    assert_int_equal(count(many, sizeof(many)), LIMITS_HEADER_FIELDS + 1);
    assert_int_equal(count("\xff\xff\xff\xff\xff\xff\xff", 7), 1); /* absurd integer */
    assert_int_equal(count("\x41\x7f", 2), 1);                     /* breaks off in a length */
    assert_int_equal(count("\x41\x05www", 5), 1);                  /* and in a string */
    assert_int_equal(count("\x40", 1), 1);
}

#define H(n, v)                                                                                              \
    {                                                                                                        \
        n, sizeof(n) - 1, v, sizeof(v) - 1                                                                   \
    }
#define sound(minor, ...)                                                                                    \
    limits_http1((const struct phr_header[]){__VA_ARGS__},                                                   \
                 sizeof((const struct phr_header[]){__VA_ARGS__}) / sizeof(struct phr_header), minor)

static void http1_takes_what_is_clear(void **state)
{
    assert_true(sound(1, H("Host", "x")));
    assert_true(sound(0, H("Accept", "*/*")));
    assert_true(sound(1, H("hOsT", ""), H("content-LENGTH", "0")));
    assert_true(sound(1, H("Host", "x"), H("Transfer-Encoding", "chunked"), H("X-Content-Length", "5")));
}

static void http1_refuses_what_is_not(void **state)
{
    assert_false(sound(1, H("Accept", "*/*")));
    assert_false(sound(1, H("Host", "x"), H("Host", "x")));
    assert_false(sound(0, H("Host", "x"), H("host", "x")));
    assert_false(sound(1, H("Host", "x"), H("Content-Length", "5"), H("Content-Length", "5")));
    assert_false(sound(1, H("Host", "x"), H("Content-Length", "5"), H("Transfer-Encoding", "chunked")));
    assert_false(
        sound(1, H("Host", "x"), H("Transfer-Encoding", "chunked"), H("Transfer-Encoding", "chunked")));
    assert_false(sound(0, H("Host", "x"), H("Transfer-Encoding", "chunked")));
    assert_false(sound(1, H("Host", "x"), H("Content-Length", "")));
    assert_false(sound(1, H("Host", "x"), H("Content-Length", "0x5")));
    assert_false(sound(1, H("Host", "x"), H("Content-Length", "5, 5")));
    assert_false(sound(1, H("Host", "x"), {NULL, 0, "folded", 6}));
}

static void one_header_is_kept(void **state)
{
    struct phr_header headers[] = {H("Host", "x"), {NULL, 0, "folded", 6}, H("X-Id", "1"), H("x-id", "2")};
    assert_int_equal(limits_keep(headers, 2, "x-id"), 0);
    assert_int_equal(limits_keep(headers, 4, "x-id"), 1);
    assert_string_equal(headers[0].value, "1");
    assert_int_equal(limits_keep(headers, 0, "x-id"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bucket_spends_what_it_holds_and_earns_by_time),
        cmocka_unit_test(bucket_never_holds_more_than_its_size),
        cmocka_unit_test(bucket_earns_by_time_whatever_the_steps),
        cmocka_unit_test(pace_ends_what_makes_no_progress),
        cmocka_unit_test(pace_begins_anew_with_progress_and_with_rest),
        cmocka_unit_test(hpack_counts_every_form_of_field),
        cmocka_unit_test(hpack_stops_at_the_limit_and_at_the_end),
        cmocka_unit_test(http1_takes_what_is_clear),
        cmocka_unit_test(http1_refuses_what_is_not),
        cmocka_unit_test(one_header_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
