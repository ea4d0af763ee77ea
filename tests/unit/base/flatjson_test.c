/* base/flatjson: what is taken, what is refused, and that slices say what stood there. */
#include "base/flatjson.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct flatjson doc;

static bool parse(const char *text)
{
    return flatjson_parse(&doc, text, strlen(text));
}

static void takes_scalars(void **state)
{
    assert_true(parse(
        " { \"a\" : 1 , \"b\":-2.5e1,\"c\":\"x\",\"d\":true,\"e\":false,\"f\":null,\"g\":{\"h\":[1,{}]} } "));
    assert_int_equal(doc.count, 7);
    assert_true(doc.fields[0].whole);
    assert_float_equal(doc.fields[1].number, -25, 0);
    assert_false(doc.fields[1].whole);
    assert_memory_equal(doc.fields[1].raw, "-2.5e1", doc.fields[1].raw_len);
    assert_int_equal(doc.fields[5].kind, FLATJSON_NULL);
    assert_int_equal(doc.fields[6].kind, FLATJSON_NESTED);
    assert_int_equal(doc.fields[6].raw_len, strlen("{\"h\":[1,{}]}"));
    assert_non_null(flatjson_find(&doc, "d"));
    assert_null(flatjson_find(&doc, "h"));
    assert_true(parse("{}"));
}

static void resolves_escapes(void **state)
{
    assert_true(parse("{\"gr\\u00f6\\u00dfe\":\"a\\\"\\\\\\/\\b\\f\\n\\r\\t\\ud83d\\ude00\"}"));
    const struct flatjson_field *field = flatjson_find(&doc, "größe");
    assert_non_null(field);
    static const char text[] = "a\"\\/\b\f\n\r\t\xf0\x9f\x98\x80";
    assert_int_equal(field->text_len, sizeof(text) - 1);
    assert_memory_equal(field->text, text, sizeof(text) - 1);
}

static void numbers_are_exact(void **state)
{
    static const char *const numbers[] = {"0",
                                          "-0.1",
                                          "21.5",
                                          "0.001",
                                          "123456789.12345",
                                          "-99999999999999",
                                          "1e308",
                                          "1E-308",
                                          "1234567890123456789",
                                          "0.1e1",
                                          "99999999999999.9",
                                          "3.14159265358979"};
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        char text[64] = "{\"n\":";
        strcat(strcat(text, numbers[i]), "}");
        assert_true(parse(text));
        assert_true(doc.fields[0].number == strtod(numbers[i], NULL));
    }
}

static void refuses(void **state)
{
    static const char *const texts[] = {
        "",
        "[]",
        "1",
        "{",
        "{\"a\"",
        "{\"a\":",
        "{\"a\":1",
        "{\"a\":1,",
        "{\"a\":1,}",
        "{\"a\":1}}",
        "{\"a\":1} x",
        "{a:1}",
        "{\"a\":01}",
        "{\"a\":+1}",
        "{\"a\":.5}",
        "{\"a\":1.}",
        "{\"a\":1e}",
        "{\"a\":1e999}",
        "{\"a\":1e-999}",
        "{\"a\":1e99999999999999999999}",
        "{\"a\":-}",
        "{\"a\":NaN}",
        "{\"a\":Infinity}",
        "{\"a\":tru}",
        "{\"a\":\"\\x\"}",
        "{\"a\":\"\\u00\"}",
        "{\"a\":\"\\u0000\"}",
        "{\"a\":\"\\ud800\"}",
        "{\"a\":\"\\udc00\"}",
        "{\"a\":\"\\ud800\\u0041\"}",
        "{\"a\":\"\n\"}",
        "{\"a\":\"\xff\"}",
        "{\"a\":\"\xc0\x80\"}",
        "{\"a\":\"\xed\xa0\x80\"}",
        "{\"a\":\"\xf4\x90\x80\x80\"}",
        "{\"a\":\"\xe2\x82\"}",
        "{\"a\":1,\"a\":2}",
        "{\"a\":1,\"\\u0061\":2}",
        "{\"a\":[1,]}",
        "{\"a\":[1 2]}",
        "{\"a\":{\"b\"}}",
        "{'a':1}",
        "{\"a\":1,,\"b\":2}",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (parse(texts[i]))
            fail_msg("taken: %s", texts[i]);
    }
    assert_false(flatjson_parse(&doc, "{\"a\":1}\0", 8));
    assert_false(flatjson_parse(&doc, "{\"a\0\":1}", 8));
}

static void is_bounded(void **state)
{
    char text[FLATJSON_LONGEST + 2];
    assert_true(parse("{\"a\":[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]}")); /* 16 levels, the object one of them */
    assert_false(parse("{\"a\":[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]}"));

    char *p = text;
    *p++ = '{';
    for (int i = 0; i < FLATJSON_FIELDS; i++)
        p += snprintf(p, 16, "\"%d\":0,", i);
    strcpy(p - 1, "}");
    assert_true(parse(text));
    strcpy(p - 1, ",\"x\":0}");
    assert_false(parse(text));

    memset(text, ' ', sizeof(text));
    text[0] = '{';
    text[FLATJSON_LONGEST - 1] = '}';
    text[FLATJSON_LONGEST] = '\0';
    assert_true(parse(text));
    text[FLATJSON_LONGEST - 1] = ' ';
    text[FLATJSON_LONGEST] = '}';
    text[FLATJSON_LONGEST + 1] = '\0';
    assert_false(parse(text));
}

static void checks_utf8(void **state)
{
    assert_true(flatjson_utf8("größe €\n\t", strlen("größe €\n\t")));
    assert_false(flatjson_utf8("a\0b", 3));
    assert_false(flatjson_utf8("\xe2\x82\xac", 2)); /* cut */
    assert_false(flatjson_utf8("\x80", 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(takes_scalars),
                                       cmocka_unit_test(resolves_escapes),
                                       cmocka_unit_test(numbers_are_exact),
                                       cmocka_unit_test(refuses),
                                       cmocka_unit_test(is_bounded),
                                       cmocka_unit_test(checks_utf8)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
