#include "fleet/revocations.h"
#include "base/mem.h"
#include "net/timer.h"
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

enum { ID_LEN = 16, MARGIN = 60000 }; /* ms a token may outlive its exp elsewhere: clocks differ */

/* Tokens end by the wall clock, which may be set back; the other one only goes on. An entry is over when both
 * say so. */
struct entry {
    unsigned char id[ID_LEN];
    uint64_t until; /* clock_ms(); 0: empty */
    double wall;    /* clock_unix() */
};

/* Open addressing; UUIDs are random, so their bytes are the hash. */
struct revocations {
    struct entry *table;
    size_t room, count;
    uint64_t life;
};

struct revocations *revocations_new(uint64_t token_life_ms)
{
    struct revocations *revocations = x_new(struct revocations);
    revocations->room = 64;
    revocations->table = x_alloc(revocations->room * sizeof(struct entry));
    revocations->life = token_life_ms + MARGIN;
    return revocations;
}

void revocations_free(struct revocations *revocations)
{
    free(revocations->table);
    free(revocations);
}

static bool holds(const struct entry *entry, uint64_t now, double wall)
{
    return entry->until != 0 && (entry->until > now || entry->wall > wall);
}

static bool parse_id(const char *sid, unsigned char id[ID_LEN])
{
    size_t len;
    return strlen(sid) == 36 && sodium_hex2bin(id, ID_LEN, sid, 36, "-", &len, NULL) == 0 && len == ID_LEN;
}

static struct entry *slot_of(const struct revocations *revocations, const unsigned char id[ID_LEN])
{
    uint64_t hash;
    memcpy(&hash, id, sizeof(hash));
    for (size_t i = hash;; i++) {
        struct entry *entry = &revocations->table[i & (revocations->room - 1)];
        if (entry->until == 0 || memcmp(entry->id, id, ID_LEN) == 0)
            return entry;
    }
}

/* Makes room by leaving out what has expired, in a larger table if that is not enough. */
static void rebuild(struct revocations *revocations)
{
    struct entry *old = revocations->table;
    size_t old_room = revocations->room, alive = 0;
    uint64_t now = clock_ms();
    double wall = clock_unix();
    for (size_t i = 0; i < old_room; i++)
        alive += holds(&old[i], now, wall);
    while (alive * 4 >= revocations->room)
        revocations->room *= 2;
    revocations->table = x_alloc(revocations->room * sizeof(struct entry));
    revocations->count = alive;
    for (size_t i = 0; i < old_room; i++) {
        if (holds(&old[i], now, wall))
            *slot_of(revocations, old[i].id) = old[i];
    }
    free(old);
}

void revocations_add(struct revocations *revocations, const char *sid)
{
    unsigned char id[ID_LEN];
    if (!parse_id(sid, id))
        return;
    if (revocations->count * 2 >= revocations->room)
        rebuild(revocations);
    struct entry *entry = slot_of(revocations, id);
    revocations->count += entry->until == 0;
    memcpy(entry->id, id, ID_LEN);
    entry->until = clock_ms() + revocations->life;
    entry->wall = clock_unix() + (double)revocations->life / 1000;
}

bool revocations_has(const struct revocations *revocations, const char *sid)
{
    unsigned char id[ID_LEN];
    return revocations->count != 0 && parse_id(sid, id) &&
           holds(slot_of(revocations, id), clock_ms(), clock_unix());
}
