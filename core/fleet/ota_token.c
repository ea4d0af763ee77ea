/* Download tokens; form and contracts in the header. */
#include "fleet/ota_token.h"
#include <sodium.h>
#include <string.h>

#define ID_LEN 8
#define TAG_LEN 16
#define VARIANT sodium_base64_VARIANT_URLSAFE_NO_PADDING

static void hmac(const void *secret, size_t secret_len, const void *text, size_t len,
                 uint8_t out[crypto_auth_hmacsha256_BYTES])
{
    crypto_auth_hmacsha256_state state;
    crypto_auth_hmacsha256_init(&state, secret, secret_len);
    crypto_auth_hmacsha256_update(&state, text, len);
    crypto_auth_hmacsha256_final(&state, out);
}

void ota_token_key(struct ota_token_key *key, const void *secret, size_t len)
{
    static const char context[] = "otad ota token";
    hmac(secret, len, context, sizeof(context) - 1, key->bytes);
}

void ota_token_make(const struct ota_token_key *key, int64_t update_id, char out[OTA_TOKEN_LEN + 1])
{
    uint8_t bytes[ID_LEN + TAG_LEN], mac[crypto_auth_hmacsha256_BYTES];
    uint64_t id = (uint64_t)update_id;
    for (int i = ID_LEN - 1; i >= 0; i--, id >>= 8)
        bytes[i] = (uint8_t)id;
    hmac(key->bytes, sizeof(key->bytes), bytes, ID_LEN, mac);
    memcpy(bytes + ID_LEN, mac, TAG_LEN);
    sodium_bin2base64(out, OTA_TOKEN_LEN + 1, bytes, sizeof(bytes), VARIANT);
}

int64_t ota_token_verify(const struct ota_token_key *key, const char *token, size_t len)
{
    uint8_t bytes[ID_LEN + TAG_LEN];
    char expected[OTA_TOKEN_LEN + 1];
    uint64_t id = 0;
    size_t got;
    if (len != OTA_TOKEN_LEN ||
        sodium_base642bin(bytes, sizeof(bytes), token, len, NULL, &got, NULL, VARIANT) != 0)
        return 0;
    for (int i = 0; i < ID_LEN; i++)
        id = id << 8 | bytes[i];
    if (id == 0 || id > INT64_MAX)
        return 0;
    ota_token_make(key, (int64_t)id, expected);
    return sodium_memcmp(token, expected, OTA_TOKEN_LEN) == 0 ? (int64_t)id : 0;
}
