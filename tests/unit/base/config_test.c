#include "../scratch.h"
#include "base/config.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

/* Each test begins with an environment that says nothing. */
static int setup(void **state)
{
    size_t count;
    const struct config_key *keys = config_keys(&count);
    for (size_t i = 0; i < count; i++) {
        char variable[96], with_file[112];
        config_variable(keys[i].name, variable, sizeof(variable));
        unsetenv(variable);
        snprintf(with_file, sizeof(with_file), "%s_FILE", variable);
        unsetenv(with_file);
        if (keys[i].alias != NULL) {
            unsetenv(keys[i].alias);
            snprintf(with_file, sizeof(with_file), "%s_FILE", keys[i].alias);
            unsetenv(with_file);
        }
    }
    return scratch_setup(state);
}

static struct config *load(void **state, const char *text)
{
    char *error = NULL;
    struct config *config =
        config_load(scratch_write(*state, "otad.lua", text, strlen(text), 0600), NULL, &error);
    if (config == NULL)
        fail_msg("%s", error);
    return config;
}

/* The error must name each of `a` and `b`. */
static void refuse(void **state, const char *text, const char *a, const char *b)
{
    char *error = NULL;
    const char *path = scratch_write(*state, "otad.lua", text, strlen(text), 0600);
    struct config *config = config_load(path, NULL, &error);
    if (config != NULL)
        fail_msg("taken: %s", text);
    assert_non_null(error);
    if (strstr(error, a) == NULL || strstr(error, b) == NULL)
        fail_msg("%s: neither \"%s\" nor \"%s\" may miss in: %s", text, a, b, error);
    free(error);
}

static void test_defaults(void **state)
{
    char *error = NULL;
    struct config *config = config_load(scratch_path(*state, "absent.lua"), NULL, &error);
    assert_non_null(config);
    assert_int_equal(config->http_port, 8080);
    assert_string_equal(config->public_url, "http://localhost:8080");
    assert_string_equal(config->database_url, "postgresql://otad@127.0.0.1:5433/otad");
    assert_string_equal(config->redis_url, "redis://127.0.0.1:6380");
    assert_string_equal(config->mqtt_url, "mqtt://127.0.0.1:1883");
    assert_string_equal(config->firmware_store, "var/firmware");
    assert_int_equal(config->device_offline_after, 120000);
    assert_int_equal(config->firmware_max_size, 16 << 20);
    assert_true(config->mqtt_public_tls);
    config_free(config);
}

/* The port that conf/up left was taken, whatever the variable said. */
static void test_ports_of_kept_services(void **state)
{
    char *error = NULL, var[512];
    assert_int_equal(mkdir(scratch_path(*state, "keys"), 0700), 0);
    scratch_write(*state, "keys/database.url", "postgresql://otad@127.0.0.1:5555/otad?passfile=x\n", 49,
                  0600);
    scratch_write(*state, "keys/redis.url", "redis://:p%40@127.0.0.1:6666\n", 29, 0600);
    snprintf(var, sizeof(var), "%s", ((struct scratch *)*state)->path);
    setenv("OTAD_VAR", var, 1);
    struct config *config = config_load(scratch_path(*state, "absent.lua"), NULL, &error);
    assert_non_null(config);
    assert_string_equal(config->database_url, "postgresql://otad@127.0.0.1:5555/otad?passfile=x");
    assert_string_equal(config->redis_url, "redis://:p%40@127.0.0.1:6666");
    config_free(config);
    setenv("OTAD_PG_PORT", "1", 1);
    setenv("OTAD_REDIS_PORT", "2", 1);
    config = config_load(scratch_path(*state, "absent.lua"), NULL, &error);
    assert_non_null(config);
    assert_string_equal(config->database_url, "postgresql://otad@127.0.0.1:1/otad?passfile=x");
    assert_string_equal(config->redis_url, "redis://:p%40@127.0.0.1:2");
    config_free(config);
    unsetenv("OTAD_VAR");
    unsetenv("OTAD_PG_PORT");
    unsetenv("OTAD_REDIS_PORT");
}

