#include "../scratch.h"
#include "fleet/signing.h"
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>

#include <cmocka.h>

#define SHA "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

struct vector { /* RFC 8032, 7.1; hex */
    const char *seed, *public, *message, *signature;
};
static const struct vector vectors[] = {
    {"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
     "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
     "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f"
     "0595bbe246"
     "55141438e7a100b"},
    {"4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
     "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
     "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2ea"
     "eb4302aeeb0"
     "0d291612bb0c00"},
    {"c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
     "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
     "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e"
     "9716ed28dc0"
     "27beceea1ec40a"},
};

static size_t unhex(const char *hex, uint8_t *out, size_t size)
{
    size_t len;
    assert_int_equal(sodium_hex2bin(out, size, hex, strlen(hex), NULL, &len, NULL), 0);
    return len;
}

static void base64(const uint8_t *bytes, size_t len, char *out, size_t size)
{
    sodium_bin2base64(out, size, bytes, len, sodium_base64_VARIANT_ORIGINAL);
}

static void test_rfc8032(void **state)
{
    for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
        uint8_t bytes[64], message[8];
        char text[128], file[256], made[SIGNING_SIGNATURE_LEN + 1], *error = NULL;
        struct signing_public public;
        unhex(vectors[i].seed, bytes, sizeof(bytes));
        base64(bytes, 32, text, sizeof(text));
        int len = snprintf(file, sizeof(file), "otad-ed25519-secret-1\n%s\n", text);
        struct signing_key *key =
            signing_key_load(scratch_write(*state, "a.key", file, (size_t)len, 0600), &error);
        assert_non_null(key);
        unhex(vectors[i].public, bytes, sizeof(bytes));
        assert_memory_equal(key->public.bytes, bytes, 32);
        base64(bytes, 32, text, sizeof(text));
        assert_string_equal(key->public.text, text);
        assert_true(
            signing_public_load(scratch_write(*state, "a.pub", text, strlen(text), 0644), &public, &error));
        assert_memory_equal(&public, &key->public, sizeof(public));

        size_t message_len = unhex(vectors[i].message, message, sizeof(message));
        unhex(vectors[i].signature, bytes, sizeof(bytes));
        base64(bytes, 64, text, sizeof(text));
        signing_sign(key, message, message_len, made);
        assert_string_equal(made, text);
        assert_true(signing_verify(&public, message, message_len, made, strlen(made)));
        signing_key_free(key);
    }
}

static struct signing_key *generate(struct scratch *scratch, const char *name, struct signing_public *public)
{
    char path[600], *error = NULL;
    assert_true(signing_generate(scratch_path(scratch, name), public, &error));
    snprintf(path, sizeof(path), "%s.key", scratch_path(scratch, name));
    struct signing_key *key = signing_key_load(path, &error);
    assert_non_null(key);
    return key;
}

