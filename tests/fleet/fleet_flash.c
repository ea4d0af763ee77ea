/* Sectors are found by a keyed hash of their content and compared whole. A slot is written from its start to
 * its end, as an update does it: whole sectors are shared at once, the last one is private until the slot is
 * closed. */
#include "fleet_flash.h"
#include "otad_private.h"
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

enum { BUCKETS = 1 << 16, NOT_CONFIRMED = 0x1506, ERASED = 0xFF };

struct fleet_sector {
    struct fleet_sector *next;
    uint64_t hash;
    uint32_t users;
    uint8_t bytes[FLEET_SECTOR];
};

struct fleet_sectors {
    struct fleet_sector *buckets[BUCKETS];
    uint8_t key[crypto_shorthash_KEYBYTES];
    size_t stored, used;
};

static void *allocate(size_t size)
{
    void *block = calloc(1, size);
    if (!block) {
        abort();
    }
    return block;
}

/* --- sectors --- */

struct fleet_sectors *fleet_sectors_new(void)
{
    struct fleet_sectors *sectors = allocate(sizeof *sectors);
    crypto_shorthash_keygen(sectors->key);
    return sectors;
}

void fleet_sectors_free(struct fleet_sectors *sectors)
{
    free(sectors);
}

void fleet_sectors_count(const struct fleet_sectors *sectors, size_t *stored, size_t *used)
{
    *stored = sectors->stored;
    *used = sectors->used;
}

static struct fleet_sector *share(struct fleet_sectors *sectors, const uint8_t bytes[FLEET_SECTOR])
{
    uint64_t hash;
    crypto_shorthash((uint8_t *)&hash, bytes, FLEET_SECTOR, sectors->key);
    struct fleet_sector **bucket = &sectors->buckets[hash % BUCKETS], *sector = *bucket;
    while (sector && (sector->hash != hash || memcmp(sector->bytes, bytes, FLEET_SECTOR) != 0)) {
        sector = sector->next;
    }
    if (!sector) {
        sector = allocate(sizeof *sector);
        sector->hash = hash;
        memcpy(sector->bytes, bytes, FLEET_SECTOR);
        sector->next = *bucket;
        *bucket = sector;
        sectors->stored++;
    }
    sector->users++;
    sectors->used++;
    return sector;
}

static void unshare(struct fleet_sectors *sectors, struct fleet_sector *sector)
{
    sectors->used--;
    if (--sector->users > 0) {
        return;
    }
    struct fleet_sector **at = &sectors->buckets[sector->hash % BUCKETS];
    while (*at != sector) {
        at = &(*at)->next;
    }
    *at = sector->next;
    free(sector);
    sectors->stored--;
}

/* --- slots --- */

static uint32_t length(const struct fleet_slot *slot)
{
    return slot->count * FLEET_SECTOR + slot->tail_len;
}

static void push(struct fleet_flash *flash, struct fleet_slot *slot)
{
    if (slot->count == slot->room) {
        slot->room += 64;
        slot->sectors = realloc(slot->sectors, slot->room * sizeof *slot->sectors);
        if (!slot->sectors) {
            abort();
        }
    }
    slot->sectors[slot->count++] = share(flash->sectors, slot->tail);
    slot->tail_len = 0;
}

static void append(struct fleet_flash *flash, struct fleet_slot *slot, const uint8_t *data, size_t len)
{
    while (len > 0) {
        size_t room = FLEET_SECTOR - slot->tail_len, piece = len < room ? len : room;
        slot->tail = slot->tail ? slot->tail : allocate(FLEET_SECTOR);
        memcpy(slot->tail + slot->tail_len, data, piece);
        slot->tail_len += (uint32_t)piece;
        data += piece;
        len -= piece;
        if (slot->tail_len == FLEET_SECTOR) {
            push(flash, slot);
        }
    }
}

/* The rest of the last sector becomes erased flash. */
static void finish(struct fleet_flash *flash, struct fleet_slot *slot)
{
    if (slot->tail_len > 0) {
        memset(slot->tail + slot->tail_len, ERASED, FLEET_SECTOR - slot->tail_len);
        push(flash, slot);
    }
    free(slot->tail);
    slot->tail = NULL;
    if (slot->count < slot->room) {
        slot->room = slot->count;
        struct fleet_sector **less = slot->count ? realloc(slot->sectors, slot->count * sizeof *less) : NULL;
        if (!slot->count) {
            free(slot->sectors);
        }
        slot->sectors = less;
    }
}

static void truncate_to(struct fleet_flash *flash, struct fleet_slot *slot, uint32_t len)
{
    if (len >= slot->count * FLEET_SECTOR) {
        slot->tail_len = length(slot) < len ? slot->tail_len : len - slot->count * FLEET_SECTOR;
        return;
    }
    uint32_t whole = len / FLEET_SECTOR, rest = len % FLEET_SECTOR;
    if (rest > 0) {
        slot->tail = slot->tail ? slot->tail : allocate(FLEET_SECTOR);
        memcpy(slot->tail, slot->sectors[whole]->bytes, FLEET_SECTOR);
    }
    slot->tail_len = rest;
    while (slot->count > whole) {
        unshare(flash->sectors, slot->sectors[--slot->count]);
    }
}

