#include "clients.h"
#include "base/mem.h"
#include <stdlib.h>
#include <string.h>

/* Fixed, so that a walk's cursor stays good; with 100,000 devices a chain is about two long. */
enum { BUCKETS = 1 << 16 };

struct clients {
    size_t count;
    struct client *buckets[BUCKETS];
};

/* Ids are handed out one after the other: their low bits spread evenly. */
static size_t bucket_of(int32_t id)
{
    return (uint32_t)id % BUCKETS;
}

struct clients *clients_new(void)
{
    return x_new(struct clients);
}

void clients_free(struct clients *clients)
{
    for (size_t i = 0; i < BUCKETS; i++) {
        while (clients->buckets[i] != NULL) {
            struct client *next = clients->buckets[i]->next;
            free(clients->buckets[i]);
            clients->buckets[i] = next;
        }
    }
    free(clients);
}

size_t clients_count(const struct clients *clients)
{
    return clients->count;
}

void clients_put(struct clients *clients, int32_t id, const void *connection, const uint8_t hash[HASH_BYTES])
{
    clients_remove(clients, id, connection);
    struct client **head = &clients->buckets[bucket_of(id)], *client = x_new(struct client);
    client->id = id;
    client->connection = connection;
    memcpy(client->hash, hash, HASH_BYTES);
    client->next = *head;
    *head = client;
    clients->count++;
}

void clients_remove(struct clients *clients, int32_t id, const void *connection)
{
    for (struct client **p = &clients->buckets[bucket_of(id)]; *p != NULL; p = &(*p)->next) {
        struct client *client = *p;
        if (client->id == id && client->connection == connection) {
            *p = client->next;
            free(client);
            clients->count--;
            return;
        }
    }
}

struct client *clients_newest(const struct clients *clients, int32_t id)
{
    struct client *client = clients->buckets[bucket_of(id)];
    while (client != NULL && client->id != id)
        client = client->next;
    return client;
}

struct client *clients_find(const struct clients *clients, int32_t id, const void *connection)
{
    struct client *client = clients->buckets[bucket_of(id)];
    while (client != NULL && (client->id != id || client->connection != connection))
        client = client->next;
    return client;
}

bool clients_walk(const struct clients *clients, size_t *cursor, struct client **out, size_t max,
                  size_t *count)
{
    size_t n = 0;
    for (; *cursor < BUCKETS; (*cursor)++) {
        size_t before = n;
        for (struct client *client = clients->buckets[*cursor]; client != NULL; client = client->next) {
            if (n == max && before > 0) { /* this bucket waits for the next portion, whole */
                *count = before;
                return true;
            }
            if (n < max)
                out[n++] = client;
        }
    }
    *cursor = 0;
    *count = n;
    return false;
}