static void test_generate(void **state)
{
    struct signing_public one, two, loaded;
    struct stat st;
    char *error = NULL;
    uint8_t digest[32];
    char id[9];
    struct signing_key *key = generate(*state, "one", &one), *other = generate(*state, "two", &two);
    assert_memory_equal(&key->public, &one, sizeof(one));
    assert_memory_not_equal(key->seed, other->seed, 32);
    assert_true(signing_public_load(scratch_path(*state, "one.pub"), &loaded, &error));
    assert_memory_equal(&loaded, &one, sizeof(one));
    crypto_hash_sha256(digest, one.bytes, 32);
    assert_string_equal(one.id, sodium_bin2hex(id, sizeof(id), digest, 4));
    assert_int_equal(stat(scratch_path(*state, "one.key"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(stat(scratch_path(*state, "one.pub"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0644);
    assert_int_equal(st.st_size, 45); /* base64 and a newline */
    signing_key_free(key);
    signing_key_free(other);
}

/* Neither file is ever overwritten, and a half pair does not stay. */
static void test_generate_over_existing(void **state)
{
    struct signing_public public;
    struct stat st;
    char *error = NULL;
    scratch_write(*state, "a.key", "mine", 4, 0600);
    assert_false(signing_generate(scratch_path(*state, "a"), &public, &error));
    assert_non_null(strstr(error, "a.key exists already"));
    free(error);
    assert_int_equal(stat(scratch_path(*state, "a.key"), &st), 0);
    assert_int_equal(st.st_size, 4);
    assert_int_not_equal(stat(scratch_path(*state, "a.pub"), &st), 0);

    scratch_write(*state, "b.pub", "mine", 4, 0644);
    assert_false(signing_generate(scratch_path(*state, "b"), &public, &error));
    assert_non_null(strstr(error, "b.pub exists already"));
    free(error);
    assert_int_equal(stat(scratch_path(*state, "b.pub"), &st), 0);
    assert_int_equal(st.st_size, 4);
    assert_int_not_equal(stat(scratch_path(*state, "b.key"), &st), 0);

    assert_false(signing_generate(scratch_path(*state, "no/such/directory/c"), &public, &error));
    assert_non_null(strstr(error, "No such file"));
    free(error);
}

static void refuse_key(struct scratch *scratch, const char *content, mode_t mode, const char *why)
{
    char *error = NULL;
    assert_null(signing_key_load(scratch_write(scratch, "x.key", content, strlen(content), mode), &error));
    assert_non_null(error);
    assert_non_null(strstr(error, "x.key"));
    if (strstr(error, why) == NULL)
        fail_msg("%s", error);
    free(error);
}

static void test_keys_refused(void **state)
{
#define SEED "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A="
    refuse_key(*state, "otad-ed25519-secret-1\n" SEED "\n", 0640, "chmod 600");
    refuse_key(*state, "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n", 0644, "this is a public key");
    refuse_key(*state, SEED "\n", 0600, "otad keygen");
    refuse_key(*state, "", 0600, "otad keygen");
    refuse_key(*state, "-----BEGIN PRIVATE KEY-----\n", 0600, "otad keygen");
    refuse_key(*state, "otad-ed25519-secret-1\n", 0600, "damaged");
    refuse_key(*state, "otad-ed25519-secret-1\nnWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A\n", 0600,
               "damaged");
    refuse_key(*state, "otad-ed25519-secret-1\nnWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2B=\n", 0600,
               "damaged");
    refuse_key(*state, "otad-ed25519-secret-1\n" SEED "\n" SEED "\n", 0600, "damaged");
    refuse_key(*state, "otad-ed25519-secret-1\nnWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=\n", 0600,
               "damaged");
}

static void refuse_public(struct scratch *scratch, const char *content, const char *why)
{
    struct signing_public public;
    char *error = NULL;
    assert_false(signing_public_load(scratch_write(scratch, "x.pub", content, strlen(content), 0644), &public,
                                     &error));
    if (strstr(error, why) == NULL)
        fail_msg("%s", error);
    free(error);
}

static void test_public_refused(void **state)
{
    refuse_public(*state, "otad-ed25519-secret-1\n" SEED "\n", "secret key");
    refuse_public(*state, "", "base64");
    refuse_public(*state, "AAAA", "base64");
    refuse_public(*state, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "not a sound"); /* of small order */
    refuse_public(*state, "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "not a sound"); /* the identity */
    refuse_public(*state,
                  "AgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "not a sound"); /* not on the curve */
}

static void test_release(void **state)
{
    struct signing_trust trust = {0};
    struct signing_public one, two;
    char message[SIGNING_RELEASE_MAX], signature[SIGNING_SIGNATURE_LEN + 1], list[2048], *error = NULL;
    struct signing_key *key = generate(*state, "one", &one), *other = generate(*state, "two", &two);
    assert_int_equal(signing_release_message("esp32", "1.2.0", SHA, message), 93);
    assert_string_equal(message, "otad-firmware-1\nesp32\n1.2.0\n" SHA "\n");

    strcpy(list, scratch_path(*state, "one.pub"));
    strcat(strcat(list, " , "), scratch_path(*state, "two.pub"));
    assert_true(signing_trust_load(&trust, list, &error));
    signing_trust_add(&trust, &one);
    assert_int_equal(trust.count, 2);

    assert_true(signing_release_sign(other, "esp32", "1.2.0", SHA, signature));
    const struct signing_public *by = signing_release_verify(&trust, "esp32", "1.2.0", SHA, signature, 88);
    assert_non_null(by);
    assert_string_equal(by->id, two.id);

    char wrong[] = SHA;
    wrong[63] = '4';
    assert_null(signing_release_verify(&trust, "esp32s3", "1.2.0", SHA, signature, 88));
    assert_null(signing_release_verify(&trust, "esp32", "1.2.1", SHA, signature, 88));
    assert_null(signing_release_verify(&trust, "esp32", "1.2.0", wrong, signature, 88));
    assert_null(signing_release_verify(&trust, "esp32", "1.2.0", SHA, signature, 87));
    for (size_t i = 0; i < 88; i++) { /* any other character anywhere, the padding included */
        char was = signature[i];
        for (const char *c = "AQz0/+=-_ \n"; *c != '\0'; c++) {
            signature[i] = *c;
            if (*c != was)
                assert_null(signing_release_verify(&trust, "esp32", "1.2.0", SHA, signature, 88));
        }
        signature[i] = was;
    }
    assert_non_null(signing_release_verify(&trust, "esp32", "1.2.0", SHA, signature, 88));

    struct signing_trust nobody = {0}, first = {0};
    assert_true(signing_trust_load(&nobody, "", &error));
    assert_null(signing_release_verify(&nobody, "esp32", "1.2.0", SHA, signature, 88));
    signing_trust_add(&first, &one);
    assert_null(signing_release_verify(&first, "esp32", "1.2.0", SHA, signature, 88));
    assert_false(signing_trust_load(&nobody, "/no/such.pub", &error));
    free(error);
    signing_trust_free(&trust);
    signing_trust_free(&first);
    signing_trust_free(&nobody);
    signing_key_free(key);
    signing_key_free(other);
}

/* Text must not move from one field of the message into another. */
static void test_release_fields(void **state)
{
    char message[SIGNING_RELEASE_MAX], text[130];
    memset(text, 'v', 129);
    text[129] = '\0';
    assert_int_equal(signing_release_message(text, "1", SHA, message), 0);
    text[SIGNING_VERSION_MAX + 1] = '\0';
    assert_int_equal(signing_release_message("esp32", text, SHA, message), 0);
    text[SIGNING_VERSION_MAX] = '\0';
    assert_int_not_equal(signing_release_message(text, text, SHA, message), 0);
    assert_int_equal(signing_release_message("esp32", "1\n2", SHA, message), 0);
    assert_int_equal(signing_release_message("esp32\n1", "2", SHA, message), 0);
    assert_int_equal(signing_release_message("esp32", "1\r", SHA, message), 0);
    assert_int_equal(signing_release_message("", "1", SHA, message), 0);
    assert_int_equal(signing_release_message("esp32", "", SHA, message), 0);
    assert_int_equal(signing_release_message("esp32", "1", "", message), 0);
    assert_int_equal(signing_release_message("esp32", "1", SHA "0", message), 0);
    strcpy(text, SHA);
    text[0] = 'E';
    assert_int_equal(signing_release_message("esp32", "1", text, message), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_rfc8032, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_generate, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_generate_over_existing, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_keys_refused, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_public_refused, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_release, scratch_setup, scratch_teardown),
        cmocka_unit_test(test_release_fields),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
