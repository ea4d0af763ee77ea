/* HS256 tokens; contracts in the header.
 *
 * The path of every request: the header is compared with the text we ourselves write for each key (a strict
 * reader stands behind it for the same header written differently), the MAC starts from a state in which the
 * key is already absorbed, and only when it fits are the claims decoded and read in place. */
#include "fleet/jwt.h"
#include "base/file.h"
#include "base/mem.h"
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEYS_MAX 16
#define KEY_MAX_LEN 1024
#define KID_LEN 8
#define MAC_LEN crypto_auth_hmacsha256_BYTES
#define MAC_TEXT_LEN 43 /* 32 bytes in unpadded base64url */
#define VARIANT sodium_base64_VARIANT_URLSAFE_NO_PADDING

struct key {
    crypto_auth_hmacsha256_state state; /* has absorbed the key */
    char kid[KID_LEN + 1];
    char header[64]; /* the header part as we write it */
    size_t header_len;
};

struct jwt_keys {
    size_t count;
    uint8_t sextet[256]; /* of a base64url character; above 63: none */
    struct key key[KEYS_MAX];
};

static const char *const roles[] = {[JWT_USER] = "user", [JWT_OPERATOR] = "operator"};

static const char *const errors[] = {
    [JWT_OK] = "ok",
    [JWT_TOO_LONG] = "token too long",
    [JWT_MALFORMED] = "not a signed token",
    [JWT_HEADER] = "token header not accepted",
    [JWT_ALGORITHM] = "token algorithm not accepted",
    [JWT_UNKNOWN_KEY] = "token signed with an unknown key",
    [JWT_SIGNATURE] = "token signature wrong",
    [JWT_CLAIMS] = "token claims not accepted",
    [JWT_EXPIRED] = "token expired",
    [JWT_NOT_YET] = "token not valid yet",
    [JWT_ISSUER] = "token of another issuer",
    [JWT_AUDIENCE] = "token for another audience",
};

const char *jwt_error_text(enum jwt_error error)
{
    return errors[error];
}

const char *jwt_role_text(enum jwt_role role)
{
    return roles[role];
}

/* -- keys -------------------------------------------------------------------------------------------- */

static const struct key *find_kid(const struct jwt_keys *keys, const char *kid, size_t len)
{
    for (size_t i = 0; len == KID_LEN && i < keys->count; i++)
        if (memcmp(keys->key[i].kid, kid, KID_LEN) == 0)
            return &keys->key[i];
    return NULL;
}

static bool add_key(struct jwt_keys *keys, const char *path, const uint8_t *bytes, size_t len, char **error)
{
    struct key *key = &keys->key[keys->count];
    uint8_t digest[crypto_hash_sha256_BYTES];
    char header[sizeof(key->header)];
    if (len < JWT_MIN_KEY_LEN) {
        *error = x_printf("%s: %zu bytes; a token key has at least %d (make one: head -c 32 /dev/urandom)",
                          path, len, JWT_MIN_KEY_LEN);
        return false;
    }
    if (keys->count == KEYS_MAX) {
        *error = x_printf("%s: more than %d token keys", path, KEYS_MAX);
        return false;
    }
    crypto_hash_sha256(digest, bytes, len);
    sodium_bin2hex(key->kid, sizeof(key->kid), digest, KID_LEN / 2);
    if (find_kid(keys, key->kid, KID_LEN) != NULL) {
        *error = x_printf("%s: the same token key (%s) is listed twice", path, key->kid);
        return false;
    }
    int header_len =
        snprintf(header, sizeof(header), "{\"alg\":\"HS256\",\"typ\":\"JWT\",\"kid\":\"%s\"}", key->kid);
    sodium_bin2base64(key->header, sizeof(key->header), (const uint8_t *)header, (size_t)header_len, VARIANT);
    key->header_len = strlen(key->header);
    crypto_auth_hmacsha256_init(&key->state, bytes, len);
    keys->count++;
    return true;
}

