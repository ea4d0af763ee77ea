/* fleet/coalesce: how messages become one write, and the table of devices. */
#include "fleet/coalesce.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { WINDOW = 10 };

static struct flatjson doc;
static struct table *table;
static struct entry *entry;
static unsigned surplus;
static double clock_s;

static int begin(void **state)
{
    table = table_new(100000);
    entry = table_add(table, 7);
    surplus = 0;
    clock_s = 1000;
    return 0;
}

static int finish(void **state)
{
    table_free(table);
    return 0;
}

static enum coalesce_result say(const char *json)
{
    struct status status;
    assert_null(status_parse(&status, &doc, json, strlen(json)));
    return entry_apply(entry, &status, clock_s += 1, WINDOW, &surplus);
}

/* A write succeeds. */
static void commit(void)
{
    entry->committed = entry->sent = entry->seq;
}

static const struct sample *sample(const char *name)
{
    for (unsigned i = 0; i < entry->samples; i++) {
        if (strcmp(entry->sample[i]->name, name) == 0)
            return entry->sample[i];
    }
    return NULL;
}

static void newest_values_win(void **state)
{
    say("{\"status\":\"online\",\"session\":\"A\",\"rssi\":-61,\"temp\":20}");
    say("{\"status\":\"online\",\"rssi\":-50,\"firmware_version\":\"1.0\"}");
    assert_string_equal(sample("rssi")->value.s, "-50");
    assert_string_equal(sample("temp")->value.s, "20");
    assert_string_equal(entry->session.s, "A");
    assert_string_equal(entry->version.s, "1.0");
    assert_true(entry->online && entry_pending(entry, entry->status_seq));
    assert_float_equal(entry->at, 1002, 0);
    assert_float_equal(entry->first_at, 1001, 0);
}

/* Only what came since is written again; values of another instance must not be undone by repeating ours. */
static void committed_fields_rest(void **state)
{
    say("{\"status\":\"online\",\"rssi\":-61,\"temp\":20,\"chip\":\"esp32\"}");
    commit();
    assert_false(entry_pending(entry, sample("temp")->value.seq));
    say("{\"status\":\"online\",\"rssi\":-60}");
    assert_true(entry_pending(entry, sample("rssi")->value.seq));
    assert_false(entry_pending(entry, sample("temp")->value.seq));
    assert_false(entry_pending(entry, entry->chip.seq));
}

/* What comes while a write is under way stays to be written when it succeeds, and all does when it fails. */
static void messages_during_a_write(void **state)
{
    say("{\"status\":\"online\",\"temp\":20}");
    entry->sent = entry->seq;
    say("{\"status\":\"online\",\"rssi\":-60}");
    assert_true(entry_pending(entry, sample("temp")->value.seq));
    entry->committed = entry->sent;
    assert_false(entry_pending(entry, sample("temp")->value.seq));
    assert_true(entry_pending(entry, sample("rssi")->value.seq));
    assert_true(entry->seq != entry->committed);
}

static void will_of_an_older_session(void **state)
{
    say("{\"status\":\"online\",\"session\":\"B\"}");
    assert_int_equal(say("{\"status\":\"offline\",\"session\":\"A\"}"), COALESCE_OLD_WILL);
    assert_true(entry->online);
    assert_float_equal(entry->at, 1001, 0);
}

static void will_of_this_session(void **state)
{
    say("{\"status\":\"online\",\"session\":\"B\"}");
    assert_int_equal(say("{\"status\":\"offline\",\"session\":\"B\"}"), COALESCE_TAKEN);
    assert_false(entry->online);
    assert_false(entry_pending(entry, entry->will.seq));
}

/* With no session known here the database decides, which another instance may have told of one. */
static void will_for_the_database(void **state)
{
    say("{\"status\":\"online\",\"session\":\"B\"}");
    commit();
    say("{\"status\":\"offline\",\"session\":\"A\"}");
    assert_true(entry_pending(entry, entry->will.seq));
    assert_string_equal(entry->will.s, "A");
    assert_false(entry_pending(entry, entry->status_seq));
    assert_false(entry_pending(entry, entry->at_seq));
}

static void online_outlives_a_will(void **state)
{
    say("{\"status\":\"offline\",\"session\":\"A\"}");
    say("{\"status\":\"online\",\"session\":\"B\"}");
    assert_false(entry_pending(entry, entry->will.seq));
    assert_true(entry->online);
    assert_int_equal(say("{\"status\":\"offline\",\"session\":\"A\"}"), COALESCE_OLD_WILL);
}

