/* sim_slots.h in memory, for thousands of devices: flash is kept in sectors of 4 KiB, and sectors of equal
 * content are one, counted and shared. So an image that all devices run is there once, and a flipped bit
 * costs a sector.
 *
 * A device's flash outlives its power: sim_slots_open is given `name` as the directory and finds the flash by
 * it. */
#pragma once
#include "otad_record.h"
#include "sim_slots.h"

enum { FLEET_SECTOR = 4096 };

struct fleet_sectors; /* all that there are; one for all devices */
struct fleet_sectors *fleet_sectors_new(void);
void fleet_sectors_free(struct fleet_sectors *sectors); /* after all flashes */
void fleet_sectors_count(const struct fleet_sectors *sectors, size_t *stored, size_t *used);

struct fleet_slot {
    struct fleet_sector **sectors; /* whole ones */
    uint32_t count, room;
    uint8_t *tail; /* FLEET_SECTOR bytes, of which tail_len are written; NULL: none */
    uint32_t tail_len;
};

struct fleet_flash {
    char name[24]; /* first */
    struct fleet_sectors *sectors;
    struct fleet_slot slot[2];
    uint8_t copies[2][OTAD_RECORD_SIZE];
    uint16_t copy_lens[2];
    int active;
    enum sim_boot_state state[2];
    bool writing;
    bool worn;       /* faulty: one bit of each image is stored wrong */
    uint64_t random; /* where: a generator's state */
};

/* Slot 0 as that of another flash, at the price of its sector list; NULL: nothing in it, as from the factory.
 */
void fleet_flash_init(struct fleet_flash *flash, struct fleet_sectors *sectors, const char *name,
                      const struct fleet_flash *like);
void fleet_flash_load(struct fleet_flash *flash, const void *image, size_t len); /* into slot 0 */
void fleet_flash_free(struct fleet_flash *flash);
bool fleet_flash_image(const struct fleet_flash *flash, int slot, struct otad_image *out);
