/* fleet/status: the contract's rules for status and log messages. */
#include "fleet/status.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct flatjson doc;
static struct status status;

static const char *parse(const char *text)
{
    return status_parse(&status, &doc, text, strlen(text));
}

static void assert_text(struct status_text text, const char *expected)
{
    assert_int_equal(text.len, strlen(expected));
    assert_memory_equal(text.s, expected, text.len);
}

static void takes_the_whole(void **state)
{
    assert_null(parse(
        "{\"status\":\"online\",\"session\":\"f3a1\",\"firmware_version\":\"1.2.0\",\"chip\":\"esp32s3\","
        "\"elf_sha256\":\"00112233445566778899AABBCCDDEEFF00112233445566778899aabbccddeeff\","
        "\"uptime\":3600,\"rssi\":-61,\"heap\":183920,\"battery\":87,\"reset_reason\":\"power_on\","
        "\"ota\":{\"update_id\":17,\"state\":\"downloading\",\"progress\":40,\"error\":null},"
        "\"temp\":21.5,\"door\":true,\"gps\":{\"lat\":1},\"list\":[1]}"));
    assert_true(status.online);
    assert_text(status.session, "f3a1");
    assert_text(status.version, "1.2.0");
    assert_text(status.chip, "esp32s3");
    assert_string_equal(status.elf_sha256,
                        "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff");
    assert_true(status.has_ota);
    assert_int_equal(status.ota.update_id, 17);
    assert_int_equal(status.ota.state, OTA_DOWNLOADING);
    assert_int_equal(status.ota.progress, 40);
    assert_null(status.ota.error.s);
    assert_int_equal(status.count, 7);
    assert_int_equal(status.nested, 2);
    assert_int_equal(status.surplus, 0);
}

static void all_but_status_is_optional(void **state)
{
    assert_null(parse("{\"status\":\"offline\"}"));
    assert_false(status.online);
    assert_null(status.session.s);
    assert_false(status.has_ota);
    assert_null(parse("{\"status\":\"online\",\"session\":null,\"ota\":null,\"rssi\":null,\"chip\":null,"
                      "\"elf_sha256\":null,\"firmware_version\":null}"));
    assert_null(status.session.s);
    assert_int_equal(status.count, 0);
}