static void test_each_key_has_a_variable_and_a_help_of_its_own(void **state)
{
    size_t count;
    const struct config_key *keys = config_keys(&count);
    for (size_t i = 0; i < count; i++) {
        assert_ptr_equal(config_find(keys[i].name), &keys[i]);
        assert_true(strlen(keys[i].help) > 3);
        for (size_t j = 0; j < i; j++)
            assert_true(keys[j].offset != keys[i].offset);
    }
    char variable[96], small[8];
    config_variable("device.offline_after", variable, sizeof(variable));
    assert_string_equal(variable, "OTAD_DEVICE_OFFLINE_AFTER");
    config_variable("device.offline_after", small, sizeof(small));
    assert_string_equal(small, "OTAD_DE");
}

static void test_file(void **state)
{
    struct config *config = load(state, "local day = 24 * 3600\n"
                                        "return {\n"
                                        "  var = 'data', public_url = 'https://ota.example/', workers = 3,\n"
                                        "  http = { port = 8123, max_body = '2MiB' },\n"
                                        "  device = { offline_after = 1.5 },\n"
                                        "  update = { offer_ttl = day, timeout = '1.5m' },\n"
                                        "  firmware = { auto_sign = true, max_size = 4096 },\n"
                                        "}\n");
    assert_string_equal(config->public_url, "https://ota.example");
    assert_string_equal(config->firmware_store, "data/firmware");
    assert_string_equal(config->auth_jwt_keys, "data/keys/jwt.key");
    assert_int_equal(config->workers, 3);
    assert_int_equal(config->http_port, 8123);
    assert_int_equal(config->http_max_body, 2 << 20);
    assert_int_equal(config->device_offline_after, 1500);
    assert_int_equal(config->update_offer_ttl, 86400000);
    assert_int_equal(config->update_timeout, 90000);
    assert_true(config->firmware_auto_sign);
    assert_int_equal(config->firmware_max_size, 4096);
    config_free(config);
}

static void test_errors_name_file_and_key(void **state)
{
    refuse(state, "return { http = { prot = 1 } }", "otad.lua", "http.prot");
    refuse(state, "return { colour = 'red' }", "otad.lua", "colour");
    refuse(state, "return { http = 1 }", "otad.lua", "unknown key http");
    refuse(state, "return { http = { port = 'eighty' } }", "otad.lua", "http.port must be a whole number");
    refuse(state, "return { http = { port = {} } }", "otad.lua", "http.port");
    refuse(state, "return { http = { port = 80.5 } }", "otad.lua", "http.port");
    refuse(state, "return { http = { port = -1 } }", "otad.lua", "http.port");
    refuse(state, "return { firmware = { auto_sign = 'yes' } }", "otad.lua", "firmware.auto_sign");
    refuse(state, "return { device = { offline_after = '2 days' } }", "otad.lua", "device.offline_after");
    refuse(state, "return { 'http' }", "otad.lua", "name");
    refuse(state, "return 1", "otad.lua", "table");
    refuse(state, "return {", "otad.lua", ":1:");
    refuse(state, "os.exit()", "otad.lua", "os");
    refuse(state, "\x1bLua", "binary", "chunk");
}

/* true for a text was taken as the text "true". */
static void test_boolean_is_no_text(void **state)
{
    refuse(state, "return { scripts = true }", "otad.lua", "scripts must be a text");
}

/* strtod() takes more than numbers: with nan a whole number was INT64_MIN. */
static void test_numbers_are_decimal(void **state)
{
    static const char *const wrong[] = {"nan", "inf", "0x10",  " 5", "+5",  "-0",  "1e3",
                                        "5 ",  ".",   "1.2.3", "",   "5.5", "ten", "99999999999999999999"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        char text[80];
        snprintf(text, sizeof(text), "return { workers = '%s' }", wrong[i]);
        refuse(state, text, "otad.lua", "workers");
    }
    refuse(state, "return { lua = { memory = 0/0 } }", "otad.lua", "lua.memory");
    refuse(state, "return { lua = { memory = 1/0 } }", "otad.lua", "lua.memory");
    refuse(state, "return { lua = { memory = '0.0001KiB' } }", "otad.lua", "lua.memory");
}

