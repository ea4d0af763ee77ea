/* ESP32 application images: a small sound one, damaged in every way that has a check. */
#include "fleet/image.h"
#include "make_image.h"
#include "make_signature.h"
#include "samples.h"

static void accepted(const uint8_t *data, size_t len, struct image *out)
{
    struct image_error err = {0};
    if (!image_parse(data, len, out, &err))
        fail_msg("refused: %s at %zu: %s", err.check, err.offset, err.message);
}

/* check NULL: any */
static void refused(const uint8_t *data, size_t len, const char *check, size_t offset)
{
    struct image out;
    struct image_error err = {0};
    assert_false(image_parse(data, len, &out, &err));
    assert_true(err.message[0] != '\0');
    if (check) {
        assert_string_equal(err.check, check);
        assert_int_equal(err.offset, offset);
    }
}

/* Every bit of the len bytes in turn, from `from` on. */
static void flips_refused(uint8_t *data, size_t from, size_t len)
{
    struct image out;
    struct image_error err;
    for (size_t bit = from * 8; bit < len * 8; bit++) {
        data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        if (image_parse(data, len, &out, &err))
            fail_msg("bit %zu of byte %zu went unnoticed", bit % 8, bit / 8);
        data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

static void truncations_refused(const uint8_t *data, size_t len)
{
    for (size_t n = 0; n < len; n++) {
        uint8_t *copy = malloc(n + 1); /* its own block, so that ASan sees a read behind it */
        struct image out;
        struct image_error err;
        memcpy(copy + 1, data, n);
        if (image_parse(copy + 1, n, &out, &err))
            fail_msg("cut to %zu bytes it was accepted", n);
        assert_true(err.offset <= n);
        free(copy);
    }
}

static void reads_every_field(void **state)
{
    uint8_t image[MADE_SIZE], hash[32];
    char hex[65];
    struct image out;
    made_image(image);
    accepted(image, MADE_SIZE, &out);
    assert_string_equal(out.chip, "esp32");
    assert_string_equal(out.version, "1.2.0");
    assert_string_equal(out.project, "demo");
    assert_string_equal(out.idf_version, "v5.2");
    assert_string_equal(out.elf_sha256, "a0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebf");
    assert_int_equal(out.size, MADE_SIZE);
    assert_int_equal(out.secure_version, 7);
    assert_int_equal(out.min_chip_revision, 102);
    assert_int_equal(out.signature_kind, SECURE_BOOT_NONE);
    crypto_hash_sha256(hash, image, MADE_SIZE);
    assert_string_equal(out.sha256, sodium_bin2hex(hex, sizeof(hex), hash, 32));
}

static void knows_every_chip(void **state)
{
    static const char *const names[29] = {
        [0] = "esp32",     [2] = "esp32s2",  [5] = "esp32c3",   [9] = "esp32s3",
        [12] = "esp32c2",  [13] = "esp32c6", [16] = "esp32h2",  [18] = "esp32p4",
        [20] = "esp32c61", [23] = "esp32c5", [25] = "esp32h21", [28] = "esp32h4",
    };
    uint8_t image[MADE_SIZE];
    struct image out;
    made_image(image);
    for (unsigned id = 0; id < 300; id++) {
        image[12] = (uint8_t)id;
        image[13] = (uint8_t)(id >> 8);
        made_seal(image);
        if (id < 29 && names[id]) {
            accepted(image, MADE_SIZE, &out);
            assert_string_equal(out.chip, names[id]);
        } else {
            refused(image, MADE_SIZE, "chip", 12);
        }
    }
}

static void falls_back_to_the_legacy_revision(void **state)
{
    uint8_t image[MADE_SIZE];
    struct image out;
    made_image(image);
    image[14] = 3;
    image[15] = 0;
    made_seal(image);
    accepted(image, MADE_SIZE, &out);
    assert_int_equal(out.min_chip_revision, 300);
    image[12] = 5; /* on the C3 it is the minor one */
    made_seal(image);
    accepted(image, MADE_SIZE, &out);
    assert_int_equal(out.min_chip_revision, 3);
}

static void accepts_any_largest_revision(void **state)
{
    static const uint16_t most[] = {0, 102, 399, 65535};
    uint8_t image[MADE_SIZE];
    struct image out;
    made_image(image);
    for (int i = 0; i < 4; i++) {
        image[17] = (uint8_t)most[i];
        image[18] = (uint8_t)(most[i] >> 8);
        made_seal(image);
        accepted(image, MADE_SIZE, &out);
    }
}

/* Damage that the checksum and the hash agree with. */
static void refuses_wrong_fields(void **state)
{
    static const struct {
        size_t byte;
        uint8_t value;
        const char *check;
        size_t offset;
    } cases[] = {
        {0, 0xE8, "magic", 0},
        {1, 0, "header", 1},
        {1, 17, "header", 1},
        {2, 6, "header", 2},
        {3, 0x23, "header", 3},
        {3, 0x80, "header", 3},
        {12, 1, "chip", 12},
        {13, 1, "chip", 12},
        {16, 2, "header", 17}, /* smallest chip revision 614, largest 399 */
        {19, 1, "header", 19},
        {22, 1, "header", 22},
        {23, 2, "header", 23},
        {MADE_DESCRIPTION, 0x33, "app_desc", MADE_DESCRIPTION},
        {MADE_DESCRIPTION + 3, 0, "app_desc", MADE_DESCRIPTION},
        {MADE_VERSION + 1, 7, "app_desc", MADE_VERSION + 1},
        {MADE_PROJECT, 0xFF, "app_desc", MADE_PROJECT},
        {MADE_IDF + 3, 0x7F, "app_desc", MADE_IDF + 3},
        {28, MADE_FIRST - 256 + 1, "segments", 28}, /* not a multiple of 4 */
        {29, 0, "segments", 28},                    /* too short for the description */
        {31, 1, "segments", 28},                    /* 16 MiB */
        {30, 1, "segments", 32},                    /* longer than the file */
        {1, 3, "segments", MADE_PADDING_AT + 4},    /* the checksum is its length's high byte */
        {MADE_SECOND_AT + 4, MADE_SECOND + 1, "segments", MADE_SECOND_AT + 4},
        {MADE_SECOND_AT + 5, 1, "segments", MADE_SECOND_AT + 8},
        {MADE_PADDING_AT, 1, "checksum", MADE_PADDING_AT},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint8_t image[MADE_SIZE];
        made_image(image);
        image[cases[i].byte] = cases[i].value;
        made_seal(image);
        refused(image, MADE_SIZE, cases[i].check, cases[i].offset);
    }
}

static void refuses_wrong_checksum_and_hash(void **state)
{
    uint8_t image[MADE_SIZE];
    made_image(image);
    image[MADE_END - 1] ^= 1;
    crypto_hash_sha256(image + MADE_END, image, MADE_END);
    refused(image, MADE_SIZE, "checksum", MADE_END - 1);
    made_image(image);
    image[MADE_SIZE - 1] ^= 1;
    refused(image, MADE_SIZE, "hash", MADE_END);
    image[MADE_SIZE - 1] ^= 1;
    image[4] ^= 1; /* the entry address is covered by the hash alone */
    refused(image, MADE_SIZE, "hash", MADE_END);
}

static void text_is_printable_utf8(void **state)
{
    static const struct {
        const char *text;
        int bad; /* offset of the first bad byte, or -1 */
    } cases[] = {
        {"", -1},
        {"v1.0-\xC3\xA9", -1},
        {"\xE2\x82\xAC\xF0\x9F\x9A\x80 ok", -1},
        {"0123456789abcdef0123456789abcdef", -1}, /* no closing NUL */
        {"0123456789abcdef0123456789abcde\xC3", 31},
        {"a\nb", 1},
        {"a\x1B[0m", 1},
        {"ab\x80", 2},
        {"\xC3(", 0},
        {"\xC0\xAF", 0},
        {"\xC2\x85", 0},
        {"\xE0\x80\xAF", 0},
        {"\xED\xA0\x80", 0},
        {"\xF4\x90\x80\x80", 0},
        {"\xF8\x88\x80\x80\x80", 0},
        {"x\xE2\x82", 1},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint8_t image[MADE_SIZE];
        struct image out;
        made_image(image);
        memset(image + MADE_VERSION, 0, 32);
        memcpy(image + MADE_VERSION, cases[i].text, strlen(cases[i].text));
        made_seal(image);
        if (cases[i].bad < 0) {
            accepted(image, MADE_SIZE, &out);
            assert_string_equal(out.version, cases[i].text);
        } else {
            refused(image, MADE_SIZE, "app_desc", MADE_VERSION + (size_t)cases[i].bad);
        }
    }
}

static void a_character_ends_with_its_field(void **state)
{
    uint8_t image[MADE_SIZE];
    made_image(image);
    memset(image + MADE_IDF, 'v', 31);
    image[MADE_IDF + 31] = 0xC3; /* the ELF hash behind it goes on with 0xA0 */
    made_seal(image);
    refused(image, MADE_SIZE, "app_desc", MADE_IDF + 31);
}

static void any_flip_or_cut_is_refused(void **state)
{
    uint8_t image[MADE_SIZE];
    made_image(image);
    flips_refused(image, 0, MADE_SIZE);
    truncations_refused(image, MADE_SIZE);
}

static void only_ff_may_follow(void **state)
{
    uint8_t image[MADE_SIZE + 5000];
    struct image out;
    made_image(image);
    memset(image + MADE_SIZE, 0xFF, 5000);
    accepted(image, MADE_SIZE + 1, &out);
    accepted(image, MADE_SIZE + 5000, &out);
    assert_int_equal(out.size, MADE_SIZE + 5000);
    assert_int_equal(out.signature_kind, SECURE_BOOT_NONE);
    flips_refused(image, MADE_SIZE, MADE_SIZE + 5000);
    image[MADE_SIZE + 4] = 0;
    refused(image, MADE_SIZE + 5000, "trailing", MADE_SIZE + 4);
    memset(image + MADE_SIZE, 0, 5000);
    refused(image, MADE_SIZE + 16, "trailing", MADE_SIZE);
    refused(image, MADE_SIZE + 5000, "signature", MADE_SIZE + 4); /* taken for v1, with r = 0 */
}

static void hash_is_needed(void **state)
{
    uint8_t image[MADE_SIZE + 68];
    made_image(image);
    image[23] = 0;
    refused(image, MADE_END, "hash", 23);
    refused(image, MADE_SIZE, "trailing", MADE_END);
    made_v1(image + MADE_END, image, MADE_END); /* a signature nobody here can verify is no substitute */
    refused(image, MADE_END + 68, "hash", 23);
}

static void v2_signature_is_verified(void **state)
{
    uint8_t image[4096 + 4096 + 16];
    struct image out;
    for (int hashed = 0; hashed < 2; hashed++) {
        made_image(image);
        image[23] = (uint8_t)hashed;
        memset(image + MADE_END, 0xFF, sizeof(image) - MADE_END);
        if (hashed)
            made_seal(image);
        made_sector(image + 4096, image, 4096, hashed ? MADE_RSA : MADE_P256);
        accepted(image, 8192, &out);
        assert_int_equal(out.signature_kind, hashed ? SECURE_BOOT_V2_RSA : SECURE_BOOT_V2_ECDSA);
        flips_refused(image, 0, 8192);
        accepted(image, sizeof(image), &out);
        flips_refused(image, 8192, sizeof(image));
        for (size_t len = 4097; len < 8192; len++)
            refused(image, len, "signature", len);
        image[4096 + 4] ^= 1;
        made_crc(image + 4096);
        refused(image, 8192, "signature", 4096 + 4);
    }
}

static void v1_signature_has_its_form(void **state)
{
    uint8_t image[MADE_SIZE + 84];
    struct image out;
    made_image(image);
    made_v1(image + MADE_SIZE, image, MADE_SIZE);
    accepted(image, MADE_SIZE + 68, &out);
    assert_int_equal(out.signature_kind, SECURE_BOOT_V1);
    flips_refused(image, 0, MADE_SIZE + 4);
    truncations_refused(image, MADE_SIZE);
    for (size_t len = MADE_SIZE + 1; len < MADE_SIZE + 68; len++)
        refused(image, len, "trailing", MADE_SIZE);
    memset(image + MADE_SIZE + 68, 0x5C, 16); /* noise up to 16 bytes, and no more */
    accepted(image, MADE_SIZE + 80, &out);
    assert_int_equal(out.signature_kind, SECURE_BOOT_V1);
    refused(image, MADE_SIZE + 79, "trailing", MADE_SIZE + 68);
    refused(image, MADE_SIZE + 84, "trailing", MADE_SIZE + 68);
    memset(image + MADE_SIZE + 36, 0, 32);
    refused(image, MADE_SIZE + 68, "signature", MADE_SIZE + 36);
    made_v1(image + MADE_SIZE, image, MADE_SIZE);
    image[12] = 9; /* only the ESP32 knows v1 */
    made_seal(image);
    refused(image, MADE_SIZE + 68, "trailing", MADE_SIZE);
}

static void says_what_it_may_be(void **state)
{
    static uint8_t data[0x9000];
    static const struct {
        const char *bytes;
        size_t len;
        const char *check, *hint;
    } cases[] = {
        {"", 0, "size", "empty"},
        {"\xE9", 1, "size", "header"},
        {"\xAA\x50\x00\x00", 4096, "magic", "partition table"},
        {"\xFF\xFF\xFF\xFF", 4096, "magic", "dump of flash"},
        {"\x7F"
         "ELF",
         4096, "magic", "ELF"},
        {"UF2\n", 512, "magic", "UF2"},
        {":10000000", 100, "magic", "Intel HEX"},
        {"\x1F\x8B", 100, "magic", "gzip"},
        {"PK\x03\x04", 100, "magic", "zip"},
        {"\xE7\x02", 4096, "magic", "Secure Boot"},
        {"\x10\xDE\xCD\xFC", 100, "magic", "delta patch"},
        {"\x01xxxxxxxlittlefs", 100, "magic", "LittleFS"},
    };
    struct image out;
    struct image_error err;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        memset(data, 0, sizeof(data));
        memcpy(data, cases[i].bytes, strlen(cases[i].bytes));
        assert_false(image_parse(data, cases[i].len, &out, &err));
        assert_string_equal(err.check, cases[i].check);
        if (!strstr(err.message, cases[i].hint))
            fail_msg("no word of \"%s\" in \"%s\"", cases[i].hint, err.message);
    }
    made_image(data);
    data[MADE_DESCRIPTION] = 0x50;
    assert_false(image_parse(data, sizeof(data), &out, &err));
    assert_string_equal(err.check, "app_desc");
    assert_non_null(strstr(err.message, "bootloader"));
    memcpy(data + 0x8000, "\xAA\x50\x01\x02", 4);
    assert_false(image_parse(data, sizeof(data), &out, &err));
    assert_string_equal(err.check, "app_desc");
    assert_non_null(strstr(err.message, "merged flash image"));
}

static void accepts_real_images(void **state)
{
    static const struct {
        const char *path, *chip, *version, *project;
        enum secure_boot_kind kind;
    } files[] = {
        {"hello_world_esp32.bin", "esp32", "qa-test-esp32c61-master-2025070", "hello_world",
         SECURE_BOOT_NONE},
        {"blink_esp32s2.bin", "esp32s2", "qa-test-v5.0-20220830-4-g4532e6", "blink", SECURE_BOOT_NONE},
        {"signed/hello-world-signed.bin", "esp32", "v3.3-beta3-21-g0706bd0d1-dirty", "hello-world",
         SECURE_BOOT_V1},
    };
    for (int i = 0; i < 3; i++) {
        char path[4096];
        size_t len;
        struct image out;
        struct image_error err;
        snprintf(path, sizeof(path), "%s%s", SAMPLES, files[i].path);
        uint8_t *data = sample(path, &len);
        accepted(data, len, &out);
        assert_string_equal(out.chip, files[i].chip);
        assert_string_equal(out.version, files[i].version);
        assert_string_equal(out.project, files[i].project);
        assert_int_equal(out.signature_kind, files[i].kind);
        assert_int_equal(out.size, len);
        size_t covered = files[i].kind == SECURE_BOOT_V1 ? len - 76 : len;
        for (size_t bit = 0; bit < covered * 8; bit += 2003) {
            data[bit / 8] ^= (uint8_t)(1 << bit % 8);
            assert_false(image_parse(data, len, &out, &err));
            data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        free(data);
    }
}

static void refuses_real_others(void **state)
{
    static const struct {
        const char *path, *check;
    } files[] = {
        {"rejected/bootloader_esp32_v5_2.bin", "app_desc"},
        {"rejected/bootloader_esp32c3.bin", "app_desc"},
        {"rejected/one_kb.bin", "magic"},
        {"rejected/partitions_singleapp.bin", "magic"},
        {"rejected/zerolength.bin", "size"},
        {"signed/bootloader_signed_v2_rsa.bin", "app_desc"},
        {"signed/bootloader_signed_v2_ecdsa256.bin", "app_desc"},
    };
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        char path[4096];
        size_t len;
        struct image out;
        struct image_error err;
        snprintf(path, sizeof(path), "%s%s", SAMPLES, files[i].path);
        uint8_t *data = sample(path, &len);
        assert_false(image_parse(data, len, &out, &err));
        assert_string_equal(err.check, files[i].check);
        free(data);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_every_field),
        cmocka_unit_test(knows_every_chip),
        cmocka_unit_test(falls_back_to_the_legacy_revision),
        cmocka_unit_test(accepts_any_largest_revision),
        cmocka_unit_test(refuses_wrong_fields),
        cmocka_unit_test(refuses_wrong_checksum_and_hash),
        cmocka_unit_test(text_is_printable_utf8),
        cmocka_unit_test(a_character_ends_with_its_field),
        cmocka_unit_test(any_flip_or_cut_is_refused),
        cmocka_unit_test(only_ff_may_follow),
        cmocka_unit_test(hash_is_needed),
        cmocka_unit_test(v2_signature_is_verified),
        cmocka_unit_test(v1_signature_has_its_form),
        cmocka_unit_test(says_what_it_may_be),
        cmocka_unit_test(accepts_real_images),
        cmocka_unit_test(refuses_real_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
