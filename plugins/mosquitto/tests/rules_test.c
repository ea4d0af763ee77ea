/* Who may touch which topic. */
#include "rules.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void names_of_devices(void **state)
{
    assert_int_equal(rules_device("device-1"), 1);
    assert_int_equal(rules_device("device-42"), 42);
    assert_int_equal(rules_device("device-2147483647"), INT32_MAX);

    static const char *const others[] = {"",
                                         "device",
                                         "device-",
                                         "device-0",
                                         "device-01",
                                         "device-+1",
                                         "device--1",
                                         "device-1 ",
                                         " device-1",
                                         "device-1/2",
                                         "device-2147483648",
                                         "device-4294967297",
                                         "device-#",
                                         "device-1e3",
                                         "Device-1",
                                         "device-0x1",
                                         "device-99999999999",
                                         "device-18446744073709551617",
                                         "otad",
                                         "device-1\n",
                                         "device-\t1",
                                         "device-\xd9\xa1"};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        assert_int_equal(rules_device(others[i]), 0);
}

static void names_fit_for_topics_and_logs(void **state)
{
    assert_true(rules_plain("otad-1"));
    assert_true(rules_plain("device-1"));
    assert_false(rules_plain(""));
    assert_false(rules_plain("a+"));
    assert_false(rules_plain("#"));
    assert_false(rules_plain("a/b"));
    assert_false(rules_plain("a\nb"));
    assert_false(rules_plain("a\x7f"));
}

static void a_device_writes_its_status_and_logs(void **state)
{
    assert_true(rules_device_may(42, RULES_WRITE, "device/42/status", 0));
    assert_true(rules_device_may(42, RULES_WRITE, "device/42/status", RULES_PAYLOAD_MAX));
    assert_true(rules_device_may(42, RULES_WRITE, "device/42/logs", 10));
    assert_false(rules_device_may(42, RULES_WRITE, "device/42/status", RULES_PAYLOAD_MAX + 1));
    assert_false(rules_device_may(42, RULES_WRITE, "device/42/logs", 5000));

    static const char *const others[] = {"device/42/ota",
                                         "device/43/status",
                                         "device/4/status",
                                         "device/420/status",
                                         "device/042/status",
                                         "device/42/status/",
                                         "device/42/",
                                         "device/42",
                                         "device/42/statusx",
                                         "/device/42/status",
                                         "device//42/status",
                                         "$SYS/broker/load",
                                         "device/42/logs/x",
                                         "device/+/status",
                                         "device/+42/status",
                                         "",
                                         "device/42/Status",
                                         "$share/x/device/42",
                                         "status",
                                         "device/ 42/status"};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        assert_false(rules_device_may(42, RULES_WRITE, others[i], 1));
}

static void a_device_hears_its_offers(void **state)
{
    assert_true(rules_device_may(42, RULES_SUBSCRIBE, "device/42/ota", 0));
    assert_true(rules_device_may(42, RULES_READ, "device/42/ota", 100000));

    static const char *const others[] = {"#",
                                         "+/42/ota",
                                         "device/#",
                                         "device/+/ota",
                                         "device/42/#",
                                         "device/42/+",
                                         "device/42/status",
                                         "device/43/ota",
                                         "$SYS/#",
                                         "$share/x/device/42/ota",
                                         "$share/otad/device/42/ota",
                                         "device/42/ota/"};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        assert_false(rules_device_may(42, RULES_SUBSCRIBE, others[i], 0));
        assert_false(rules_device_may(42, RULES_READ, others[i], 0));
    }
}

static void nobody_is_device_zero(void **state)
{
    assert_false(rules_device_may(0, RULES_WRITE, "device/0/status", 1));
    assert_false(rules_device_may(0, RULES_SUBSCRIBE, "device/x/ota", 0));
    assert_false(rules_device_may(-1, RULES_WRITE, "device/-1/status", 1));
}

static void the_server_offers_and_listens(void **state)
{
    assert_true(rules_server_may(RULES_WRITE, "device/7/ota"));
    assert_false(rules_server_may(RULES_WRITE, "device/7/status"));
    assert_false(rules_server_may(RULES_WRITE, "device/0/ota"));
    assert_false(rules_server_may(RULES_WRITE, "device/x/ota"));
    assert_false(rules_server_may(RULES_WRITE, "other"));

    assert_true(rules_server_may(RULES_SUBSCRIBE, "device/#"));
    assert_true(rules_server_may(RULES_SUBSCRIBE, "device/+/status"));
    assert_true(rules_server_may(RULES_SUBSCRIBE, "$share/otad/device/+/logs"));
    assert_false(rules_server_may(RULES_SUBSCRIBE, "#"));
    assert_false(rules_server_may(RULES_SUBSCRIBE, "$share/other/device/#"));
    assert_false(rules_server_may(RULES_SUBSCRIBE, "$share/otad/#"));
    assert_false(rules_server_may(RULES_SUBSCRIBE, "$SYS/#"));

    assert_true(rules_server_may(RULES_READ, "device/7/status"));
    assert_false(rules_server_may(RULES_READ, "$share/otad/device/7/status"));
    assert_false(rules_server_may(RULES_READ, "other/7/status"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_of_devices),
        cmocka_unit_test(names_fit_for_topics_and_logs),
        cmocka_unit_test(a_device_writes_its_status_and_logs),
        cmocka_unit_test(a_device_hears_its_offers),
        cmocka_unit_test(nobody_is_device_zero),
        cmocka_unit_test(the_server_offers_and_listens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