/* 70000 became port 4464. */
static void test_out_of_range(void **state)
{
    refuse(state, "return { http = { port = 70000 } }", "http.port", "65535");
    refuse(state, "return { database = { connections = 0 } }", "database.connections", "1");
    refuse(state, "return { auth = { hash_threads = 0 } }", "auth.hash_threads", "1");
    refuse(state, "return { lua = { call_timeout = 0 } }", "lua.call_timeout", "1");
    refuse(state, "return { lua = { memory = '4KiB' } }", "lua.memory", "1048576");
}

static void test_units(void **state)
{
    static const struct {
        const char *text;
        int64_t ms;
    } times[] = {{"500ms", 500},    {"30s", 30000}, {"15m", 900000}, {"2h", 7200000},
                 {"7d", 604800000}, {"90", 90000},  {"0.5", 500},    {"1.5h", 5400000}};
    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        setenv("OTAD_UPDATE_TIMEOUT", times[i].text, 1);
        struct config *config = load(state, "return {}");
        assert_int_equal(config->update_timeout, times[i].ms);
        config_free(config);
    }
    static const struct {
        const char *text;
        int64_t bytes;
    } sizes[] = {{"100", 100}, {"100B", 100}, {"3KiB", 3072}, {"1.5MiB", 1572864}, {"2GiB", 2147483648}};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        setenv("OTAD_FIRMWARE_MAX_SIZE", sizes[i].text, 1);
        struct config *config = load(state, "return {}");
        assert_int_equal(config->firmware_max_size, sizes[i].bytes);
        config_free(config);
    }
    setenv("OTAD_FIRMWARE_MAX_SIZE", "5MB", 1);
    refuse(state, "return {}", "OTAD_FIRMWARE_MAX_SIZE", "MiB");
}

static void test_environment(void **state)
{
    setenv("PORT", "9000", 1);
    setenv("DATABASE_URL", "postgresql://a/b", 1);
    setenv("OTAD_LOG_LEVEL", "", 1); /* says nothing */
    struct config *config = load(state, "return { http = { port = 8123 }, log = { level = 'warn' } }");
    assert_int_equal(config->http_port, 9000);
    assert_string_equal(config->database_url, "postgresql://a/b");
    assert_string_equal(config->log_level, "warn");
    config_free(config);
    setenv("OTAD_HTTP_PORT", "9001", 1);
    config = load(state, "return {}");
    assert_int_equal(config->http_port, 9001);
    config_free(config);
    setenv("OTAD_HTTP_PORT", "http", 1);
    refuse(state, "return {}", "OTAD_HTTP_PORT", "whole number");
}

static void test_values_from_files(void **state)
{
    setenv("OTAD_MQTT_PASSWORD_FILE", scratch_write(*state, "secret", "hush\r\n\n", 7, 0600), 1);
    setenv("DATABASE_URL_FILE", scratch_write(*state, "url", "postgresql://c/d\n", 17, 0600), 1);
    struct config *config = load(state, "return {}");
    assert_string_equal(config->mqtt_password, "hush");
    assert_string_equal(config->database_url, "postgresql://c/d");
    config_free(config);

    setenv("OTAD_MQTT_PASSWORD", "loud", 1); /* the value itself goes before its file */
    config = load(state, "return {}");
    assert_string_equal(config->mqtt_password, "loud");
    config_free(config);
    unsetenv("OTAD_MQTT_PASSWORD");

    setenv("OTAD_MQTT_PASSWORD_FILE", scratch_path(*state, "nowhere"), 1);
    refuse(state, "return {}", "OTAD_MQTT_PASSWORD_FILE", "nowhere");
    char *large = calloc(1, 5000);
    memset(large, 'x', 5000);
    setenv("OTAD_MQTT_PASSWORD_FILE", scratch_write(*state, "large", large, 5000, 0600), 1);
    free(large);
    refuse(state, "return {}", "OTAD_MQTT_PASSWORD_FILE", "too large");
}

