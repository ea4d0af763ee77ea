/* otad keygen and otad sign as a user meets them: exit codes, what is printed where, and that the signature
 * is one the server takes. */
#include "../fleet/make_image.h"
#include "../scratch.h"
#include "cli/cli.h"
#include "fleet/signing.h"
#include <setjmp.h>
#include <stdarg.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char out[8192], err[8192];

static void read_back(struct scratch *scratch, const char *name, char *text)
{
    FILE *file = fopen(scratch_path(scratch, name), "r");
    assert_non_null(file);
    text[fread(text, 1, sizeof(out) - 1, file)] = '\0';
    fclose(file);
}

/* In a child, inside the scratch directory, so that names can be short. */
#define run(scratch, command, ...)                                                                           \
    run_command(scratch, command, (char *[]){#command, __VA_ARGS__ __VA_OPT__(, ) NULL})
static int run_command(struct scratch *scratch, int (*command)(int argc, char **argv), char **argv)
{
    int argc = 0, status;
    while (argv[argc] != NULL)
        argc++;
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        if (chdir(scratch->path) != 0 || freopen("out", "w", stdout) == NULL ||
            freopen("err", "w", stderr) == NULL)
            _exit(99);
        int code = command(argc, argv);
        fflush(NULL);
        _exit(code);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    read_back(scratch, "out", out);
    read_back(scratch, "err", err);
    return WEXITSTATUS(status);
}

static void says(const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        fail_msg("no \"%s\" in \"%s\"", part, text);
}

static void test_keygen(void **state)
{
    struct signing_public public;
    char *error = NULL;
    assert_int_equal(run(*state, cli_keygen, "--out", "release"), 0);
    assert_string_equal(err, "");
    struct stat info;
    assert_int_equal(stat(scratch_path(*state, "release.key"), &info), 0);
    assert_int_equal(info.st_mode & 07777, 0600);
    assert_true(signing_public_load(scratch_path(*state, "release.pub"), &public, &error));
    says(out, "release.key");
    says(out, public.text);
    says(out, public.id);
    assert_int_equal(run(*state, cli_keygen, "--out", "release"), 1);
    assert_string_equal(out, "");
    says(err, "release.key exists already and is not overwritten");
    assert_int_equal(run(*state, cli_keygen, "--out=none/release"), 1);
    says(err, "No such file");
}

static void test_usage(void **state)
{
    assert_int_equal(run(*state, cli_keygen, "--help"), 0);
    says(out, "usage: otad keygen");
    assert_int_equal(run(*state, cli_keygen), 2);
    assert_string_equal(out, "");
    says(err, "usage: otad keygen");
    assert_int_equal(run(*state, cli_keygen, "--out"), 2);
    says(err, "--out needs a value");
    assert_int_equal(run(*state, cli_keygen, "--outt", "x"), 2);
    says(err, "--outt is not an option");
    assert_int_equal(run(*state, cli_keygen, "--out", "x", "y"), 2);
    assert_int_equal(run(*state, cli_keygen, "--out", ""), 2);

    assert_int_equal(run(*state, cli_sign, "--help"), 0);
    says(out, "usage: otad sign");
    assert_int_equal(run(*state, cli_sign, "x.bin"), 2);
    says(err, "--key is missing");
    assert_int_equal(run(*state, cli_sign, "--key", "x.key"), 2);
    says(err, "name one image file");
    assert_int_equal(run(*state, cli_sign, "--key", "x.key", "a", "b"), 2);
    assert_int_equal(run(*state, cli_sign, "--key", "x.key", "--version"), 2);
    says(err, "--version needs a value");
    assert_int_equal(run(*state, cli_sign, "-z"), 2);
    says(err, "-z is not an option");
}

static void signature_is(struct scratch *scratch, const char *version, const uint8_t image[MADE_SIZE])
{
    struct signing_trust trust = {0};
    uint8_t digest[32];
    char hex[65], *error = NULL;
    crypto_hash_sha256(digest, image, MADE_SIZE);
    sodium_bin2hex(hex, sizeof(hex), digest, 32);
    assert_true(signing_trust_load(&trust, scratch_path(scratch, "release.pub"), &error));
    assert_string_equal(err, "");
    assert_int_equal(strlen(out), SIGNING_SIGNATURE_LEN + 1);
    assert_int_equal(out[SIGNING_SIGNATURE_LEN], '\n');
    assert_non_null(signing_release_verify(&trust, "esp32", version, hex, out, SIGNING_SIGNATURE_LEN));
    signing_trust_free(&trust);
}

static void test_sign(void **state)
{
    uint8_t image[MADE_SIZE];
    made_image(image);
    scratch_write(*state, "a.bin", image, MADE_SIZE, 0644);
    assert_int_equal(run(*state, cli_keygen, "--out", "release"), 0);
    assert_int_equal(run(*state, cli_sign, "--key", "release.key", "a.bin"), 0);
    signature_is(*state, "1.2.0", image);
    assert_int_equal(run(*state, cli_sign, "a.bin", "--version", "2.0-rc1", "--key=release.key"), 0);
    signature_is(*state, "2.0-rc1", image);

    memset(image + MADE_VERSION, 0, 32);
    made_seal(image);
    scratch_write(*state, "b.bin", image, MADE_SIZE, 0644);
    assert_int_equal(run(*state, cli_sign, "--key", "release.key", "b.bin"), 1);
    assert_string_equal(out, "");
    says(err, "--version");
    assert_int_equal(run(*state, cli_sign, "--key", "release.key", "--version", "3", "b.bin"), 0);
    signature_is(*state, "3", image);
}

static void test_sign_refused(void **state)
{
    uint8_t image[MADE_SIZE];
    made_image(image);
    scratch_write(*state, "a.bin", image, MADE_SIZE, 0644);
    image[100] ^= 1;
    scratch_write(*state, "damaged.bin", image, MADE_SIZE, 0644);
    assert_int_equal(run(*state, cli_keygen, "--out", "release"), 0);
    assert_int_equal(run(*state, cli_sign, "--key", "release.key", "damaged.bin"), 1);
    assert_string_equal(out, "");
    says(err, "damaged.bin: not a sound ESP32 application image");
    assert_int_equal(run(*state, cli_sign, "--key", "release.key", "none.bin"), 1);
    says(err, "none.bin: No such file");
    assert_int_equal(run(*state, cli_sign, "--key", "release.pub", "a.bin"), 1);
    says(err, "release.pub: this is a public key");
    assert_int_equal(run(*state, cli_sign, "--key", "none.key", "a.bin"), 1);
    says(err, "none.key: No such file");
    assert_int_equal(run(*state, cli_sign, "--key", "release.key", "--version", "", "a.bin"), 1);
    says(err, "1 to 50 bytes");
    assert_int_equal(run(*state, cli_sign, "--key", "release.key", "--version",
                         "123456789012345678901234567890123456789012345678901", "a.bin"),
                     1);
    says(err, "1 to 50 bytes");
    assert_int_equal(run(*state, cli_sign, "--key", "release.key", "--version", "1\n2", "a.bin"), 1);
    assert_string_equal(out, "");
    assert_int_equal(chmod(scratch_path(*state, "release.key"), 0644), 0);
    assert_int_equal(run(*state, cli_sign, "--key", "release.key", "a.bin"), 1);
    says(err, "chmod 600 release.key");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)
    const struct CMUnitTest tests[] = {TEST(test_keygen), TEST(test_usage), TEST(test_sign),
                                       TEST(test_sign_refused)};
    return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
