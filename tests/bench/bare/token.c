/* HS256 by libsodium, claims by search.
 *
 * The claims are looked for only after the signature has been checked, and their issuer (the driver) writes
 * flat JSON without blanks and without quotes inside strings; so a search for `"name":` finds the claim and
 * nothing else, and no JSON parser is needed. Pure functions, any thread. */
#include "token.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_MAX = 4096, HEADER_MAX = 256, CLAIMS_MAX = 1024 };

bool token_key_read(struct token_key *key, const char *path)
{
    unsigned char bytes[KEY_MAX];
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return false;
    size_t len = fread(bytes, 1, sizeof(bytes), file);
    bool fine = !ferror(file) && len > 0;
    fclose(file);
    if (fine)
        crypto_auth_hmacsha256_init(&key->start, bytes, len);
    sodium_memzero(bytes, sizeof(bytes));
    return fine;
}

/* Decodes into `out`, NUL-terminated, so that it can be searched as a string. */
static bool decode(const char *text, size_t len, char *out, size_t room)
{
    size_t out_len;
    const char *end;
    if (sodium_base642bin((unsigned char *)out, room - 1, text, len, NULL, &out_len, &end,
                          sodium_base64_VARIANT_URLSAFE_NO_PADDING) != 0 ||
        end != text + len)
        return false;
    out[out_len] = '\0';
    return true;
}

static bool find_number(const char *json, const char *name, int64_t *number)
{
    const char *at = strstr(json, name);
    if (at == NULL)
        return false;
    at += strlen(name);
    if (*at == '"') /* `sub` is a string that holds a number */
        at++;
    char *end;
    *number = strtoll(at, &end, 10);
    return end != at;
}

bool token_check(const struct token_key *key, const char *token, size_t len, int64_t now,
                 struct token_claims *claims)
{
    const char *end = token + len;
    const char *payload = memchr(token, '.', len);
    if (payload == NULL)
        return false;
    payload++;
    const char *signature = memchr(payload, '.', (size_t)(end - payload));
    if (signature == NULL)
        return false;
    signature++;

    unsigned char given[crypto_auth_hmacsha256_BYTES];
    size_t given_len;
    if (sodium_base642bin(given, sizeof(given), signature, (size_t)(end - signature), NULL, &given_len, NULL,
                          sodium_base64_VARIANT_URLSAFE_NO_PADDING) != 0 ||
        given_len != sizeof(given))
        return false;
    crypto_auth_hmacsha256_state state = key->start;
    unsigned char right[crypto_auth_hmacsha256_BYTES];
    crypto_auth_hmacsha256_update(&state, (const unsigned char *)token, (size_t)(signature - 1 - token));
    crypto_auth_hmacsha256_final(&state, right);
    if (crypto_verify_32(given, right) != 0)
        return false;

    char header[HEADER_MAX], json[CLAIMS_MAX];
    int64_t expires, user;
    if (!decode(token, (size_t)(payload - 1 - token), header, sizeof(header)) ||
        !decode(payload, (size_t)(signature - 1 - payload), json, sizeof(json)) ||
        strstr(header, "\"alg\":\"HS256\"") == NULL || strstr(json, "\"iss\":\"otad\"") == NULL ||
        strstr(json, "\"aud\":\"otad\"") == NULL || !find_number(json, "\"exp\":", &expires) ||
        expires <= now || !find_number(json, "\"sub\":", &user) || user <= 0 || user > INT32_MAX)
        return false;
    claims->user = (int32_t)user;
    claims->is_operator = strstr(json, "\"role\":\"operator\"") != NULL;
    return true;
}
