#include "net/encoding.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static enum encoding choose(const char *header, bool gzip, bool br)
{
    /* A copy without a byte behind it: reading on would be seen. */
    size_t len = header == NULL ? 0 : strlen(header);
    char *copy = header == NULL ? NULL : malloc(len + (len == 0));
    if (len != 0)
        memcpy(copy, header, len);
    enum encoding encoding = encoding_choose(h2o_iovec_init(copy, len), (const bool[]){true, gzip, br});
    free(copy);
    return encoding;
}

static void all(const char *header, enum encoding expected)
{
    enum encoding encoding = choose(header, true, true);
    if (encoding != expected)
        fail_msg("%s: %s", header == NULL ? "none" : header, encoding_name(encoding));
}

static void test_what_browsers_send(void **state)
{
    all("gzip, deflate, br, zstd", ENCODING_BR);
    all("gzip, deflate", ENCODING_GZIP);
    all("identity", ENCODING_IDENTITY);
    all("", ENCODING_IDENTITY);
    all(NULL, ENCODING_IDENTITY);
    all("deflate, zstd", ENCODING_IDENTITY);
    assert_int_equal(choose("gzip, br", true, false), ENCODING_GZIP);
    assert_int_equal(choose("gzip, br", false, false), ENCODING_IDENTITY);
}

static void test_weights(void **state)
{
    all("br;q=0.5, gzip;q=0.8", ENCODING_GZIP);
    all("br;q=0, gzip", ENCODING_GZIP);
    all("br ; q=0.000 , gzip ;q=0", ENCODING_IDENTITY);
    all("br;q=0.001", ENCODING_BR);
    all("br;q=1.000,gzip;q=1", ENCODING_BR);
    all("identity;q=1, br;q=0.9", ENCODING_IDENTITY);
    all("identity;q=0, *;q=0", ENCODING_IDENTITY); /* nothing else is there to be sent */
    all("*;q=0", ENCODING_IDENTITY);
    all("*", ENCODING_BR);
    all("br;q=0, *;q=0.1", ENCODING_GZIP);
    all("GZip;Q=0.3", ENCODING_GZIP);
    all("x-gzip", ENCODING_GZIP);
    all(" ,, br,", ENCODING_BR);
    assert_int_equal(choose("identity;q=0, gzip;q=0.1", false, false), ENCODING_IDENTITY);
}

static void test_malformed_ones(void **state)
{
    static const char *const malformed[] = {
        "br;q=2", "br;q=1.001",          "br;q=0.0001", "br;q=-1", "br;q", "br;q=", "br;=1", "br gzip",
        "br;q=x", "br;q=1,gzip;q=\"0.5", "br;q=0,5.5",  "\"br\"",  "br;",  "=",     "br\x80"};
    for (size_t i = 0; i < sizeof(malformed) / sizeof(malformed[0]); i++)
        all(malformed[i], ENCODING_IDENTITY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_what_browsers_send),
                                       cmocka_unit_test(test_weights), cmocka_unit_test(test_malformed_ones)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