static void malformed(void **state)
{
    static const struct {
        const char *text, *reason, *field;
    } cases[] = {
        {"", status_syntax, NULL},
        {"online", status_syntax, NULL},
        {"{}", status_type, "status"},
        {"{\"session\":\"a\"}", status_type, "status"},
        {"{\"status\":null}", status_type, "status"},
        {"{\"status\":1}", status_type, "status"},
        {"{\"status\":\"Online\"}", status_value, "status"},
        {"{\"status\":\"online\",\"status\":\"offline\"}", status_syntax, NULL},
        {"{\"status\":\"online\",\"session\":1}", status_type, "session"},
        {"{\"status\":\"online\",\"session\":\"\"}", status_value, "session"},
        {"{\"status\":\"online\",\"session\":\"a\\nb\"}", status_value, "session"},
        {"{\"status\":\"online\",\"session\":"
         "\"12345678901234567890123456789012345678901234567890123456789012345\"}",
         status_value, "session"},
        {"{\"status\":\"online\",\"firmware_version\":1.2}", status_type, "firmware_version"},
        {"{\"status\":\"online\",\"firmware_version\":"
         "\"123456789012345678901234567890123456789012345678901\"}",
         status_value, "firmware_version"},
        {"{\"status\":\"online\",\"chip\":[]}", status_type, "chip"},
        {"{\"status\":\"online\",\"elf_sha256\":\"ab\"}", status_value, "elf_sha256"},
        {"{\"status\":\"online\",\"uptime\":\"1\"}", status_type, "uptime"},
        {"{\"status\":\"online\",\"rssi\":true}", status_type, "rssi"},
        {"{\"status\":\"online\",\"heap\":{}}", status_type, "heap"},
        {"{\"status\":\"online\",\"battery\":\"87\"}", status_type, "battery"},
        {"{\"status\":\"online\",\"reset_reason\":3}", status_type, "reset_reason"},
        {"{\"status\":\"online\",\"ota\":[]}", status_type, "ota"},
        {"{\"status\":\"online\",\"ota\":\"x\"}", status_type, "ota"},
        {"{\"status\":\"online\",\"ota\":{}}", status_type, "ota"},
        {"{\"status\":\"online\",\"ota\":{\"update_id\":1}}", status_type, "ota"},
        {"{\"status\":\"online\",\"ota\":{\"update_id\":\"1\",\"state\":\"failed\"}}", status_type, "ota"},
        {"{\"status\":\"online\",\"ota\":{\"update_id\":1.5,\"state\":\"failed\"}}", status_type, "ota"},
        {"{\"status\":\"online\",\"ota\":{\"update_id\":0,\"state\":\"failed\"}}", status_value, "ota"},
        {"{\"status\":\"online\",\"ota\":{\"update_id\":2147483648,\"state\":\"failed\"}}", status_value,
         "ota"},
        {"{\"status\":\"online\",\"ota\":{\"update_id\":1,\"state\":\"done\"}}", status_value, "ota"},
        {"{\"status\":\"online\",\"ota\":{\"update_id\":1,\"state\":\"failed\",\"progress\":101}}",
         status_value, "ota"},
        {"{\"status\":\"online\",\"ota\":{\"update_id\":1,\"state\":\"failed\",\"progress\":-1}}",
         status_value, "ota"},
        {"{\"status\":\"online\",\"ota\":{\"update_id\":1,\"state\":\"failed\",\"error\":1}}", status_type,
         "ota"},
        {"{\"status\":\"online\",\"ota\":{\"update_id\":1,\"update_id\":2,\"state\":\"failed\"}}",
         status_syntax, "ota"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *reason = parse(cases[i].text);
        if (reason != cases[i].reason)
            fail_msg("%s: %s", cases[i].text, reason == NULL ? "taken" : reason);
        if (cases[i].field == NULL)
            assert_null(status.field);
        else
            assert_string_equal(status.field, cases[i].field);
    }
    char text[STATUS_LONGEST + 2];
    memset(text, ' ', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    assert_ptr_equal(parse(text), status_size);
}

/* Characters count, not bytes: the column is a varchar(50). */
static void version_counts_characters(void **state)
{
    char text[256] = "{\"status\":\"online\",\"firmware_version\":\"";
    for (int i = 0; i < STATUS_VERSION; i++)
        strcat(text, "ß");
    strcat(text, "\"}");
    assert_null(parse(text));
    assert_int_equal(status.version.len, 2 * STATUS_VERSION);
}

/* An unknown chip once stopped updates, and a battery of 500 % was kept. */
static void what_cannot_be_is_dropped(void **state)
{
    static const char *const chips[] = {"esp8266", "ESP32", "stm32", "esp", "", "esp32s3\\u0001", "esp32x"};
    char text[128];
    for (size_t i = 0; i < sizeof(chips) / sizeof(chips[0]); i++) {
        snprintf(text, sizeof(text), "{\"status\":\"online\",\"chip\":\"%s\",\"rssi\":-60}", chips[i]);
        assert_null(parse(text));
        assert_null(status.chip.s);
        assert_int_equal(status.outside, 1);
        assert_int_equal(status.count, 1);
    }
    assert_null(parse("{\"status\":\"online\",\"battery\":500,\"uptime\":-1,\"rssi\":-4000,\"heap\":-1,"
                      "\"temp\":-4000}"));
    assert_int_equal(status.outside, 4);
    assert_int_equal(status.count, 1);
    assert_null(parse("{\"status\":\"online\",\"battery\":100.1,\"rssi\":128,\"uptime\":0,\"heap\":0}"));
    assert_int_equal(status.outside, 2);
    assert_int_equal(status.count, 2);
    assert_null(parse("{\"status\":\"online\",\"battery\":100,\"rssi\":-128}"));
    assert_int_equal(status.outside, 0);
    assert_int_equal(status.count, 2);
}

static void telemetry_is_bounded(void **state)
{
    char text[STATUS_LONGEST], *p = text;
    p += sprintf(
        p, "{\"status\":\"online\",\"uptime\":1,\"rssi\":1,\"heap\":1,\"battery\":1,\"reset_reason\":\"x\"");
    for (int i = 0; i < STATUS_TELEMETRY + 3; i++)
        p += sprintf(p, ",\"field%d\":%d", i, i);
    strcpy(p, "}");
    assert_null(parse(text));
    assert_int_equal(status.count, STATUS_FIELDS);
    assert_int_equal(status.surplus, 3);

    assert_null(parse("{\"status\":\"online\",\"\":1,\"a\\\"b\":1,\"a\\\\b\":1,\"a\\nb\":1,"
                      "\"12345678901234567890123456789012345678901234567890123456789012345\":1,\"fine\":1}"));
    assert_int_equal(status.count, 1);
    assert_int_equal(status.surplus, 5);
}

/* An error of an update is too useful to refuse the message for its length; it is cut between characters. */
static void long_error_is_cut(void **state)
{
    char text[2048] = "{\"status\":\"online\",\"ota\":{\"update_id\":1,\"state\":\"failed\",\"error\":\"x";
    for (int i = 0; i < 200; i++)
        strcat(text, "\\u00df");
    strcat(text, "\"}}");
    assert_null(parse(text));
    assert_int_equal(status.ota.error.len, STATUS_ERROR);
    assert_true(flatjson_utf8(status.ota.error.s, status.ota.error.len));
    assert_null(parse("{\"status\":\"online\",\"ota\":{\"state\":\"failed\",\"update_id\":1,\"error\":"
                      "\"a\\\"b\"},\"x\\u0079\":1}"));
    assert_text(status.ota.error, "a\"b");
}

static void logs(void **state)
{
    struct status_log log;
#define PARSE(text) status_parse_log(&log, &doc, text, sizeof(text) - 1)
    assert_null(PARSE("a line\r\n"));
    assert_string_equal(log.level, "info");
    assert_text(log.message, "a line");
    assert_null(PARSE("{not json"));
    assert_text(log.message, "{not json");
    assert_null(PARSE("{\"level\":\"warning\",\"message\":\"tw\\u006f\",\"uptime\":1}"));
    assert_string_equal(log.level, "warn");
    assert_text(log.message, "two");
    assert_null(PARSE("{\"message\":\"m\"}"));
    assert_string_equal(log.level, "info");
    assert_ptr_equal(PARSE("{\"level\":\"loud\",\"message\":\"m\"}"), status_value);
    assert_ptr_equal(PARSE("{\"level\":1,\"message\":\"m\"}"), status_type);
    assert_ptr_equal(PARSE("{\"level\":\"info\"}"), status_type);
    assert_ptr_equal(PARSE("{\"message\":7}"), status_type);
    assert_ptr_equal(PARSE(""), status_value);
    assert_ptr_equal(PARSE("\n"), status_value);
    assert_ptr_equal(PARSE("a\0b"), status_syntax);
    assert_ptr_equal(PARSE("\xff"), status_syntax);
#undef PARSE
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(takes_the_whole),
                                       cmocka_unit_test(all_but_status_is_optional),
                                       cmocka_unit_test(malformed),
                                       cmocka_unit_test(version_counts_characters),
                                       cmocka_unit_test(what_cannot_be_is_dropped),
                                       cmocka_unit_test(telemetry_is_bounded),
                                       cmocka_unit_test(long_error_is_cut),
                                       cmocka_unit_test(logs)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
