#include "base/log.h"
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static int saved, pipe_ends[2];

static int redirect(void **state)
{
    saved = dup(STDERR_FILENO);
    return pipe2(pipe_ends, O_NONBLOCK) != 0 || dup2(pipe_ends[1], STDERR_FILENO) < 0;
}

static int restore(void **state)
{
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(pipe_ends[0]);
    close(pipe_ends[1]);
    log_set_level(LOG_INFO);
    return 0;
}

/* The one line written since the last call, as JSON; the caller's. NULL: none was. */
static json_t *line(void)
{
    static char text[8192];
    ssize_t len = read(pipe_ends[0], text, sizeof(text));
    if (len < 0)
        return NULL;
    assert_true(len <= 4096);
    assert_int_equal(text[len - 1], '\n');
    assert_ptr_equal(memchr(text, '\n', (size_t)len), text + len - 1);
    json_error_t error;
    json_t *object = json_loadb(text, (size_t)len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    if (object == NULL)
        fail_msg("%s: %.*s", error.text, (int)len, text);
    return object;
}

static const char *text_of(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

static void test_fields(void **state)
{
    log_warn("it \"broke\"\n", LOG_STR("a", "x\ty"), LOG_STRN("b", "abcdef", 3), LOG_INT("c", INT64_MIN),
             LOG_NUM("d", 1.5), LOG_NUM("e", 0.0 / 0.0), LOG_STR("f", NULL));
    json_t *object = line();
    assert_string_equal(text_of(object, "level"), "warn");
    assert_string_equal(text_of(object, "msg"), "it \"broke\"\n");
    assert_string_equal(text_of(object, "a"), "x\ty");
    assert_string_equal(text_of(object, "b"), "abc");
    assert_true(json_integer_value(json_object_get(object, "c")) == INT64_MIN);
    assert_true(json_real_value(json_object_get(object, "d")) == 1.5);
    assert_true(json_is_null(json_object_get(object, "e")));
    assert_true(json_is_null(json_object_get(object, "f")));
    const char *at = text_of(object, "at");
    assert_int_equal(strlen(at), 24);
    assert_int_equal(at[23], 'Z');
    json_decref(object);
}

/* A full disk that also holds the log: the store took ENOSPC for whatever the log had failed with. */
static void test_errno_stays(void **state)
{
    int closed = dup(STDERR_FILENO);
    close(STDERR_FILENO);
    errno = ENOSPC;
    log_error("nobody reads this");
    int after = errno;
    dup2(closed, STDERR_FILENO);
    close(closed);
    assert_int_equal(after, ENOSPC);
}

static void test_levels(void **state)
{
    log_debug("not this");
    assert_null(line());
    log_set_level(LOG_ERROR);
    log_warn("nor this");
    assert_null(line());
    log_error("but this");
    json_decref(line());
    log_set_level(LOG_DEBUG);
    log_debug("and this");
    json_decref(line());
    assert_int_equal(log_level_parse("error"), LOG_ERROR);
    assert_int_equal(log_level_parse("loud"), -1);
}

static void test_any_bytes_and_lengths_stay_one_line_of_json(void **state)
{
    static char value[9000], name[6000];
    for (int i = 0; i < 1500; i++) {
        size_t value_len = (size_t)rand() % sizeof(value), name_len = (size_t)rand() % sizeof(name);
        for (size_t j = 0; j < sizeof(value); j++)
            value[j] = (char)(i % 2 ? rand() : '\x01');
        memset(name, i % 3 ? 'n' : '"', sizeof(name));
        name[name_len] = '\0';
        log_info("fixed", LOG_STRN("value", value, value_len % (i % 5 ? 4200 : 9000)),
                 LOG_INT(name, INT64_MIN), LOG_STRN("more", value, value_len));
        json_t *object = line();
        assert_non_null(object);
        assert_non_null(text_of(object, "value"));
        json_decref(object);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_fields, redirect, restore),
        cmocka_unit_test_setup_teardown(test_errno_stays, redirect, restore),
        cmocka_unit_test_setup_teardown(test_levels, redirect, restore),
        cmocka_unit_test_setup_teardown(test_any_bytes_and_lengths_stay_one_line_of_json, redirect, restore),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
