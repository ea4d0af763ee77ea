/* Whose pages may ask, and connect. */
#include "net/origin.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static bool allowed(const char *origin, const char *host, const char *origins)
{
    return origin_allowed(h2o_iovec_init(origin, origin == NULL ? 0 : strlen(origin)),
                          h2o_iovec_init(host, strlen(host)), origins);
}

static void test_origins(void **state)
{
    assert_true(allowed(NULL, "a.example", ""));
    assert_true(allowed("https://a.example", "a.example", ""));
    assert_true(allowed("HTTP://A.example:8080", "a.example:8080", ""));
    assert_false(allowed("https://a.example", "a.example:8080", ""));
    assert_false(allowed("https://a.example.evil", "a.example", ""));
    assert_false(allowed("https://evil.a.example", "a.example", ""));
    assert_false(allowed("null", "a.example", ""));
    assert_false(allowed("", "", ""));
    assert_false(allowed("", "a.example", " , ,"));
    assert_true(allowed("https://b.example", "a.example", "http://c.example, https://b.example"));
    assert_true(allowed("https://b.example", "a.example", "https://b.example,http://c.example"));
    assert_false(allowed("https://b.example", "a.example", "https://b.example.org"));
    assert_false(allowed("https://b.example.org", "a.example", "https://b.example"));
}

static void test_listed_is_not_of_the_host(void **state)
{
    assert_true(origin_listed(h2o_iovec_init(H2O_STRLIT("https://b.example")), "https://b.example"));
    assert_false(origin_listed(h2o_iovec_init(H2O_STRLIT("https://a.example")), "https://b.example"));
    assert_false(origin_listed(h2o_iovec_init(NULL, 0), "https://b.example"));
    assert_false(origin_listed(h2o_iovec_init(H2O_STRLIT("null")), "https://b.example"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_origins),
                                       cmocka_unit_test(test_listed_is_not_of_the_host)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