static void offline_without_session(void **state)
{
    say("{\"status\":\"online\",\"session\":\"B\"}");
    assert_int_equal(say("{\"status\":\"offline\"}"), COALESCE_TAKEN);
    assert_false(entry->online);
}

static void ota_repeats(void **state)
{
    say("{\"status\":\"online\",\"ota\":{\"update_id\":1,\"state\":\"downloading\",\"progress\":1}}");
    uint64_t since = entry->ota.seq, print = entry->ota.print;
    say("{\"status\":\"online\",\"ota\":{\"update_id\":1,\"state\":\"downloading\",\"progress\":1,\"error\":"
        "null}}");
    assert_int_equal(entry->ota.seq, since);
    assert_int_equal(entry->ota.again, entry->seq);
    say("{\"status\":\"online\",\"ota\":{\"update_id\":1,\"state\":\"failed\",\"error\":\"disk\"}}");
    assert_int_equal(entry->ota.seq, entry->seq);
    assert_true(entry->ota.print != print);
    assert_string_equal(entry->ota.error, "disk");
    say("{\"status\":\"online\"}");
    assert_int_equal(entry->ota.again, entry->seq - 1);
}

static void version_since_its_change(void **state)
{
    say("{\"status\":\"online\",\"firmware_version\":\"1\"}");
    uint64_t since = entry->version_since;
    say("{\"status\":\"online\",\"firmware_version\":\"1\"}");
    assert_int_equal(entry->version_since, since);
    assert_int_equal(entry->version.seq, entry->seq);
    say("{\"status\":\"online\",\"firmware_version\":\"2\"}");
    assert_int_equal(entry->version_since, entry->seq);
}

static void aggregates(void **state)
{
    clock_s = 1004; /* 1005, 1006, 1007 */
    say("{\"status\":\"online\",\"rssi\":-60,\"name\":\"x\"}");
    say("{\"status\":\"online\",\"rssi\":-70,\"on\":true}");
    say("{\"status\":\"online\",\"rssi\":-50.5}");
    assert_float_equal(entry->window, 1000, 0);
    assert_float_equal(sample("rssi")->count, 3, 0);
    assert_float_equal(sample("rssi")->min, -70, 0);
    assert_float_equal(sample("rssi")->max, -50.5, 0);
    assert_float_equal(sample("rssi")->sum, -180.5, 0);
    assert_float_equal(sample("name")->count, 0, 0);
    assert_float_equal(sample("on")->count, 0, 0);

    clock_s = 1024; /* the database was away: the window stays open */
    say("{\"status\":\"online\",\"rssi\":-10}");
    assert_float_equal(entry->window, 1000, 0);
    assert_float_equal(sample("rssi")->count, 4, 0);

    entry_close_window(entry);
    say("{\"status\":\"online\",\"rssi\":5}");
    assert_float_equal(entry->window, 1020, 0);
    assert_float_equal(sample("rssi")->count, 1, 0);
    assert_float_equal(sample("rssi")->max, 5, 0);
    assert_float_equal(sample("rssi")->sum, 5, 0);

    clock_s = 500; /* set back: the window would be open until the clock is there again */
    say("{\"status\":\"online\",\"rssi\":6}");
    assert_float_equal(entry->window, 500, 0);
    assert_float_equal(sample("rssi")->count, 2, 0);
}

/* 1.7976931348623157e308 was rounded up to what no double holds, and the device's history could not be read.
 */
static void numbers_that_nothing_measures(void **state)
{
    say("{\"status\":\"online\",\"flow\":1.7976931348623157e308,\"load\":-1e300}");
    say("{\"status\":\"online\",\"flow\":-60,\"load\":1e100}");
    assert_float_equal(sample("flow")->count, 1, 0);
    assert_float_equal(sample("flow")->max, -60, 0);
    assert_float_equal(sample("load")->count, 1, 0);
    say("{\"status\":\"online\",\"flow\":1e308}");
    assert_string_equal(sample("flow")->value.s, "1e308");
    assert_float_equal(sample("flow")->count, 1, 0);
}

static void a_clock_that_steps_back(void **state)
{
    say("{\"status\":\"online\"}");
    clock_s = 900;
    say("{\"status\":\"offline\"}");
    assert_float_equal(entry->at, 1001, 0);
    assert_false(entry->online);
}

static void name_fields(int first, int count)
{
    for (int i = first; i < first + count; i++) {
        char json[64];
        snprintf(json, sizeof(json), "{\"status\":\"online\",\"f%d\":%d}", i, i);
        say(json);
    }
}

