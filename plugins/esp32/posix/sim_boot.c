/* The boot loader's rules and the checks of an image, over whatever keeps the slots: sim_slots.c here, memory
 * shared by thousands of devices in tests/fleet. */
#include "sim_slots.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { VALIDATE_FAILED = 0x1503, SMALL_SEC_VER = 0x1504, ROLLBACK_FAILED = 0x1505 };

const char *sim_slots_state_name(enum sim_boot_state state)
{
    static const char *const names[] = {"NEW", "PENDING_VERIFY", "VALID", "INVALID", "ABORTED", "UNDEFINED"};
    return names[state];
}

static uint32_t read_u32(const uint8_t *at)
{
    return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

/* The length of what the appended hash covers: header, segments, checksum. 0: it does not fit the slot. */
static uint32_t hashed_length(const struct sim_slots *slots, unsigned segments)
{
    uint8_t head[8];
    uint64_t at = 24;
    for (; segments > 0 && at + sizeof head <= slots->size; segments--) {
        sim_slots_read(slots, (uint32_t)at, head, sizeof head);
        at += sizeof head + read_u32(head + 4);
    }
    at = (at / 16 + 1) * 16;
    return segments == 0 && at + OTAD_HASH <= slots->size ? (uint32_t)at : 0;
}

/* Whether the flash still holds what was sent, by the SHA-256 appended to the image, where there is one. */
static bool intact(const struct sim_slots *slots)
{
    uint8_t piece[4096], hash[OTAD_HASH];
    struct otad_sha256 sha256;
    sim_slots_read(slots, 0, piece, 24);
    if (piece[23] == 0) {
        return true;
    }
    uint32_t end = hashed_length(slots, piece[1]), len;
    if (end == 0) {
        return false;
    }
    otad_sha256_init(&sha256);
    for (uint32_t at = 0; at < end; at += len) {
        len = end - at < sizeof piece ? end - at : (uint32_t)sizeof piece;
        sim_slots_read(slots, at, piece, len);
        otad_sha256_update(&sha256, piece, len);
    }
    otad_sha256_final(&sha256, hash);
    sim_slots_read(slots, end, piece, sizeof hash);
    return memcmp(piece, hash, sizeof hash) == 0;
}

int32_t sim_slots_end(struct sim_slots *slots)
{
    struct otad_image image;
    sim_slots_abandon(slots);
    return sim_slots_image(slots, 1 - slots->running, &image) && intact(slots) ? 0 : VALIDATE_FAILED;
}

void sim_slots_boot(struct sim_slots *slots)
{
    struct otad_image image;
    int slot = slots->active, other = 1 - slot;
    if (slots->state[slot] == SIM_BOOT_PENDING_VERIFY) {
        slots->state[slot] = SIM_BOOT_ABORTED;
    } else if (slots->state[slot] == SIM_BOOT_NEW) {
        slots->state[slot] = SIM_BOOT_PENDING_VERIFY;
    }
    bool good = slots->state[slot] == SIM_BOOT_PENDING_VERIFY || slots->state[slot] == SIM_BOOT_VALID ||
                slots->state[slot] == SIM_BOOT_UNDEFINED;
    /* A slot 0 without an image is the factory's: version 0.0.0. */
    if (!good || (slot == 1 && !sim_slots_image(slots, slot, &image))) {
        slot = other;
    }
    slots->active = slots->running = slot;
    if (!sim_slots_keep(slots)) {
        perror("the boot loader's data");
        abort();
    }
}

int32_t sim_slots_set_boot(struct sim_slots *slots)
{
    struct otad_image image, present;
    int other = 1 - slots->running;
    if (!sim_slots_image(slots, other, &image)) {
        return VALIDATE_FAILED;
    }
    /* The running image's secure version stands for the eFuse. */
    if (sim_slots_image(slots, slots->running, &present) && image.secure_version < present.secure_version) {
        return SMALL_SEC_VER;
    }
    slots->state[other] = SIM_BOOT_NEW;
    slots->active = other;
    return sim_slots_keep(slots) ? 0 : -1;
}

int32_t sim_slots_confirm(struct sim_slots *slots)
{
    slots->state[slots->running] = SIM_BOOT_VALID;
    return sim_slots_keep(slots) ? 0 : -1;
}

int32_t sim_slots_rollback(struct sim_slots *slots)
{
    struct otad_image image;
    int other = 1 - slots->running;
    if (other == 1 && !sim_slots_image(slots, other, &image)) {
        return ROLLBACK_FAILED;
    }
    slots->state[slots->running] = SIM_BOOT_INVALID;
    slots->active = other;
    return sim_slots_keep(slots) ? 0 : -1;
}
