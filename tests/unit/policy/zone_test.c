/* The zones of the system against the C library's own reading of them. */
#include "base/mem.h"
#include "policy/zone.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static const char *const names[] = {
    "UTC",           "Europe/Berlin",     "America/New_York",  "Australia/Lord_Howe",
    "Asia/Kolkata",  "Africa/Casablanca", "America/Sao_Paulo", "Pacific/Apia",
    "Europe/Dublin", "America/Nuuk",      "Asia/Gaza",         "Etc/GMT+5"};

/* 1900 to 2200, in steps that hit no round time twice. */
static void test_like_libc(void **state)
{
    struct zones *zones = zones_new(zones_load_file, NULL);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const struct zone *zone = zones_find(zones, names[i]);
        assert_non_null(zone);
        assert_ptr_equal(zone, zones_find(zones, names[i]));
        setenv("TZ", names[i], 1);
        tzset();
        for (int64_t at = -2208988800; at < 7258118400; at += 250007) {
            time_t time = at;
            struct tm local;
            localtime_r(&time, &local);
            int64_t offset = zone_offset(zone, at);
            if (offset != local.tm_gmtoff)
                fail_msg("%s at %lld: %lld, not %ld", names[i], (long long)at, (long long)offset,
                         local.tm_gmtoff);
            assert_int_equal(zone_hour(at + offset), local.tm_hour);
            assert_int_equal(zone_weekday(at + offset), local.tm_wday == 0 ? 7 : local.tm_wday);
        }
    }
    zones_free(zones);
}

/* Zones as newer tzdata writes them: the rule begins where the list ends. */
static void test_rule(void **state)
{
    static const struct {
        const char *rule;
        int64_t at, offset;
    } cases[] = {{"CET-1CEST,M3.5.0,M10.5.0/3", 1774745999, 3600},
                 {"CET-1CEST,M3.5.0,M10.5.0/3", 1774746000, 7200},
                 {"CET-1CEST,M3.5.0,M10.5.0/3", 1792889999, 7200},
                 {"CET-1CEST,M3.5.0,M10.5.0/3", 1792890000, 3600},
                 {"AEST-10AEDT,M10.1.0,M4.1.0/3", 1767225600, 39600},
                 {"AEST-10AEDT,M10.1.0,M4.1.0/3", 1782864000, 36000},
                 {"<-03>3", 1767225600, -10800},
                 {"<+0530>-5:30", 1767225600, 19800},
                 {"EST5EDT,J60/0,300", 1772341199, -18000},
                 {"EST5EDT,J60/0,300", 1772341200, -14400}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct buffer file = {0};
        char header[44] = "TZif2", type[6] = {0};
        header[39] = 1; /* types */
        header[43] = 0;
        for (int block = 0; block < 2; block++) {
            buffer_put(&file, header, sizeof(header));
            buffer_put(&file, type, sizeof(type));
        }
        buffer_printf(&file, "\n%s\n", cases[i].rule);
        struct zone *zone = zone_parse(file.data, file.len);
        assert_non_null(zone);
        if (zone_offset(zone, cases[i].at) != cases[i].offset)
            fail_msg("%s at %lld: %lld", cases[i].rule, (long long)cases[i].at,
                     (long long)zone_offset(zone, cases[i].at));
        zone_free(zone);
        buffer_free(&file);
    }
}

static void test_names(void **state)
{
    struct zones *zones = zones_new(zones_load_file, NULL);
    static const char *const bad[] = {"",       "/etc/localtime", "../../../etc/passwd",
                                      "Europe", "Europe/Berlni",  "zone.tab",
                                      "a b"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_null(zones_find(zones, bad[i]));
    for (int i = 0; i < 2000; i++) { /* made up by whoever names tags */
        char name[32];
        snprintf(name, sizeof(name), "Zone/%d", i);
        assert_null(zones_find(zones, name));
    }
    assert_non_null(zones_find(zones, "Europe/Berlin"));
    zones_free(zones);
}

/* No file does harm: each prefix, and each byte changed. */
static void test_broken_files(void **state)
{
    struct buffer file = {0};
    assert_true(zones_load_file(NULL, "Europe/Berlin", &file));
    for (size_t len = 0; len < file.len; len++) {
        char *copy = malloc(len + (len == 0));
        memcpy(copy, file.data, len);
        assert_null(zone_parse(copy, len));
        free(copy);
    }
    for (size_t i = 0; i < file.len; i++) {
        file.data[i] ^= 0x55;
        struct zone *zone = zone_parse(file.data, file.len);
        if (zone != NULL)
            zone_offset(zone, 1767225600);
        zone_free(zone);
        file.data[i] ^= 0x55;
    }
    buffer_free(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_like_libc),
        cmocka_unit_test(test_rule),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_broken_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