static void test_what_conf_up_left(void **state)
{
    char text[160];
    assert_int_equal(mkdir(scratch_path(*state, "keys"), 0700), 0);
    scratch_write(*state, "keys/database.url", "postgresql://kept\n", 18, 0600);
    scratch_write(*state, "keys/mqtt.password", "pw\n", 3, 0600);
    snprintf(text, sizeof(text), "return { var = '%s' }", ((struct scratch *)*state)->path);
    struct config *config = load(state, text);
    assert_string_equal(config->database_url, "postgresql://kept");
    assert_string_equal(config->mqtt_password, "pw");
    assert_string_equal(config->redis_url, "redis://127.0.0.1:6380");
    config_free(config);
    setenv("MQTT_URL", "mqtt://elsewhere", 1); /* another broker has another password */
    config = load(state, text);
    assert_string_equal(config->mqtt_password, "");
    config_free(config);
}

/* A file that is there and cannot be read was passed over. */
static void test_unreadable_file(void **state)
{
    char *error = NULL;
    scratch_write(*state, "plain", "", 0, 0600);
    assert_null(config_load(scratch_path(*state, "plain/otad.lua"), NULL, &error));
    assert_non_null(strstr(error, "plain/otad.lua"));
    free(error);
}

/* Either kept the server from starting, without a word. */
static void test_a_file_without_end(void **state)
{
    refuse(state, "local n = 0\nwhile true do\nn = n + 1\nend\n", "otad.lua:3:", "endless");
    refuse(state, "local function f()\n  return f()\nend\nreturn f()\n", "otad.lua:2:", "endless");
    refuse(state, "local s = 'x' while true do s = s .. s end", "otad.lua", "not enough memory");
    refuse(state, "local t = {} for i = 1, 1e7 do t[i] = {} end", "otad.lua", "not enough memory");
    struct config *config = load(state, "local n = 0 for i = 1, 1e6 do n = n + 1 end return { workers = 2 }");
    assert_int_equal(config->workers, 2);
    config_free(config);
}

/* What the file says is under the project's directory, what a variable says under the user's. */
static void test_home(void **state)
{
    char *error = NULL;
    const char *text = "return { scripts = 'mine', sql = '/srv/sql' }";
    const char *path = scratch_write(*state, "otad.lua", text, strlen(text), 0600);
    struct config *config = config_load(path, "/home/otad", &error);
    assert_non_null(config);
    assert_string_equal(config->scripts, "/home/otad/mine");
    assert_string_equal(config->sql, "/srv/sql");
    assert_string_equal(config->var, "/home/otad/var");
    assert_string_equal(config->console_dir, "/home/otad/plugins/console/dist/browser");
    assert_string_equal(config->auth_jwt_keys, "/home/otad/var/keys/jwt.key");
    config_free(config);
    setenv("OTAD_SCRIPTS", "here", 1);
    setenv("OTAD_VAR", "data", 1);
    config = config_load(path, "/home/otad", &error);
    assert_non_null(config);
    assert_string_equal(config->scripts, "here");
    assert_string_equal(config->firmware_store, "data/firmware");
    config_free(config);
}

static void test_the_site_of_cookies(void **state)
{
    struct config *config = load(state, "return { auth = { cookie_samesite = 'None' } }");
    assert_string_equal(config->auth_cookie_samesite, "None");
    config_free(config);
    refuse(state, "return { auth = { cookie_samesite = 'None; Domain=a' } }", "auth.cookie_samesite",
           "Strict or None");
}

static void test_secrets(void **state)
{
    static const char *const secret[] = {"database.url", "redis.url", "mqtt.url", "mqtt.password"};
    size_t count, found = 0;
    const struct config_key *keys = config_keys(&count);
    for (size_t i = 0; i < count; i++)
        found += keys[i].secret;
    assert_int_equal(found, 4);
    for (size_t i = 0; i < found; i++)
        assert_true(config_find(secret[i])->secret);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_defaults, setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_ports_of_kept_services, setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_each_key_has_a_variable_and_a_help_of_its_own, setup,
                                        scratch_teardown),
        cmocka_unit_test_setup_teardown(test_file, setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_errors_name_file_and_key, setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_boolean_is_no_text, setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_numbers_are_decimal, setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_out_of_range, setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_units, setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_environment, setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_values_from_files, setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_what_conf_up_left, setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_unreadable_file, setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_a_file_without_end, setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_home, setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_the_site_of_cookies, setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_secrets, setup, scratch_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
