/* The small parts under the client: JSON reader, text, base64, the record's two copies, image heads. */
#include "board.h"
#include "otad_json.h"
#include "otad_text.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static bool reads(const char *json, size_t len)
{
    /* A copy of exactly that size: reading past it is seen by the sanitizer. */
    char *copy = malloc(len ? len : 1);
    memcpy(copy, json, len);
    struct otad_json reader = otad_json_over(copy, len);
    bool good = otad_json_skip(&reader) && otad_json_end(&reader);
    free(copy);
    return good;
}

static void json_strictness(void **state)
{
    static const char *const good[] = {"{}",
                                       " [1, -0.5e+3, \"a\\u00e9\\ud83d\\ude00\", true, null] ",
                                       "{\"a\":{}}",
                                       "0",
                                       "\"\\\"\\/\"",
                                       "[[[[[[[]]]]]]]"};
    static const char *const bad[] = {"",
                                      "{",
                                      "{,}",
                                      "[1,]",
                                      "{\"a\":1,}",
                                      "01",
                                      "1.",
                                      "-",
                                      "1e",
                                      "NaN",
                                      "tru",
                                      "\"",
                                      "\"\\",
                                      "\"\\u00",
                                      "\"\\u0000\"",
                                      "\"\\ud800\"",
                                      "\"\\udc00\"",
                                      "\"\x01\"",
                                      "\"\xff\"",
                                      "\"\xc0\x80\"",
                                      "\"\xed\xa0\x80\"",
                                      "\"\xf4\x90\x80\x80\"",
                                      "\"\xe2\x82",
                                      "1 2",
                                      "[[[[[[[[[1]]]]]]]]]"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_true(reads(good[i], strlen(good[i])));
        for (size_t len = 0; len < strlen(good[i]); len++) {
            reads(good[i], len);
        }
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_false(reads(bad[i], strlen(bad[i])));
    }
}

static void json_values(void **state)
{
    char text[8];
    uint64_t number;
    struct otad_json json = otad_json_over("\"caf\\u00e9\"", 11);
    assert_int_equal(otad_json_string(&json, text, sizeof text), 5);
    assert_string_equal(text, "caf\xc3\xa9");
    json = otad_json_over("\"12345678\"", 10);
    assert_int_equal(otad_json_string(&json, text, sizeof text), -1);
    json = otad_json_over("9007199254740992", 16);
    assert_true(otad_json_integer(&json, &number) && number == 1ull << 53);
    static const char *const bad[] = {
        "9007199254740993", "99999999999999999999999", "-1", "1.0", "1e3", "007", "x"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        json = otad_json_over(bad[i], strlen(bad[i]));
        assert_false(otad_json_integer(&json, &number));
    }
}

static void texts(void **state)
{
    char out[64];
    struct otad_text text;
    otad_text_init(&text, out, sizeof out);
    otad_text_quoted(&text, "a\"b\\\n");
    otad_text_decimal(&text, -1234, 2);
    otad_text_raw(&text, " ");
    otad_text_decimal(&text, 5, 3);
    otad_text_raw(&text, " ");
    otad_text_int(&text, INT64_MIN);
    assert_true(otad_text_ok(&text));
    assert_string_equal(out, "\"a\\\"b\\\\\\u000a\"-12.34 0.005 -9223372036854775808");
    otad_text_init(&text, out, 4);
    otad_text_raw(&text, "abcd");
    assert_false(otad_text_ok(&text));
    otad_text_copy(out, 4, "ab\xc3\xa9");
    assert_string_equal(out, "ab"); /* no half character */
}

static void base64(void **state)
{
    uint8_t out[4];
    assert_true(otad_base64_decode("AP8+", out, 3));
    assert_memory_equal(out, "\x00\xff\x3e", 3);
    assert_true(otad_base64_decode("AP8=", out, 2));
    assert_true(otad_base64_decode("AA==", out, 1));
    assert_false(otad_base64_decode("AB==", out, 1)); /* stray bits */
    assert_false(otad_base64_decode("AP8", out, 2));
    assert_false(otad_base64_decode("AP-_", out, 3));
    assert_false(otad_base64_decode("A P8", out, 3));
    assert_true(otad_hex_decode("00fe", out, 2));
    assert_false(otad_hex_decode("00FE", out, 2));
    assert_false(otad_hex_decode("00f", out, 2));
}

static void record_copies(void **state)
{
    uint8_t first[OTAD_RECORD_SIZE], second[OTAD_RECORD_SIZE];
    struct otad_record record = {.sequence = 4,
                                 .phase = OTAD_PHASE_ROLLED_BACK,
                                 .slot = 1,
                                 .switched = true,
                                 .cleared = true,
                                 .update_id = 1ull << 40,
                                 .issued_at = 1790000000,
                                 .size = IMAGE,
                                 .offset = 65536,
                                 .version = "1.3.0",
                                 .error = "why",
                                 .running_version = "1.2.0"},
                       back;
    otad_record_encode(&record, first);
    record.sequence = 5;
    otad_record_encode(&record, second);
    otad_record_load(&back, first, sizeof first, second, sizeof second);
    assert_memory_equal(&back, &record, sizeof record);
    for (size_t bit = 0; bit < OTAD_RECORD_SIZE * 8; bit++) {
        second[bit / 8] ^= (uint8_t)(1 << bit % 8);
        otad_record_load(&back, first, sizeof first, second, sizeof second);
        assert_int_equal(back.sequence, 4);
        second[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    otad_record_load(&back, NULL, 0, second, sizeof second - 1);
    assert_int_equal(back.sequence, 0);
    assert_int_equal(back.phase, OTAD_PHASE_NONE);
}

static void image_heads(void **state)
{
    struct otad_image image;
    uint8_t head[OTAD_IMAGE_HEAD];
    memcpy(head, bench()->old, sizeof head);
    memset(head + 0x20 + 16, 'v', 32); /* no NUL */
    assert_true(otad_image_parse(head, &image));
    assert_int_equal(strlen(image.version), 32);
    head[0x20] ^= 1; /* a bootloader has another magic there */
    assert_false(otad_image_parse(head, &image));
    memset(head, 0xFF, sizeof head);
    assert_false(otad_image_parse(head, &image));
    assert_int_equal(otad_image_chip_id("esp32c61"), 20);
    assert_int_equal(otad_image_chip_id("esp32x"), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_strictness), cmocka_unit_test(json_values),   cmocka_unit_test(texts),
        cmocka_unit_test(base64),          cmocka_unit_test(record_copies), cmocka_unit_test(image_heads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
