/* Whose pages may connect. The rest of a connection's life needs one: tests/api/test_feed.py. */
#include "net/websocket.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static bool allowed(const char *origin, const char *host, const char *origins)
{
    return websocket_origin_allowed(h2o_iovec_init(origin, origin == NULL ? 0 : strlen(origin)),
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

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_origins)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
