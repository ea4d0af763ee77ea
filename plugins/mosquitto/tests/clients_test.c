/* The table of connected devices. */
#include "clients.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const uint8_t hash[HASH_BYTES] = {1, 2, 3}, other_hash[HASH_BYTES] = {4, 5, 6};

static const void *connection(uintptr_t n)
{
    return (const void *)(n * 16);
}

static void knows_who_is_here(void **state)
{
    struct clients *clients = clients_new();
    assert_null(clients_newest(clients, 5));
    clients_put(clients, 5, connection(1), hash);
    clients_put(clients, 5 + 65536, connection(2), hash); /* same bucket */
    assert_int_equal(clients_count(clients), 2);
    assert_ptr_equal(clients_newest(clients, 5)->connection, connection(1));
    assert_null(clients_find(clients, 5, connection(2)));
    assert_memory_equal(clients_find(clients, 5, connection(1))->hash, hash, HASH_BYTES);

    clients_put(clients, 5, connection(1), other_hash); /* the same connection: replaced */
    assert_int_equal(clients_count(clients), 2);
    assert_memory_equal(clients_newest(clients, 5)->hash, other_hash, HASH_BYTES);
    clients_remove(clients, 5, connection(1));
    clients_remove(clients, 5, connection(1));
    assert_null(clients_newest(clients, 5));
    assert_int_equal(clients_count(clients), 1);
    clients_free(clients);
}

static void the_end_of_an_old_connection_leaves_the_new_one(void **state)
{
    struct clients *clients = clients_new();
    clients_put(clients, 5, connection(1), hash);
    clients_put(clients, 5, connection(2), other_hash);
    assert_ptr_equal(clients_newest(clients, 5)->connection, connection(2));
    clients_remove(clients, 5, connection(3)); /* a refused one that named this user */
    clients_remove(clients, 5, connection(1));
    assert_ptr_equal(clients_newest(clients, 5)->connection, connection(2));
    clients_free(clients);
}

static void a_walk_meets_everybody_once(void **state)
{
    enum { MANY = 3000, PORTION = 64 };
    struct clients *clients = clients_new();
    static unsigned met[MANY + 1];
    struct client *portion[PORTION];
    size_t cursor = 0, count;

    memset(met, 0, sizeof(met));
    for (int32_t n = 1; n <= MANY; n++) /* ten in each bucket */
        clients_put(clients, n / 10 + n % 10 * 65536 + 1, connection((uintptr_t)n), hash);
    for (bool more = true; more;) {
        more = clients_walk(clients, &cursor, portion, PORTION, &count);
        assert_true(count <= PORTION);
        for (size_t i = 0; i < count; i++) {
            uintptr_t n = (uintptr_t)portion[i]->connection / 16;
            met[n]++;
            if (n % 3 == 0) /* some leave while the walk goes on */
                clients_remove(clients, portion[i]->id, portion[i]->connection);
        }
    }
    for (int32_t n = 1; n <= MANY; n++)
        assert_int_equal(met[n], 1);
    assert_int_equal(clients_count(clients), MANY - MANY / 3);
    assert_int_equal(cursor, 0);
    clients_free(clients);
}

static void a_walk_over_nobody_ends(void **state)
{
    struct clients *clients = clients_new();
    struct client *portion[4];
    size_t cursor = 0, count = 99;
    assert_false(clients_walk(clients, &cursor, portion, 4, &count));
    assert_int_equal(count, 0);
    clients_free(clients);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_who_is_here),
        cmocka_unit_test(the_end_of_an_old_connection_leaves_the_new_one),
        cmocka_unit_test(a_walk_meets_everybody_once),
        cmocka_unit_test(a_walk_over_nobody_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