/* New names were refused once there were 64, until the server was started anew. */
static void names_not_told_any_more_give_way(void **state)
{
    name_fields(0, COALESCE_FIELDS);
    commit();
    entry_close_window(entry);
    name_fields(0, 2);
    commit();
    entry_close_window(entry);
    name_fields(COALESCE_FIELDS, 5);
    assert_int_equal(entry->samples, COALESCE_FIELDS);
    assert_int_equal(surplus, 0);
    assert_non_null(sample("f0"));
    assert_non_null(sample("f1"));
    assert_null(sample("f2"));
    assert_null(sample("f6"));
    assert_non_null(sample("f7"));
    assert_string_equal(sample("f68")->value.s, "68");
}

/* What is not written yet is kept beside the new, within bounds: first the open window's share is given up,
 * then values. */
static void what_is_unwritten_gives_way_last(void **state)
{
    name_fields(0, 10);
    commit();
    name_fields(10, COALESCE_MOST - 10);
    assert_int_equal(entry->samples, COALESCE_MOST);
    name_fields(COALESCE_MOST, 10);
    assert_int_equal(surplus, 0);
    assert_null(sample("f0"));
    assert_null(sample("f9"));
    assert_non_null(sample("f10"));
    name_fields(COALESCE_MOST + 10, 3);
    assert_int_equal(entry->samples, COALESCE_MOST);
    assert_int_equal(surplus, 3);
    assert_null(sample("f12"));
    assert_non_null(sample("f13"));
}

/* A device with names of its own for each message made an hour of history of some megabytes, on which all
 * that read or rolled it up ran into the time-out. */
static void of_names_without_end_only_some_are_taken(void **state)
{
    for (int i = 0; i < COALESCE_NEW + 50; i++) {
        name_fields(i, 1);
        commit();
        entry_close_window(entry);
    }
    assert_int_equal(surplus, 50);
    assert_null(sample("f256"));
    say("{\"status\":\"online\",\"f255\":7,\"new\":1}"); /* those it has go on */
    assert_string_equal(sample("f255")->value.s, "7");
    assert_null(sample("new"));
    clock_s += 3600;
    say("{\"status\":\"online\",\"new\":1}");
    assert_string_equal(sample("new")->value.s, "1");
    assert_int_equal(surplus, 51);
}

static void longer_values_grow(void **state)
{
    say("{\"status\":\"online\",\"a\":1,\"session\":\"s\"}");
    say("{\"status\":\"online\",\"a\":\"0123456789012345678901234567890123456789\","
        "\"session\":\"0123456789012345678901234567890123456789\"}");
    assert_string_equal(sample("a")->value.s, "\"0123456789012345678901234567890123456789\"");
    assert_string_equal(entry->session.s, "0123456789012345678901234567890123456789");
}

static bool odd(const struct entry *each, void *arg)
{
    return each->device % 2 != 0;
}

static void table_holds_them(void **state)
{
    struct table *many = table_new(5000);
    for (int32_t i = 1; i <= 5000; i++)
        assert_int_equal(table_add(many, i * 1000)->device, i * 1000);
    assert_null(table_add(many, 1));
    assert_non_null(table_add(many, 5000000)); /* known */
    assert_int_equal(table_count(many), 5000);
    for (int32_t i = 1; i <= 5000; i++)
        assert_int_equal(table_find(many, i * 1000)->device, i * 1000);
    assert_null(table_find(many, 999));
    table_free(many);

    many = table_new(5000);
    for (int32_t i = 1; i <= 3001; i++)
        table_add(many, i);
    assert_int_equal(table_evict(many, odd, NULL), 1501);
    assert_int_equal(table_count(many), 1500);
    size_t cursor = 0, seen = 0;
    for (struct entry *each; (each = table_next(many, &cursor)) != NULL; seen++)
        assert_int_equal(each->device % 2, 0);
    assert_int_equal(seen, 1500);
    assert_null(table_find(many, 3));
    assert_non_null(table_find(many, 4));
    table_free(many);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, finish)

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(newest_values_win),
                                       TEST(committed_fields_rest),
                                       TEST(messages_during_a_write),
                                       TEST(will_of_an_older_session),
                                       TEST(will_of_this_session),
                                       TEST(will_for_the_database),
                                       TEST(online_outlives_a_will),
                                       TEST(offline_without_session),
                                       TEST(ota_repeats),
                                       TEST(version_since_its_change),
                                       TEST(aggregates),
                                       TEST(numbers_that_nothing_measures),
                                       TEST(a_clock_that_steps_back),
                                       TEST(names_not_told_any_more_give_way),
                                       TEST(what_is_unwritten_gives_way_last),
                                       TEST(of_names_without_end_only_some_are_taken),
                                       TEST(longer_values_grow),
                                       TEST(table_holds_them)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
