/* The bounded memory of passwords' hashes. */
#include "cache.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static const uint8_t *hash_of(uint32_t seed)
{
    static uint8_t hash[HASH_BYTES];
    memset(hash, 0xa5, sizeof(hash));
    memcpy(hash, &seed, sizeof(seed));
    return hash;
}

static void keeps_a_pair_until_it_expires(void **state)
{
    struct cache *cache = cache_new(64);
    assert_false(cache_has(cache, 1, hash_of(1), 0));
    cache_put(cache, 1, hash_of(1), 100);
    assert_true(cache_has(cache, 1, hash_of(1), 99));
    assert_false(cache_has(cache, 1, hash_of(1), 100));
    assert_false(cache_has(cache, 1, hash_of(2), 99));
    assert_false(cache_has(cache, 2, hash_of(1), 99));
    cache_put(cache, 1, hash_of(1), 300); /* again: prolonged */
    assert_true(cache_has(cache, 1, hash_of(1), 299));
    cache_free(cache);
}

static void drops_every_pair_of_an_id_and_no_other(void **state)
{
    struct cache *cache = cache_new(4); /* one bucket: ids share it */
    cache_put(cache, 1, hash_of(1), 100);
    cache_put(cache, 1, hash_of(2), 100);
    cache_put(cache, 2, hash_of(1), 100);
    cache_drop(cache, 1);
    assert_false(cache_has(cache, 1, hash_of(1), 0));
    assert_false(cache_has(cache, 1, hash_of(2), 0));
    assert_true(cache_has(cache, 2, hash_of(1), 0));
    cache_clear(cache);
    assert_false(cache_has(cache, 2, hash_of(1), 0));
    cache_free(cache);
}

static void a_flood_displaces_what_expires_first(void **state)
{
    struct cache *cache = cache_new(4);
    cache_put(cache, 9, hash_of(0), 1000000);
    for (uint32_t guess = 1; guess < 10000; guess++)
        cache_put(cache, 1, hash_of(guess), 100 + guess);
    assert_true(cache_has(cache, 9, hash_of(0), 50)); /* lasts longest, so it stayed */
    assert_true(cache_has(cache, 1, hash_of(9999), 50));
    assert_false(cache_has(cache, 1, hash_of(1), 50));
    cache_free(cache);
}

static void guesses_at_one_device_do_not_touch_another(void **state)
{
    struct cache *cache = cache_new(4096);
    unsigned kept = 0;
    for (int32_t id = 2; id < 502; id++)
        cache_put(cache, id, hash_of(7), 100); /* would expire before any guess */
    for (uint32_t guess = 0; guess < 10000; guess++)
        cache_put(cache, 1, hash_of(guess + 100), 10000 + guess);
    for (int32_t id = 2; id < 502; id++)
        kept += cache_has(cache, id, hash_of(7), 50);
    assert_in_range(kept, 490, 500); /* all but the neighbours in one bucket of 1024 */
    cache_free(cache);
}

static void holds_a_fleet_of_its_size(void **state)
{
    struct cache *cache = cache_new(65536);
    unsigned kept = 0;
    for (int32_t id = 1; id <= 40000; id++)
        cache_put(cache, id, hash_of((uint32_t)id), 100);
    for (int32_t id = 1; id <= 40000; id++)
        kept += cache_has(cache, id, hash_of((uint32_t)id), 50);
    assert_in_range(kept, 38000, 40000);
    cache_free(cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_a_pair_until_it_expires),
        cmocka_unit_test(drops_every_pair_of_an_id_and_no_other),
        cmocka_unit_test(a_flood_displaces_what_expires_first),
        cmocka_unit_test(guesses_at_one_device_do_not_touch_another),
        cmocka_unit_test(holds_a_fleet_of_its_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
