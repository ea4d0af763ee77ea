/* The simulated flash: two slot files, a boot loader's otadata file and the two copies of the client's
 * record, all in one directory. Bytes past a slot file's end are erased flash (0xFF), so that an empty slot
 * costs nothing.
 *
 * Results are 0 or what ESP-IDF would say (esp_ota_ops.h), -1 for trouble with the files. Owner: one device.
 */
#pragma once
#include "otad_image.h"

/* esp_ota_img_states_t */
enum sim_boot_state {
    SIM_BOOT_NEW,
    SIM_BOOT_PENDING_VERIFY,
    SIM_BOOT_VALID,
    SIM_BOOT_INVALID,
    SIM_BOOT_ABORTED,
    SIM_BOOT_UNDEFINED
};

struct sim_slots {
    char *dir;
    uint32_t size;
    int fd; /* of the slot being written, or -1 */
    int active, running;
    enum sim_boot_state state[2];
};

/* Opens dir, making it at first with the image file `initial` in slot 0 (NULL: empty, as from the factory).
 * Returns NULL, or what is wrong (static text); errno is then what the system said, or 0. */
const char *sim_slots_open(struct sim_slots *slots, const char *dir, uint32_t size, const char *initial)
    __attribute__((warn_unused_result));
void sim_slots_close(struct sim_slots *slots);

bool sim_slots_image(const struct sim_slots *slots, int slot, struct otad_image *out);
size_t sim_slots_load(const struct sim_slots *slots, int copy, void *out, size_t size);
int32_t sim_slots_save(const struct sim_slots *slots, int copy, const void *data, size_t len);
/* Makes `active` and the states durable. */
bool sim_slots_keep(const struct sim_slots *slots) __attribute__((warn_unused_result));
int32_t sim_slots_begin(struct sim_slots *slots, uint32_t offset);
int32_t sim_slots_write(struct sim_slots *slots, uint32_t offset, const void *data, size_t len);
int32_t sim_slots_read(const struct sim_slots *slots, uint32_t offset, void *out, size_t len);
void sim_slots_abandon(struct sim_slots *slots);

/* --- sim_boot.c --- */
const char *sim_slots_state_name(enum sim_boot_state state);
void sim_slots_boot(struct sim_slots *slots); /* what the boot loader does: chooses `running` */
/* Closes the slot and checks the image: its head and, where one is appended, its SHA-256. */
int32_t sim_slots_end(struct sim_slots *slots);
int32_t sim_slots_set_boot(struct sim_slots *slots);
int32_t sim_slots_confirm(struct sim_slots *slots);
int32_t sim_slots_rollback(struct sim_slots *slots);
