/* Ed25519 keys and signatures: offers are signed with the manifest key, images with a release key.
 *
 * Keys are loaded at start and immutable after; any thread may then sign and verify. A secret key lives in a
 * guarded page that core files leave out. Files, as `otad keygen --out NAME` writes them:
 *   NAME.key  mode 0600, two lines: "otad-ed25519-secret-1" and the 32-byte seed in base64
 *   NAME.pub  one line: the 32-byte public key in base64
 * The first line keeps a .pub from being taken for a .key. Base64 is the standard one, padded. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SIGNING_SIGNATURE_LEN 88 /* characters of a signature in base64 */
#define SIGNING_RELEASE_MAX 512  /* bytes that hold any release message */

struct signing_public {
    uint8_t bytes[32];
    char text[45]; /* base64 of bytes */
    char id[9];    /* first 8 hex digits of the SHA-256 of bytes */
};

struct signing_key {
    struct signing_public public;
    uint8_t seed[32];
    uint8_t secret[64]; /* libsodium's form: seed and public key */
};

/* All return NULL or false and set *error (owned by the caller) to a text that names the file. */
struct signing_key *signing_key_load(const char *path, char **error) __attribute__((warn_unused_result));
void signing_key_free(struct signing_key *key);
bool signing_public_load(const char *path, struct signing_public *out, char **error)
    __attribute__((warn_unused_result));
/* Makes a key pair and writes NAME.key and NAME.pub, durably; an existing file is never touched, and on
 * failure nothing new is left. */
bool signing_generate(const char *name, struct signing_public *out, char **error)
    __attribute__((warn_unused_result));

void signing_sign(const struct signing_key *key, const void *message, size_t len,
                  char out[SIGNING_SIGNATURE_LEN + 1]);
/* `signature` in canonical base64. */
bool signing_verify(const struct signing_public *key, const void *message, size_t len, const char *signature,
                    size_t signature_len) __attribute__((warn_unused_result));

/* The public keys trusted for firmware. Zero-initialized: nobody. Grown at start only. */
struct signing_trust {
    struct signing_public *keys;
    size_t count;
};
/* Adds the keys of a comma-separated list of .pub files; an empty list adds none. */
bool signing_trust_load(struct signing_trust *trust, const char *files, char **error)
    __attribute__((warn_unused_result));
void signing_trust_add(struct signing_trust *trust,
                       const struct signing_public *key); /* once there: nothing */
void signing_trust_free(struct signing_trust *trust);

enum { SIGNING_VERSION_MAX = 50 }; /* bytes: as devices take it, and the API */

/* What a release signature covers: "otad-firmware-1\n<chip>\n<version>\n<sha256>\n". Returns its length, or 0
 * where a field is empty, too long (version: SIGNING_VERSION_MAX; chip: 128 bytes) or holds a control
 * character, or sha256 is not 64 lower-case hex. */
size_t signing_release_message(const char *chip, const char *version, const char *sha256,
                               char out[SIGNING_RELEASE_MAX]) __attribute__((warn_unused_result));
/* Signs it; false where there is no such message. */
bool signing_release_sign(const struct signing_key *key, const char *chip, const char *version,
                          const char *sha256, char out[SIGNING_SIGNATURE_LEN + 1])
    __attribute__((warn_unused_result));
/* The trusted key that made the signature, or NULL. */
const struct signing_public *signing_release_verify(const struct signing_trust *trust, const char *chip,
                                                    const char *version, const char *sha256,
                                                    const char *signature, size_t signature_len)
    __attribute__((warn_unused_result));
