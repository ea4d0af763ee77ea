#include "base/url.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static void same(const char *is, const char *should)
{
    if (should == NULL)
        assert_null(is);
    else
        assert_string_equal(is, should);
}

static void test_splits(void **state)
{
    static const struct {
        const char *url, *rest, *user, *password;
    } cases[] = {
        {"mqtt://host:1883", "mqtt://host:1883", NULL, NULL},
        {"mqtts://a:b@host", "mqtts://host", "a", "b"},
        {"redis://only@host/2", "redis://host/2", "only", NULL},
        {"redis://:b@", "redis://", "", "b"},
        {"redis://u:h:u@s:h@host:1", "redis://host:1", "u", "h:u@s:h"},
        {"redis://a%3ab:p%40%2F%25%c3%a9@host", "redis://host", "a:b", "p@/%\xc3\xa9"},
        {"redis://a:b@", "redis://", "a", "b"},
        {"", "", NULL, NULL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *user, *password, *rest = url_split(cases[i].url, &user, &password);
        same(rest, cases[i].rest);
        same(user, cases[i].user);
        same(password, cases[i].password);
        free(rest);
        free(user);
        free(password);
    }
}

static void test_wrong_escapes(void **state)
{
    static const char *const wrong[] = {"mqtt://a:%@h", "mqtt://a:%4@h", "mqtt://%4g:b@h",
                                        "mqtt://a:b%00c@h"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        char *user, *password;
        assert_null(url_split(wrong[i], &user, &password));
        assert_null(user);
        assert_null(password);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_splits), cmocka_unit_test(test_wrong_escapes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
