/* The token in `GET /ota/<token>`: names one update, the same each time it is made, and cannot be guessed.
 *
 *   base64url( update id, u64 big-endian | first 16 bytes of HMAC-SHA256(key, those 8 bytes) )
 *
 * 24 bytes, so 32 characters without padding, and only one spelling of each. A token alone grants nothing:
 * whether its update is still under way is for the caller to ask. The key is derived from a secret that all
 * instances share and that outlives updates (the manifest key's seed): with another secret every URL handed
 * out ends. Immutable after ota_token_key; any thread; no allocation. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OTA_TOKEN_LEN 32

struct ota_token_key {
    uint8_t bytes[32];
};

/* HMAC-SHA256(secret, "otad ota token"). */
void ota_token_key(struct ota_token_key *key, const void *secret, size_t len);

/* update_id above 0. */
void ota_token_make(const struct ota_token_key *key, int64_t update_id, char out[OTA_TOKEN_LEN + 1]);

/* The update a token was made for, or 0: not one of ours. */
int64_t ota_token_verify(const struct ota_token_key *key, const char *token, size_t len)
    __attribute__((warn_unused_result));
