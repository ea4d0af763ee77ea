/* Ed25519 by libsodium; contracts and file forms in the header. No state of its own.
 *
 * libsodium's verification refuses small-order keys and non-canonical signatures; signing_public_load refuses
 * such keys already at start, so that a bad file is found there and not at the first upload. */
#include "fleet/signing.h"
#include "base/file.h"
#include "base/mem.h"
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEY_HEADER "otad-ed25519-secret-1\n"
#define KEY_HEADER_LEN (sizeof(KEY_HEADER) - 1)
#define VARIANT sodium_base64_VARIANT_ORIGINAL
#define TEXT_LEN 44 /* 32 bytes in base64 */

/* Exactly `size` bytes in canonical base64. */
static bool decode(const char *text, size_t len, uint8_t *out, size_t size)
{
    size_t got;
    return len == sodium_base64_encoded_len(size, VARIANT) - 1 &&
           sodium_base642bin(out, size, text, len, NULL, &got, NULL, VARIANT) == 0 && got == size;
}

static void fill_public(struct signing_public *public, const uint8_t bytes[32])
{
    uint8_t digest[crypto_hash_sha256_BYTES];
    memmove(public->bytes, bytes, sizeof(public->bytes));
    sodium_bin2base64(public->text, sizeof(public->text), public->bytes, sizeof(public->bytes), VARIANT);
    crypto_hash_sha256(digest, public->bytes, sizeof(public->bytes));
    sodium_bin2hex(public->id, sizeof(public->id), digest, 4);
}

static struct signing_key *key_new(const uint8_t seed[32])
{
    struct signing_key *key = sodium_malloc(sizeof(*key));
    uint8_t public[32];
    if (key == NULL)
        return NULL;
    memcpy(key->seed, seed, sizeof(key->seed));
    crypto_sign_seed_keypair(public, key->secret, key->seed);
    fill_public(&key->public, public);
    sodium_mprotect_readonly(key);
    return key;
}

/* Length of the text less its line end. */
static size_t line_length(const char *text, size_t len)
{
    while (len != 0 && (text[len - 1] == '\n' || text[len - 1] == '\r'))
        len--;
    return len;
}

struct signing_key *signing_key_load(const char *path, char **error)
{
    char text[256];
    uint8_t seed[32];
    struct signing_public public;
    struct signing_key *key = NULL;
    if (signing_public_load(path, &public,
                            error)) { /* first: to such a file, chmod 600 would be wrong advice */
        *error = x_printf("%s: this is a public key; the secret one is its .key file", path);
        return NULL;
    }
    free(*error);
    ssize_t got = file_load(path, FILE_SECRET, text, sizeof(text), error);
    if (got < 0)
        return NULL;
    size_t len = (size_t)got;
    if (len < KEY_HEADER_LEN || memcmp(text, KEY_HEADER, KEY_HEADER_LEN) != 0)
        *error = x_printf("%s: not a signing key of otad (make one: otad keygen --out NAME)", path);
    else if (!decode(text + KEY_HEADER_LEN, line_length(text + KEY_HEADER_LEN, len - KEY_HEADER_LEN), seed,
                     sizeof(seed)))
        *error = x_printf("%s: damaged: its second line is not a 32-byte key in base64", path);
    else if ((key = key_new(seed)) == NULL)
        *error = x_printf("%s: no memory for the key", path);
    sodium_memzero(text, sizeof(text));
    sodium_memzero(seed, sizeof(seed));
    return key;
}

void signing_key_free(struct signing_key *key)
{
    sodium_free(key);
}

bool signing_public_load(const char *path, struct signing_public *out, char **error)
{
    char text[256];
    uint8_t bytes[32];
    if (sodium_init() < 0) {
        *error = x_strdup("libsodium does not start");
        return false;
    }
    ssize_t got = file_load(path, FILE_PUBLIC, text, sizeof(text), error);
    if (got < 0)
        return false;
    bool sound = decode(text, line_length(text, (size_t)got), bytes, sizeof(bytes));
    if (!sound && (size_t)got >= KEY_HEADER_LEN && memcmp(text, KEY_HEADER, KEY_HEADER_LEN) == 0)
        *error = x_printf("%s: this is a secret key; list its .pub file instead", path);
    else if (!sound)
        *error = x_printf("%s: not a 32-byte public key in base64", path);
    else if (!(sound = crypto_core_ed25519_is_valid_point(bytes) == 1))
        *error = x_printf("%s: not a sound Ed25519 public key", path);
    else
        fill_public(out, bytes);
    sodium_memzero(text, sizeof(text));
    return sound;
}

/* A new file with this content, or nothing and *error. */
static bool write_new(const char *path, mode_t mode, const char *text, char **error)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
    if (fd < 0) {
        *error = errno == EEXIST ? x_printf("%s exists already and is not overwritten", path)
                                 : x_printf("%s: %m", path);
        return false;
    }
    bool written = fchmod(fd, mode) == 0 && file_write(fd, text, strlen(text)) && fsync(fd) == 0;
    int saved = errno;
    if (close(fd) != 0 && written) {
        saved = errno;
        written = false;
    }
    if (written && !(written = file_sync_parent(path)))
        saved = errno;
    if (!written) {
        unlink(path);
        errno = saved;
        *error = x_printf("%s: %m", path);
    }
    return written;
}

