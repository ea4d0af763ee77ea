/* Conditions of requests, in the order of RFC 9110, 13.2.2. */
#include "net/condition.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h> /* needs those above */

#define THEN "Sun, 06 Nov 1994 08:49:37 GMT"
#define BEFORE "Sun, 06 Nov 1994 08:49:36 GMT"
#define AFTER "Sun, 06 Nov 1994 08:49:38 GMT"

static const struct condition_state dated = {{(char *)"\"tag\"", 5}, 784111777},
                                    undated = {{(char *)"\"tag\"", 5}, 0};

/* In memory of its own, to the byte; NULL stays NULL. */
static h2o_iovec_t own(const char *text)
{
    h2o_iovec_t copy = {NULL, text == NULL ? 0 : strlen(text)};
    if (text != NULL)
        memcpy(copy.base = malloc(copy.len + 1) + 1, text, copy.len);
    return copy;
}

static void disown(h2o_iovec_t copy)
{
    free(copy.base == NULL ? NULL : copy.base - 1);
}

static void gives(int status, const struct condition_state *state, const char *match, const char *none_match,
                  const char *modified, const char *unmodified)
{
    struct condition condition = {own(match), own(none_match), own(modified), own(unmodified)};
    int got = condition_check(&condition, state);
    disown(condition.if_match);
    disown(condition.if_none_match);
    disown(condition.if_modified_since);
    disown(condition.if_unmodified_since);
    if (got != status)
        fail_msg("%s, %s, %s, %s: %d, not %d", match, none_match, modified, unmodified, got, status);
}

static void tags_that_must_match(void **state)
{
    static const char *const met[] = {"\"tag\"", "*", "\"a\",\"tag\"", "W/\"a\", \"tag\"",
                                      "W/\"tag\", \"tag\""};
    static const char *const unmet[] = {"\"other\"",  "W/\"tag\"",   "tag", "",
                                        "\"tagged\"", "\"not-tag\"", "**"};
    for (size_t i = 0; i < sizeof(met) / sizeof(met[0]); i++)
        gives(0, &dated, met[i], NULL, NULL, NULL);
    for (size_t i = 0; i < sizeof(unmet) / sizeof(unmet[0]); i++)
        gives(412, &dated, unmet[i], NULL, NULL, NULL);
}

static void tags_that_must_not(void **state)
{
    gives(304, &dated, NULL, "\"tag\"", NULL, NULL);
    gives(304, &dated, NULL, "W/\"tag\"", NULL, NULL);
    gives(304, &dated, NULL, "*", NULL, NULL);
    gives(0, &dated, NULL, "\"other\"", NULL, NULL);
    gives(0, &dated, NULL, "", NULL, NULL);
}

static void dates(void **state)
{
    gives(0, &dated, NULL, NULL, NULL, THEN);
    gives(0, &dated, NULL, NULL, NULL, AFTER);
    gives(412, &dated, NULL, NULL, NULL, BEFORE);
    gives(412, &dated, NULL, NULL, NULL, "Thu, 01 Jan 1970 00:00:00 GMT");
    gives(304, &dated, NULL, NULL, THEN, NULL);
    gives(0, &dated, NULL, NULL, BEFORE, NULL);
    static const char *const wrong[] = {"", "yesterday", "0", "Sun, 06 Nov 1994 08:49:3x GMT", BEFORE "x"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        gives(0, &dated, NULL, NULL, wrong[i], wrong[i]);
    gives(0, &undated, NULL, NULL, THEN, BEFORE); /* passed over where there is no date */
}

static void precedence(void **state)
{
    gives(0, &dated, "\"tag\"", NULL, NULL, BEFORE);
    gives(412, &dated, "\"other\"", "\"tag\"", NULL, THEN);
    gives(304, &dated, "\"tag\"", "\"tag\"", NULL, NULL);
    gives(304, &dated, NULL, "\"tag\"", BEFORE, THEN);
    gives(0, &dated, NULL, "\"other\"", THEN, NULL);
    gives(412, &dated, NULL, "\"tag\"", NULL, BEFORE);
}

static void ranges(void **state)
{
    static const struct {
        const char *if_range;
        bool holds, holds_undated;
    } all[] = {{NULL, true, true},          {"\"tag\"", true, true}, {"W/\"tag\"", false, false},
               {"\"other\"", false, false}, {"*", false, false},     {"", false, false},
               {THEN, true, false},         {AFTER, false, false},   {BEFORE, false, false}};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        h2o_iovec_t header = own(all[i].if_range);
        assert_int_equal(condition_range(header, &dated), all[i].holds);
        assert_int_equal(condition_range(header, &undated), all[i].holds_undated);
        disown(header);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tags_that_must_match),
        cmocka_unit_test(tags_that_must_not),
        cmocka_unit_test(dates),
        cmocka_unit_test(precedence),
        cmocka_unit_test(ranges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
