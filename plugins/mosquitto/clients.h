/* The devices connected now, each with the SHA-256 of the password it came in with: what must be checked
 * again when news of changed credentials may have been missed. An entry lives from a granted log-in to the
 * end of that connection, so their number is bounded by the broker's max_connections. While one connection
 * takes over from another of the same device both are here, the newer first. One thread. */
#pragma once
#include "cache.h"

struct client {
    int32_t id;
    bool doomed;            /* its password is no longer good: to be disconnected */
    const void *connection; /* the broker's name for it; never dereferenced */
    uint8_t hash[HASH_BYTES];
    struct client *next;
};

struct clients;

struct clients *clients_new(void);
void clients_free(struct clients *clients);
size_t clients_count(const struct clients *clients);

void clients_put(struct clients *clients, int32_t id, const void *connection, const uint8_t hash[HASH_BYTES]);
void clients_remove(struct clients *clients, int32_t id, const void *connection);
/* NULL: not here. A pointer is good until that client is removed. */
struct client *clients_find(const struct clients *clients, int32_t id, const void *connection);
struct client *clients_newest(const struct clients *clients, int32_t id);

/* A walk over all in portions, of which each is done with before another call here: stores at most `max`
 * clients (as they stand in neighbouring buckets; a walk goes on even if clients came and went between) and
 * moves *cursor on. False: that was the end, *cursor is 0 again. */
bool clients_walk(const struct clients *clients, size_t *cursor, struct client **out, size_t max,
                  size_t *count);
