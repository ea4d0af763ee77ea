/* Access tokens: JSON Web Tokens (RFC 7519) signed with HMAC-SHA256 (RFC 7515, "HS256"), and nothing else.
 *
 * Keys are loaded once at start into a guarded, read-only page that core files leave out; after that every
 * function here may be called by any thread, allocates nothing and never blocks. A token is foreign text: it
 * is read strictly. What a token of ours looks like:
 *   header {"alg":"HS256","typ":"JWT","kid":"<8 hex>"}   (any order, `typ` may be missing, nothing else)
 *   claims iss aud sub(decimal string) role sid(uuid) jti iat exp, optionally nbf, nothing else; flat, no
 *   duplicates, strings of printable ASCII without escapes, times as whole seconds since 1970 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JWT_MAX_LEN 4096   /* a longer token is refused unread */
#define JWT_LEEWAY 60      /* seconds that another instance's clock may be ahead */
#define JWT_MIN_KEY_LEN 32 /* bytes */

enum jwt_role { JWT_USER, JWT_OPERATOR };

struct jwt_claims {
    int64_t sub; /* user id, above 0 */
    enum jwt_role role;
    char sid[37]; /* session: lower-case UUID */
    char jti[65]; /* 1..64 of A-Za-z0-9_- */
    int64_t iat, exp;
};

enum jwt_error {
    JWT_OK,
    JWT_TOO_LONG,
    JWT_MALFORMED, /* not three parts of canonical, unpadded base64url */
    JWT_HEADER,    /* not a flat object of alg, typ and kid */
    JWT_ALGORITHM, /* anything but HS256 */
    JWT_UNKNOWN_KEY,
    JWT_SIGNATURE,
    JWT_CLAIMS, /* missing, duplicate, unknown or ill-formed */
    JWT_EXPIRED,
    JWT_NOT_YET, /* iat or nbf lies ahead */
    JWT_ISSUER,
    JWT_AUDIENCE,
};
const char *jwt_error_text(enum jwt_error error);
const char *jwt_role_text(enum jwt_role role);

struct jwt_keys;

/* Loads a comma-separated list of files whose raw bytes (no newline is taken off) are the keys: the first
 * signs, all verify. NULL and *error (owned by the caller) where a file cannot be read, is open to others
 * (file_load), is shorter than JWT_MIN_KEY_LEN, or two have the same kid. */
struct jwt_keys *jwt_keys_load(const char *files, char **error) __attribute__((warn_unused_result));
void jwt_keys_free(struct jwt_keys *keys);
/* First 8 hex digits of the SHA-256 of the signing key's bytes. */
const char *jwt_keys_signing_id(const struct jwt_keys *keys);

/* Whether an issuer or audience can stand in a token: 1..128 printable ASCII characters but for " and \. */
bool jwt_text_valid(const char *text);

/* Checks everything and fills *out; `now` in seconds since 1970. *out is undefined unless JWT_OK. A token is
 * good while now < exp. Whether its session has ended (sid, jti) is for the caller to ask. */
enum jwt_error jwt_verify(const struct jwt_keys *keys, const char *token, size_t len, const char *issuer,
                          const char *audience, int64_t now, struct jwt_claims *out)
    __attribute__((warn_unused_result));

/* Writes a token and a NUL; returns its length, or 0 where `size` is too small or jwt_verify could never
 * take it (claims or texts out of their bounds). 1,024 bytes are always enough. */
size_t jwt_sign(const struct jwt_keys *keys, const struct jwt_claims *claims, const char *issuer,
                const char *audience, char *out, size_t size) __attribute__((warn_unused_result));
