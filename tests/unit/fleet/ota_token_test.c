#include "fleet/ota_token.h"
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* The form written out, with libsodium's one-shot HMAC. */
static void test_form(void **state)
{
    static const uint8_t secret[32] = "thirty-two bytes of a seed here!";
    struct ota_token_key key;
    uint8_t derived[32], bytes[24] = {0, 0, 0, 0, 0, 0, 1, 17}, mac[32];
    crypto_auth_hmacsha256(derived, (const uint8_t *)"otad ota token", 14, secret);
    crypto_auth_hmacsha256(mac, bytes, 8, derived);
    memcpy(bytes + 8, mac, 16);
    char expected[33], token[OTA_TOKEN_LEN + 1];
    sodium_bin2base64(expected, sizeof(expected), bytes, 24, sodium_base64_VARIANT_URLSAFE_NO_PADDING);

    ota_token_key(&key, secret, sizeof(secret));
    ota_token_make(&key, 273, token);
    assert_string_equal(token, expected);
    assert_int_equal(ota_token_verify(&key, token, 32), 273);
}

static void test_ids(void **state)
{
    static const int64_t ids[] = {1, 2, 255, 256, INT32_MAX, INT64_C(1) << 40, INT64_MAX};
    struct ota_token_key key, other;
    char token[OTA_TOKEN_LEN + 1];
    ota_token_key(&key, "a secret", 8);
    ota_token_key(&other, "a secreT", 8);
    for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
        ota_token_make(&key, ids[i], token);
        assert_true(ota_token_verify(&key, token, 32) == ids[i]);
        assert_int_equal(ota_token_verify(&other, token, 32), 0);
    }
    ota_token_make(&key, 0, token);
    assert_int_equal(ota_token_verify(&key, token, 32), 0);
    ota_token_make(&key, -1, token);
    assert_int_equal(ota_token_verify(&key, token, 32), 0);
}

static void test_altered(void **state)
{
    struct ota_token_key key;
    char token[OTA_TOKEN_LEN + 4], other[OTA_TOKEN_LEN + 1];
    ota_token_key(&key, "a secret", 8);
    ota_token_make(&key, 42, token);
    for (size_t i = 0; i < OTA_TOKEN_LEN; i++) {
        char was = token[i];
        for (unsigned c = 0; c < 256; c++) {
            token[i] = (char)c;
            if (token[i] != was)
                assert_int_equal(ota_token_verify(&key, token, 32), 0);
        }
        token[i] = was;
        assert_int_equal(ota_token_verify(&key, token, i), 0);
    }
    memcpy(token + 32, "===", 3);
    assert_int_equal(ota_token_verify(&key, token, 33), 0);
    assert_int_equal(ota_token_verify(&key, token, 35), 0);
    assert_int_equal(ota_token_verify(&key, token, 32), 42);

    ota_token_make(&key, 43, other); /* another update's tag */
    memcpy(other, token, 11);
    assert_int_equal(ota_token_verify(&key, other, 32), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_form),
        cmocka_unit_test(test_ids),
        cmocka_unit_test(test_altered),
    };
    return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
