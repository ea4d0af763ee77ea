/* Tokens that were verified lately: a client sends the same one with each request, and checking its signature
 * costs more than finding it here. One per worker; fixed size, the newest of a slot stays. Whether a session
 * has been revoked is never kept here. */
#pragma once
#include "fleet/jwt.h"

struct jwt_cache;

struct jwt_cache *jwt_cache_new(const struct jwt_keys *keys, const char *issuer, const char *audience);
void jwt_cache_free(struct jwt_cache *cache);

/* As jwt_verify(), with what the cache was made for. */
enum jwt_error jwt_cache_verify(struct jwt_cache *cache, const char *token, size_t len, int64_t now,
                                struct jwt_claims *out) __attribute__((warn_unused_result));
