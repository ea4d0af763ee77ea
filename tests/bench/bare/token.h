/* Access tokens as the contract describes them (JWT, HS256), for the bare program. */
#pragma once
#include <sodium.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The key's half of the HMAC, computed once: a copy of it starts each check. */
struct token_key {
    crypto_auth_hmacsha256_state start;
};

struct token_claims {
    int32_t user;
    bool is_operator;
};

/* The key is the bytes of the file; false with errno set if they cannot be read. */
bool token_key_read(struct token_key *key, const char *path);

/* False: not HS256, wrong signature, issuer or audience, expired at `now` (Unix seconds), or malformed. */
bool token_check(const struct token_key *key, const char *token, size_t len, int64_t now,
                 struct token_claims *claims);