bool signing_generate(const char *name, struct signing_public *out, char **error)
{
    uint8_t seed[32], secret[64], public[32];
    char seed_text[TEXT_LEN + 1], text[sizeof(KEY_HEADER) + TEXT_LEN + 1];
    if (sodium_init() < 0) {
        *error = x_strdup("libsodium does not start");
        return false;
    }
    char *key_path = x_printf("%s.key", name), *public_path = x_printf("%s.pub", name);
    randombytes_buf(seed, sizeof(seed));
    crypto_sign_seed_keypair(public, secret, seed);
    fill_public(out, public);

    sodium_bin2base64(seed_text, sizeof(seed_text), seed, sizeof(seed), VARIANT);
    snprintf(text, sizeof(text), "%s%s\n", KEY_HEADER, seed_text);
    bool written = write_new(key_path, 0600, text, error);
    if (written) {
        snprintf(text, sizeof(text), "%s\n", out->text);
        written = write_new(public_path, 0644, text, error);
        if (!written)
            unlink(key_path);
    }
    sodium_memzero(seed, sizeof(seed));
    sodium_memzero(secret, sizeof(secret));
    sodium_memzero(seed_text, sizeof(seed_text));
    sodium_memzero(text, sizeof(text));
    free(key_path);
    free(public_path);
    return written;
}

void signing_sign(const struct signing_key *key, const void *message, size_t len,
                  char out[SIGNING_SIGNATURE_LEN + 1])
{
    uint8_t signature[crypto_sign_BYTES];
    crypto_sign_detached(signature, NULL, message, len, key->secret);
    sodium_bin2base64(out, SIGNING_SIGNATURE_LEN + 1, signature, sizeof(signature), VARIANT);
}

bool signing_verify(const struct signing_public *key, const void *message, size_t len, const char *signature,
                    size_t signature_len)
{
    uint8_t bytes[crypto_sign_BYTES];
    return decode(signature, signature_len, bytes, sizeof(bytes)) &&
           crypto_sign_verify_detached(bytes, message, len, key->bytes) == 0;
}

bool signing_trust_load(struct signing_trust *trust, const char *files, char **error)
{
    char *list = x_strdup(files), *rest = list, *path;
    struct signing_public key;
    bool sound = true;
    while (sound && (path = file_list_next(&rest)) != NULL)
        if ((sound = signing_public_load(path, &key, error)))
            signing_trust_add(trust, &key);
    free(list);
    return sound;
}

void signing_trust_add(struct signing_trust *trust, const struct signing_public *key)
{
    for (size_t i = 0; i < trust->count; i++)
        if (memcmp(trust->keys[i].bytes, key->bytes, sizeof(key->bytes)) == 0)
            return;
    trust->keys = x_realloc(trust->keys, (trust->count + 1) * sizeof(*trust->keys));
    trust->keys[trust->count++] = *key;
}

void signing_trust_free(struct signing_trust *trust)
{
    free(trust->keys);
    *trust = (struct signing_trust){0};
}

/* One line of a release message: a line end inside could move text from one field into the next. */
static bool valid_field(const char *text, size_t most)
{
    size_t len = strnlen(text, most + 1);
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
            return false;
    return len >= 1 && len <= most;
}

size_t signing_release_message(const char *chip, const char *version, const char *sha256,
                               char out[SIGNING_RELEASE_MAX])
{
    if (!valid_field(chip, 128) || !valid_field(version, SIGNING_VERSION_MAX) || strlen(sha256) != 64 ||
        strspn(sha256, "0123456789abcdef") != 64)
        return 0;
    return (size_t)snprintf(out, SIGNING_RELEASE_MAX, "otad-firmware-1\n%s\n%s\n%s\n", chip, version, sha256);
}

bool signing_release_sign(const struct signing_key *key, const char *chip, const char *version,
                          const char *sha256, char out[SIGNING_SIGNATURE_LEN + 1])
{
    char message[SIGNING_RELEASE_MAX];
    size_t len = signing_release_message(chip, version, sha256, message);
    if (len != 0)
        signing_sign(key, message, len, out);
    return len != 0;
}

const struct signing_public *signing_release_verify(const struct signing_trust *trust, const char *chip,
                                                    const char *version, const char *sha256,
                                                    const char *signature, size_t signature_len)
{
    char message[SIGNING_RELEASE_MAX];
    size_t len = signing_release_message(chip, version, sha256, message);
    for (size_t i = 0; len != 0 && i < trust->count; i++)
        if (signing_verify(&trust->keys[i], message, len, signature, signature_len))
            return &trust->keys[i];
    return NULL;
}
