#include "base/buffer.h"
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_grows(void **state)
{
    struct buffer buffer = {0};
    assert_string_equal(buffer_text(&buffer), "");
    for (int i = 0; i < 10000; i++) {
        buffer_putc(&buffer, (char)('a' + i % 26));
        buffer_put(&buffer, "", 0);
    }
    assert_int_equal(buffer.len, 10000);
    for (int i = 0; i < 10000; i++)
        assert_int_equal(buffer.data[i], 'a' + i % 26);
    buffer_free(&buffer);
    buffer_puts(&buffer, "again");
    assert_string_equal(buffer_text(&buffer), "again");
    buffer_free(&buffer);
}

static void test_printf_of_any_length(void **state)
{
    for (int len = 0; len < 600; len++) {
        struct buffer buffer = {0};
        buffer_printf(&buffer, "<%*s>", len, "");
        buffer_printf(&buffer, "%d", len);
        char *expected;
        assert_true(asprintf(&expected, "<%*s>%d", len, "", len) > 0);
        assert_string_equal(buffer_text(&buffer), expected);
        free(expected);
        buffer_free(&buffer);
    }
}

static void check_json(const char *text, size_t len, const char *expected)
{
    struct buffer buffer = {0};
    buffer_put_json(&buffer, text, len);
    assert_string_equal(buffer_text(&buffer), expected);
    json_t *parsed = json_loadb(buffer.data, buffer.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    assert_non_null(parsed);
    json_decref(parsed);
    buffer_free(&buffer);
}

static void test_json_escapes(void **state)
{
    check_json("", 0, "\"\"");
    check_json("a\"b\\c\nd\te\0f\x7f", 12, "\"a\\\"b\\\\c\\nd\\u0009e\\u0000f\\u007f\"");
    check_json("gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80", 15,
               "\"gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80\"");
}

/* Whatever a client sent may end in an answer, which has to be JSON all the same. */
static void test_json_of_what_is_no_utf8(void **state)
{
    check_json("\xff", 1, "\"\\ufffd\"");
    check_json("a\xc3", 2, "\"a\\ufffd\"");
    check_json("\xc3(", 2, "\"\\ufffd(\"");
    check_json("\xed\xa0\x80", 3, "\"\\ufffd\\ufffd\\ufffd\""); /* a surrogate */
    check_json("\xc0\x80", 2, "\"\\ufffd\\ufffd\"");            /* overlong */
    check_json("\xf4\x90\x80\x80", 4, "\"\\ufffd\\ufffd\\ufffd\\ufffd\"");
    for (int i = 0; i < 20000; i++) {
        char bytes[12];
        struct buffer buffer = {0};
        for (size_t j = 0; j < sizeof(bytes); j++)
            bytes[j] = (char)(rand() % 3 == 0 ? rand() : 0x80 + rand() % 0x80);
        buffer_put_json(&buffer, bytes, sizeof(bytes));
        json_t *parsed = json_loadb(buffer.data, buffer.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
        assert_non_null(parsed);
        json_decref(parsed);
        buffer_free(&buffer);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_grows),
        cmocka_unit_test(test_printf_of_any_length),
        cmocka_unit_test(test_json_escapes),
        cmocka_unit_test(test_json_of_what_is_no_utf8),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