static void read_slot(const struct fleet_slot *slot, uint32_t offset, uint8_t *out, size_t len)
{
    memset(out, ERASED, len);
    while (len > 0 && offset < length(slot)) {
        uint32_t sector = offset / FLEET_SECTOR, at = offset % FLEET_SECTOR;
        uint32_t there = (sector < slot->count ? FLEET_SECTOR : slot->tail_len) - at;
        size_t piece = len < there ? len : there;
        memcpy(out, (sector < slot->count ? slot->sectors[sector]->bytes : slot->tail) + at, piece);
        out += piece;
        offset += (uint32_t)piece;
        len -= piece;
    }
}

void fleet_flash_init(struct fleet_flash *flash, struct fleet_sectors *sectors, const char *name,
                      const struct fleet_flash *like)
{
    *flash = (struct fleet_flash){.sectors = sectors, .state = {SIM_BOOT_VALID, SIM_BOOT_UNDEFINED}};
    strncpy(flash->name, name, sizeof flash->name - 1);
    uint32_t count = like ? like->slot[0].count : 0;
    if (count == 0) {
        return;
    }
    struct fleet_slot *slot = &flash->slot[0];
    slot->sectors = allocate(count * sizeof *slot->sectors);
    memcpy(slot->sectors, like->slot[0].sectors, count * sizeof *slot->sectors);
    slot->count = slot->room = count;
    sectors->used += count;
    for (uint32_t i = 0; i < count; i++) {
        slot->sectors[i]->users++;
    }
}

void fleet_flash_load(struct fleet_flash *flash, const void *image, size_t len)
{
    append(flash, &flash->slot[0], image, len);
    finish(flash, &flash->slot[0]);
}

void fleet_flash_free(struct fleet_flash *flash)
{
    for (int i = 0; i < 2; i++) {
        truncate_to(flash, &flash->slot[i], 0);
        finish(flash, &flash->slot[i]);
    }
}

bool fleet_flash_image(const struct fleet_flash *flash, int slot, struct otad_image *out)
{
    uint8_t head[OTAD_IMAGE_HEAD];
    read_slot(&flash->slot[slot], 0, head, sizeof head);
    return otad_image_parse(head, out);
}

/* --- sim_slots.h --- */

static struct fleet_flash *flash_of(const struct sim_slots *slots)
{
    return (struct fleet_flash *)slots->dir; /* its first member */
}

const char *sim_slots_open(struct sim_slots *slots, const char *dir, uint32_t size, const char *initial)
{
    *slots = (struct sim_slots){.dir = (char *)(uintptr_t)dir, .size = size, .fd = -1};
    const struct fleet_flash *flash = flash_of(slots);
    slots->active = flash->active;
    memcpy(slots->state, flash->state, sizeof slots->state);
    return NULL;
}

void sim_slots_close(struct sim_slots *slots)
{
    sim_slots_abandon(slots);
}

bool sim_slots_image(const struct sim_slots *slots, int slot, struct otad_image *out)
{
    return fleet_flash_image(flash_of(slots), slot, out);
}

size_t sim_slots_load(const struct sim_slots *slots, int copy, void *out, size_t size)
{
    const struct fleet_flash *flash = flash_of(slots);
    size_t len = flash->copy_lens[copy] < size ? flash->copy_lens[copy] : size;
    memcpy(out, flash->copies[copy], len);
    return len;
}

int32_t sim_slots_save(const struct sim_slots *slots, int copy, const void *data, size_t len)
{
    struct fleet_flash *flash = flash_of(slots);
    if (len > OTAD_RECORD_SIZE) {
        return -1;
    }
    memcpy(flash->copies[copy], data, len);
    flash->copy_lens[copy] = (uint16_t)len;
    return 0;
}

bool sim_slots_keep(const struct sim_slots *slots)
{
    struct fleet_flash *flash = flash_of(slots);
    flash->active = slots->active;
    memcpy(flash->state, slots->state, sizeof flash->state);
    return true;
}

int32_t sim_slots_begin(struct sim_slots *slots, uint32_t offset)
{
    struct fleet_flash *flash = flash_of(slots);
    struct fleet_slot *slot = &flash->slot[1 - slots->running];
    if (slots->state[slots->running] == SIM_BOOT_PENDING_VERIFY) {
        return NOT_CONFIRMED;
    }
    truncate_to(flash, slot, offset);
    flash->writing = true;
    return length(slot) == offset ? 0 : -1;
}

int32_t sim_slots_write(struct sim_slots *slots, uint32_t offset, const void *data, size_t len)
{
    struct fleet_flash *flash = flash_of(slots);
    struct fleet_slot *slot = &flash->slot[1 - slots->running];
    if (!flash->writing || offset + len > slots->size || offset != length(slot) || len == 0) {
        return -1;
    }
    if (flash->worn && offset == 0) {
        uint32_t bad = otad_random(&flash->random, (uint32_t)len);
        uint8_t wrong = ((const uint8_t *)data)[bad] ^ (uint8_t)(1u << otad_random(&flash->random, 8));
        append(flash, slot, data, bad);
        append(flash, slot, &wrong, 1);
        append(flash, slot, (const uint8_t *)data + bad + 1, len - bad - 1);
    } else {
        append(flash, slot, data, len);
    }
    return 0;
}

int32_t sim_slots_read(const struct sim_slots *slots, uint32_t offset, void *out, size_t len)
{
    read_slot(&flash_of(slots)->slot[1 - slots->running], offset, out, len);
    return 0;
}

void sim_slots_abandon(struct sim_slots *slots)
{
    struct fleet_flash *flash = flash_of(slots);
    if (flash->writing) {
        finish(flash, &flash->slot[1 - slots->running]);
    }
    flash->writing = false;
}
