#include "cache.h"
#include "base/mem.h"
#include <stdlib.h>
#include <string.h>

enum { WAYS = 4 };

struct pair {
    uint64_t until; /* 0: free */
    int32_t id;
    uint8_t hash[HASH_BYTES];
};

struct cache {
    size_t buckets; /* a power of two */
    struct pair *pairs;
};

static struct pair *bucket_of(const struct cache *cache, int32_t id)
{
    /* Fibonacci hashing spreads consecutive ids. */
    size_t slot = ((uint32_t)id * UINT32_C(2654435769)) >> 7;
    return &cache->pairs[(slot & (cache->buckets - 1)) * WAYS];
}

struct cache *cache_new(size_t pairs)
{
    struct cache *cache = x_new(struct cache);
    cache->buckets = 1;
    while (cache->buckets * WAYS < pairs)
        cache->buckets *= 2;
    cache->pairs = x_alloc(cache->buckets * WAYS * sizeof(*cache->pairs));
    return cache;
}

void cache_free(struct cache *cache)
{
    free(cache->pairs);
    free(cache);
}

static bool same(const struct pair *pair, int32_t id, const uint8_t hash[HASH_BYTES])
{
    return pair->until != 0 && pair->id == id && memcmp(pair->hash, hash, HASH_BYTES) == 0;
}

bool cache_has(const struct cache *cache, int32_t id, const uint8_t hash[HASH_BYTES], uint64_t now)
{
    const struct pair *bucket = bucket_of(cache, id);
    for (size_t i = 0; i < WAYS; i++) {
        if (same(&bucket[i], id, hash))
            return bucket[i].until > now;
    }
    return false;
}

void cache_put(struct cache *cache, int32_t id, const uint8_t hash[HASH_BYTES], uint64_t until)
{
    struct pair *bucket = bucket_of(cache, id), *place = &bucket[0];
    for (size_t i = 0; i < WAYS; i++) {
        if (same(&bucket[i], id, hash)) {
            place = &bucket[i];
            break;
        }
        if (bucket[i].until < place->until)
            place = &bucket[i];
    }
    place->until = until;
    place->id = id;
    memcpy(place->hash, hash, HASH_BYTES);
}

void cache_drop(struct cache *cache, int32_t id)
{
    struct pair *bucket = bucket_of(cache, id);
    for (size_t i = 0; i < WAYS; i++) {
        if (bucket[i].id == id)
            memset(&bucket[i], 0, sizeof(bucket[i]));
    }
}

void cache_clear(struct cache *cache)
{
    memset(cache->pairs, 0, cache->buckets * WAYS * sizeof(*cache->pairs));
}