struct jwt_keys *jwt_keys_load(const char *files, char **error)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    uint8_t bytes[KEY_MAX_LEN];
    struct jwt_keys *keys;
    if (sodium_init() < 0 || (keys = sodium_malloc(sizeof(*keys))) == NULL) {
        *error = x_strdup("no memory for token keys");
        return NULL;
    }
    memset(keys, 0, sizeof(*keys));
    memset(keys->sextet, 0xFF, sizeof(keys->sextet));
    for (uint8_t i = 0; i < 64; i++)
        keys->sextet[(uint8_t)alphabet[i]] = i;

    char *list = x_strdup(files), *rest = list, *path;
    bool sound = true;
    while (sound && (path = file_list_next(&rest)) != NULL) {
        ssize_t len = file_load(path, FILE_SECRET, bytes, sizeof(bytes), error);
        sound = len >= 0 && add_key(keys, path, bytes, (size_t)len, error);
    }
    sodium_memzero(bytes, sizeof(bytes));
    free(list);
    if (sound && keys->count == 0) {
        *error = x_strdup("no token key is configured (auth.jwt_keys)");
        sound = false;
    }
    if (!sound) {
        sodium_free(keys);
        return NULL;
    }
    sodium_mprotect_readonly(keys);
    return keys;
}

void jwt_keys_free(struct jwt_keys *keys)
{
    sodium_free(keys);
}

const char *jwt_keys_signing_id(const struct jwt_keys *keys)
{
    return keys->key[0].kid;
}

static void make_mac(const struct key *key, const char *text, size_t len, uint8_t mac[MAC_LEN])
{
    crypto_auth_hmacsha256_state state = key->state;
    crypto_auth_hmacsha256_update(&state, (const uint8_t *)text, len);
    crypto_auth_hmacsha256_final(&state, mac);
}

/* -- reading ----------------------------------------------------------------------------------------- */

/* Canonical, unpadded base64url. Returns the length, or -1. `out` holds 3/4 of len. */
static ssize_t decode(const struct jwt_keys *keys, const char *text, size_t len, char *out)
{
    const uint8_t *in = (const uint8_t *)text, *sextet = keys->sextet;
    char *at = out;
    unsigned seen = 0;
    for (; len >= 4; len -= 4, in += 4) {
        unsigned a = sextet[in[0]], b = sextet[in[1]], c = sextet[in[2]], d = sextet[in[3]];
        seen |= a | b | c | d;
        *at++ = (char)(a << 2 | b >> 4);
        *at++ = (char)(b << 4 | c >> 2);
        *at++ = (char)(c << 6 | d);
    }
    if (len == 1)
        return -1;
    if (len >= 2) {
        unsigned a = sextet[in[0]], b = sextet[in[1]], c = len == 3 ? sextet[in[2]] : 0;
        unsigned unused = len == 3 ? c & 3 : b & 15;
        seen |= a | b | c;
        *at++ = (char)(a << 2 | b >> 4);
        if (len == 3)
            *at++ = (char)(b << 4 | c >> 2);
        if (unused != 0)
            return -1;
    }
    return seen > 63 ? -1 : at - out;
}

struct value {
    const char *text; /* NULL: missing (or a number) */
    size_t len;
    int64_t number; /* -1: missing (or a text) */
};

