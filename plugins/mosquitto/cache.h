/* A bounded memory of (device id, SHA-256) pairs that expire. The plugin keeps two: the passwords that are
 * good, and the wrong ones tried lately. Memory is fixed at the start; what does not fit displaces what
 * would expire first among the same bucket's four places. All pairs of one id share a bucket, so that guesses
 * at one device displace little else. Times are milliseconds of a monotonic clock. One thread. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HASH_BYTES = 32 };

struct cache;

struct cache *cache_new(size_t pairs); /* rounded up to a power of two, at least 4 */
void cache_free(struct cache *cache);

bool cache_has(const struct cache *cache, int32_t id, const uint8_t hash[HASH_BYTES], uint64_t now);
void cache_put(struct cache *cache, int32_t id, const uint8_t hash[HASH_BYTES], uint64_t until);
void cache_drop(struct cache *cache, int32_t id); /* every pair of this id */
void cache_clear(struct cache *cache);
