/* Secure Boot signatures: made with fresh keys of every kind, then damaged; and real ones of espsecure. */
#include "fleet/secure_boot.h"
#include "make_signature.h"
#include "samples.h"
#include <openssl/err.h>

enum { AT = 4096, TOTAL = AT + SECURE_BOOT_SECTOR };

static uint8_t signed_bytes[MADE_KINDS][TOTAL];

static int make_all(void **state)
{
    for (int kind = 0; kind < MADE_KINDS; kind++) {
        for (int i = 0; i < AT; i++)
            signed_bytes[kind][i] = (uint8_t)(i * 31 + kind);
        made_sector(signed_bytes[kind] + AT, signed_bytes[kind], AT, (enum made_kind)kind);
    }
    return 0;
}

static const char *verify(const uint8_t *data, enum secure_boot_kind *kind, size_t *offset)
{
    const char *why = secure_boot_verify_v2(data, AT, kind, offset);
    assert_int_equal(ERR_peek_error(), 0); /* nothing left for TLS to stumble over */
    return why;
}

static void refused(const uint8_t *data, size_t at, const char *expected)
{
    enum secure_boot_kind kind;
    size_t offset = 0;
    const char *why = verify(data, &kind, &offset);
    assert_non_null(why);
    if (!strstr(why, expected))
        fail_msg("expected \"%s\", got \"%s\"", expected, why);
    assert_int_equal(offset, AT + at);
}

static void names(void **state)
{
    assert_string_equal(secure_boot_name(SECURE_BOOT_NONE), "none");
    assert_string_equal(secure_boot_name(SECURE_BOOT_V1), "secure_boot_v1");
    assert_string_equal(secure_boot_name(SECURE_BOOT_V2_RSA), "secure_boot_v2_rsa");
    assert_string_equal(secure_boot_name(SECURE_BOOT_V2_ECDSA), "secure_boot_v2_ecdsa");
}

static void verifies_every_kind(void **state)
{
    for (int i = 0; i < MADE_KINDS; i++) {
        enum secure_boot_kind kind;
        size_t offset;
        assert_null(verify(signed_bytes[i], &kind, &offset));
        assert_int_equal(kind, i == MADE_RSA ? SECURE_BOOT_V2_RSA : SECURE_BOOT_V2_ECDSA);
    }
}