static const char *skip_space(const char *p, const char *end)
{
    while (p < end && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r'))
        p++;
    return p;
}

/* What a string may hold: printable ASCII that needs no escape. */
static const bool plain[256] = {[' ' ... '!'] = true, ['#' ... '['] = true, [']' ... '~'] = true};

/* Both readers return what follows, or NULL. */
static const char *read_text(const char *p, const char *end, struct value *out)
{
    if (p == end || *p != '"')
        return NULL;
    out->text = ++p;
    while (p < end && plain[(uint8_t)*p])
        p++;
    out->len = (size_t)(p - out->text);
    return p < end && *p == '"' ? p + 1 : NULL;
}

static const char *read_number(const char *p, const char *end, struct value *out)
{
    const char *start = p;
    int64_t number = 0;
    while (p < end && *p >= '0' && *p <= '9' && p - start < 15)
        number = number * 10 + (*p++ - '0');
    if (p == start || (*start == '0' && p - start > 1))
        return NULL;
    out->number = number;
    return p; /* a fraction, an exponent or a longer number meets no comma */
}

static bool equals(const struct value *value, const char *text)
{
    return value->text != NULL && strlen(text) == value->len && memcmp(text, value->text, value->len) == 0;
}

/* A flat object of the named members, the first `texts` of them strings and the others whole numbers. */
static bool read_object(const char *p, size_t len, const char *const *names, size_t count, size_t texts,
                        struct value *values)
{
    const char *end = p + len;
    size_t expected = 0; /* our own tokens have them in the order of `names` */
    for (size_t i = 0; i < count; i++)
        values[i] = (struct value){.number = -1};
    p = skip_space(p, end);
    if (p == end || *p != '{')
        return false;
    do {
        struct value name;
        if ((p = read_text(skip_space(p + 1, end), end, &name)) == NULL)
            return false;
        size_t i = expected < count && equals(&name, names[expected]) ? expected : 0;
        while (i < count && !equals(&name, names[i]))
            i++;
        if (i == count || values[i].text != NULL || values[i].number != -1)
            return false;
        expected = i + 1;
        p = skip_space(p, end);
        if (p == end || *p != ':')
            return false;
        p = skip_space(p + 1, end);
        p = i < texts ? read_text(p, end, &values[i]) : read_number(p, end, &values[i]);
        if (p == NULL)
            return false;
        p = skip_space(p, end);
    } while (p < end && *p == ',');
    return p < end && *p == '}' && skip_space(p + 1, end) == end;
}

/* -- what claims may hold ------------------------------------------------------------------------------ */

bool jwt_text_valid(const char *text)
{
    size_t len = 0;
    while (plain[(uint8_t)text[len]])
        len++;
    return text[len] == '\0' && len >= 1 && len <= 128;
}

static bool valid_uuid(const char *text, size_t len)
{
    if (len != 36)
        return false;
    for (size_t i = 0; i < len; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        bool hex = (text[i] >= '0' && text[i] <= '9') || (text[i] >= 'a' && text[i] <= 'f');
        if (dash ? text[i] != '-' : !hex)
            return false;
    }
    return true;
}

static bool valid_jti(const struct jwt_keys *keys, const char *text, size_t len)
{
    size_t i = 0;
    while (i < len && keys->sextet[(uint8_t)text[i]] < 64)
        i++;
    return i == len && len >= 1 && len < sizeof(((struct jwt_claims *)0)->jti);
}

/* Decimal, canonical, above 0. */
static bool read_user(const struct value *value, int64_t *out)
{
    int64_t id = 0;
    if (value->text == NULL || value->len == 0 || value->text[0] == '0')
        return false;
    for (size_t i = 0; i < value->len; i++) {
        int digit = value->text[i] - '0';
        if (digit < 0 || digit > 9 || __builtin_mul_overflow(id, 10, &id) ||
            __builtin_add_overflow(id, digit, &id))
            return false;
    }
    *out = id;
    return true;
}

static bool read_role(const struct value *value, enum jwt_role *out)
{
    *out = equals(value, roles[JWT_OPERATOR]) ? JWT_OPERATOR : JWT_USER;
    return equals(value, roles[*out]);
}

/* -- tokens ------------------------------------------------------------------------------------------ */

static enum jwt_error find_key(const struct jwt_keys *keys, const char *header, size_t len,
                               const struct key **out)
{
    enum { ALG, TYP, KID, COUNT };
    static const char *const names[] = {"alg", "typ", "kid"};
    char json[JWT_MAX_LEN / 4 * 3];
    struct value values[COUNT];
    for (size_t i = 0; i < keys->count; i++) {
        if (len == keys->key[i].header_len && memcmp(header, keys->key[i].header, len) == 0) {
            *out = &keys->key[i];
            return JWT_OK;
        }
    }
    ssize_t json_len = decode(keys, header, len, json);
    if (json_len < 0)
        return JWT_MALFORMED;
    if (!read_object(json, (size_t)json_len, names, COUNT, COUNT, values))
        return JWT_HEADER;
    if (!equals(&values[ALG], "HS256"))
        return JWT_ALGORITHM;
    if (values[TYP].text != NULL && !equals(&values[TYP], "JWT"))
        return JWT_HEADER;
    *out = values[KID].text == NULL ? NULL : find_kid(keys, values[KID].text, values[KID].len);
    return *out == NULL ? JWT_UNKNOWN_KEY : JWT_OK;
}

static enum jwt_error read_claims(const struct jwt_keys *keys, const char *json, size_t len,
                                  const char *issuer, const char *audience, int64_t now,
                                  struct jwt_claims *out)
{
    enum { ISS, AUD, SUB, ROLE, SID, JTI, IAT, EXP, NBF, COUNT };
    static const char *const names[] = {"iss", "aud", "sub", "role", "sid", "jti", "iat", "exp", "nbf"};
    struct value v[COUNT];
    if (!read_object(json, len, names, COUNT, IAT, v) || v[ISS].text == NULL || v[AUD].text == NULL ||
        !read_user(&v[SUB], &out->sub) || !read_role(&v[ROLE], &out->role) ||
        !valid_uuid(v[SID].text, v[SID].len) || !valid_jti(keys, v[JTI].text, v[JTI].len) ||
        v[IAT].number < 0 || v[EXP].number < 0)
        return JWT_CLAIMS;
    if (!equals(&v[ISS], issuer))
        return JWT_ISSUER;
    if (!equals(&v[AUD], audience))
        return JWT_AUDIENCE;
    if (now >= v[EXP].number)
        return JWT_EXPIRED;
    if (v[IAT].number > now + JWT_LEEWAY || v[NBF].number > now + JWT_LEEWAY)
        return JWT_NOT_YET;
    memcpy(out->sid, v[SID].text, v[SID].len);
    out->sid[v[SID].len] = '\0';
    memcpy(out->jti, v[JTI].text, v[JTI].len);
    out->jti[v[JTI].len] = '\0';
    out->iat = v[IAT].number;
    out->exp = v[EXP].number;
    return JWT_OK;
}

enum jwt_error jwt_verify(const struct jwt_keys *keys, const char *token, size_t len, const char *issuer,
                          const char *audience, int64_t now, struct jwt_claims *out)
{
    char json[JWT_MAX_LEN / 4 * 3];
    uint8_t mac[MAC_LEN];
    const struct key *key;
    if (len > JWT_MAX_LEN)
        return JWT_TOO_LONG;
    const char *end = token + len, *payload = memchr(token, '.', len), *signature;
    if (payload == NULL || (signature = memchr(payload + 1, '.', (size_t)(end - payload - 1))) == NULL)
        return JWT_MALFORMED;
    enum jwt_error error = find_key(keys, token, (size_t)(payload - token), &key);
    if (error != JWT_OK)
        return error;
    payload++;

    make_mac(key, token, (size_t)(signature - token), mac);
    if (end - signature - 1 != MAC_TEXT_LEN || decode(keys, signature + 1, MAC_TEXT_LEN, json) != MAC_LEN ||
        sodium_memcmp(json, mac, MAC_LEN) != 0)
        return JWT_SIGNATURE;
    ssize_t json_len = decode(keys, payload, (size_t)(signature - payload), json);
    if (json_len < 0)
        return JWT_MALFORMED;
    return read_claims(keys, json, (size_t)json_len, issuer, audience, now, out);
}

size_t jwt_sign(const struct jwt_keys *keys, const struct jwt_claims *claims, const char *issuer,
                const char *audience, char *out, size_t size)
{
    const struct key *key = &keys->key[0];
    char json[1024];
    uint8_t mac[MAC_LEN];
    if (!jwt_text_valid(issuer) || !jwt_text_valid(audience) || claims->sub <= 0 || claims->iat < 0 ||
        claims->exp <= claims->iat || claims->exp >= INT64_C(1000000000000000) ||
        !valid_uuid(claims->sid, strnlen(claims->sid, sizeof(claims->sid))) ||
        !valid_jti(keys, claims->jti, strnlen(claims->jti, sizeof(claims->jti))))
        return 0;
    int json_len =
        snprintf(json, sizeof(json),
                 "{\"iss\":\"%s\",\"aud\":\"%s\",\"sub\":\"%" PRId64 "\",\"role\":\"%s\",\"sid\":\"%s\","
                 "\"jti\":\"%s\",\"iat\":%" PRId64 ",\"exp\":%" PRId64 "}",
                 issuer, audience, claims->sub, roles[claims->role], claims->sid, claims->jti, claims->iat,
                 claims->exp);
    size_t payload_len = sodium_base64_encoded_len((size_t)json_len, VARIANT) - 1;
    size_t signed_len = key->header_len + 1 + payload_len;
    if (size < signed_len + 1 + MAC_TEXT_LEN + 1)
        return 0;
    memcpy(out, key->header, key->header_len);
    out[key->header_len] = '.';
    sodium_bin2base64(out + key->header_len + 1, payload_len + 1, (const uint8_t *)json, (size_t)json_len,
                      VARIANT);
    out[signed_len] = '.';
    make_mac(key, out, signed_len, mac);
    sodium_bin2base64(out + signed_len + 1, MAC_TEXT_LEN + 1, mac, sizeof(mac), VARIANT);
    return signed_len + 1 + MAC_TEXT_LEN;
}