static void refuses_any_flipped_bit(void **state)
{
    for (int i = 0; i < MADE_KINDS; i++) {
        uint8_t *data = signed_bytes[i];
        for (size_t bit = 0; bit < (size_t)TOTAL * 8; bit += bit < (size_t)AT * 8 ? 61 : 1) {
            enum secure_boot_kind kind;
            size_t offset;
            data[bit / 8] ^= (uint8_t)(1 << bit % 8);
            if (!verify(data, &kind, &offset))
                fail_msg("kind %d: bit %zu went unnoticed", i, bit);
            data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
    }
}

/* The CRC is no secret: whoever alters a block can write a new one. */
static void refuses_damage_with_a_good_crc(void **state)
{
    static const struct {
        enum made_kind kind;
        size_t byte;
        uint8_t flip;
        size_t at;
        const char *why;
    } cases[] = {
        {MADE_RSA, 1, 4, 1, "unknown version"},
        {MADE_RSA, 2, 1, 2, "reserved"},
        {MADE_RSA, 3, 1, 2, "reserved"},
        {MADE_RSA, 4, 1, 4, "digest"},
        {MADE_RSA, 36, 1, 36, "not an RSA-3072 key"},
        {MADE_RSA, 419, 0x80, 36, "not an RSA-3072 key"},
        {MADE_RSA, 100, 1, 812, "does not verify"},
        {MADE_RSA, 420, 2, 812, "does not verify"},
        {MADE_RSA, 812, 1, 812, "does not verify"},
        {MADE_RSA, 1195, 0x80, 812, "does not verify"},
        {MADE_P256, 2, 2, 2, "unknown hash"},
        {MADE_P256, 3, 1, 2, "unknown hash"},
        {MADE_P256, 4, 1, 4, "digest"},
        {MADE_P256, 36, 4, 36, "unknown curve"},
        {MADE_P256, 36, 1, 36, "unknown curve"},
        {MADE_P256, 37, 1, 37, "not a point"},
        {MADE_P256, 101, 1, 101, "does not verify"},
        {MADE_P256, 133, 1, 101, "does not verify"},
        {MADE_P256, 165, 1, 165, "padding within"},
        {MADE_P256, 1195, 1, 165, "padding within"},
        {MADE_P192, 85, 1, 165, "padding within"},
        {MADE_P192, 149, 1, 165, "padding within"},
        {MADE_P192, 37, 1, 37, "not a point"},
        {MADE_P384, 51, 1, 4, "digest"},
        {MADE_P384, 53, 1, 53, "not a point"},
        {MADE_P384, 149, 1, 149, "does not verify"},
        {MADE_P384, 245, 1, 245, "padding within"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint8_t data[TOTAL];
        memcpy(data, signed_bytes[cases[i].kind], TOTAL);
        data[AT + cases[i].byte] ^= cases[i].flip;
        made_crc(data + AT);
        refused(data, cases[i].at, cases[i].why);
    }
    uint8_t data[TOTAL];
    memcpy(data, signed_bytes[MADE_P256], TOTAL);
    data[AT + 2] ^= 1;
    data[AT + 52] =
        9; /* with the longer hash, the curve: else a byte of the key, which may be that of a curve */
    made_crc(data + AT);
    refused(data, 52, "unknown curve");
}

static void refuses_a_signature_of_zeros(void **state)
{
    uint8_t data[TOTAL];
    memcpy(data, signed_bytes[MADE_P256], TOTAL);
    memset(data + AT + 101, 0, 64);
    made_crc(data + AT);
    refused(data, 101, "does not verify");
}

static void refuses_damage_around_the_block(void **state)
{
    uint8_t data[TOTAL];
    memcpy(data, signed_bytes[MADE_RSA], TOTAL);
    data[AT + 1196] ^= 1;
    refused(data, 1196, "CRC");
    data[AT + 1196] ^= 1;
    data[AT + 1200] = 1;
    refused(data, 1200, "behind the signature block");
    data[AT + 1200] = 0;
    data[AT + 1216] = 0;
    refused(data, 1216, "no signature block");
    data[AT + 1216] = 0xFF;
    data[TOTAL - 1] = 0xFE;
    refused(data, 1216, "rest of the signature sector");
    memset(data + AT, 0xFF, SECURE_BOOT_SECTOR);
    refused(data, 0, "no signature block");
}

static void verifies_three_blocks(void **state)
{
    uint8_t data[TOTAL];
    enum secure_boot_kind kind;
    size_t offset;
    memcpy(data, signed_bytes[MADE_P256], TOTAL);
    for (int i = 1; i < 3; i++) {
        EVP_PKEY *key = made_key(MADE_P256);
        made_block(data + AT + i * 1216, data, AT, MADE_P256, key);
        EVP_PKEY_free(key);
        assert_null(verify(data, &kind, &offset));
        assert_int_equal(kind, SECURE_BOOT_V2_ECDSA);
    }
    data[AT + 2 * 1216 + 101] ^= 1; /* one bad block spoils all */
    made_crc(data + AT + 2 * 1216);
    refused(data, 2 * 1216 + 101, "does not verify");
    memset(data + AT + 1216, 0xFF, 1216); /* and so does a gap */
    refused(data, 1216, "rest of the signature sector");
}

static void refuses_mixed_kinds(void **state)
{
    uint8_t data[TOTAL];
    EVP_PKEY *key = made_key(MADE_P256);
    memcpy(data, signed_bytes[MADE_RSA], TOTAL);
    made_block(data + AT + 1216, data, AT, MADE_P256, key);
    EVP_PKEY_free(key);
    refused(data, 1216 + 1, "RSA and ECDSA");
}

static void checks_the_form_of_v1(void **state)
{
    static const uint8_t order[32] = {0xFF, 0xFF, 0xFF, 0xFF, 0,    0,    0,    0,    0xFF, 0xFF, 0xFF,
                                      0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xBC, 0xE6, 0xFA, 0xAD, 0xA7, 0x17,
                                      0x9E, 0x84, 0xF3, 0xB9, 0xCA, 0xC2, 0xFC, 0x63, 0x25, 0x51};
    uint8_t good[68], bad[68];
    size_t offset;
    made_v1(good, (const uint8_t *)"image", 5);
    assert_null(secure_boot_check_v1(good, &offset));
    for (int field = 4; field <= 36; field += 32) {
        memcpy(bad, good, 68);
        memset(bad + field, 0, 32);
        assert_non_null(secure_boot_check_v1(bad, &offset));
        assert_int_equal(offset, field);
        memcpy(bad + field, order, 32);
        assert_non_null(secure_boot_check_v1(bad, &offset));
        assert_int_equal(offset, field);
    }
    memcpy(bad, good, 68);
    bad[0] = 1;
    assert_non_null(secure_boot_check_v1(bad, &offset));
    assert_int_equal(offset, 0);
    int noticed = 0; /* about half of all 256-bit numbers are no x of the curve */
    for (int bit = 0; bit < 256; bit++) {
        memcpy(bad, good, 68);
        bad[4 + bit / 8] ^= (uint8_t)(1 << bit % 8);
        noticed += secure_boot_check_v1(bad, &offset) != NULL;
    }
    assert_in_range(noticed, 64, 192);
    assert_int_equal(ERR_peek_error(), 0);
}

static void verifies_real_signatures(void **state)
{
    static const struct {
        const char *path;
        enum secure_boot_kind kind;
    } files[] = {
        {SAMPLES "signed/bootloader_signed_v2_rsa.bin", SECURE_BOOT_V2_RSA},
        {SAMPLES "signed/bootloader_signed_v2_ecdsa256.bin", SECURE_BOOT_V2_ECDSA},
    };
    for (int i = 0; i < 2; i++) {
        enum secure_boot_kind kind;
        size_t len, offset;
        uint8_t *data = sample(files[i].path, &len);
        assert_null(secure_boot_verify_v2(data, len - SECURE_BOOT_SECTOR, &kind, &offset));
        assert_int_equal(kind, files[i].kind);
        for (size_t bit = 0; bit < len * 8; bit += 997) {
            data[bit / 8] ^= (uint8_t)(1 << bit % 8);
            assert_non_null(secure_boot_verify_v2(data, len - SECURE_BOOT_SECTOR, &kind, &offset));
            data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        free(data);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),
        cmocka_unit_test(verifies_every_kind),
        cmocka_unit_test(refuses_any_flipped_bit),
        cmocka_unit_test(refuses_damage_with_a_good_crc),
        cmocka_unit_test(refuses_a_signature_of_zeros),
        cmocka_unit_test(refuses_damage_around_the_block),
        cmocka_unit_test(verifies_three_blocks),
        cmocka_unit_test(refuses_mixed_kinds),
        cmocka_unit_test(checks_the_form_of_v1),
        cmocka_unit_test(verifies_real_signatures),
    };
    return cmocka_run_group_tests(tests, make_all, NULL);
}
