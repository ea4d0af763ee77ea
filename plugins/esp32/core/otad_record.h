/* What survives a power cut: one record in two copies. A save goes to the copy that is older, so the other
 * stays whole whatever happens meanwhile; after boot the sound copy with the higher sequence counts. */
#pragma once
#include "otad_offer.h"

enum { OTAD_ERROR_MAX = 95, OTAD_RECORD_SIZE = 333 };

enum otad_phase {
    OTAD_PHASE_NONE,
    OTAD_PHASE_DOWNLOADING, /* `offset` bytes are in the slot for certain */
    OTAD_PHASE_SWITCHING,   /* whole and verified; the boot slot is, or is about to be, the new one */
    OTAD_PHASE_CONFIRMED,
    OTAD_PHASE_FAILED,
    OTAD_PHASE_ROLLED_BACK,
    OTAD_PHASES
};

struct otad_record {
    uint32_t sequence; /* 0: never saved */
    enum otad_phase phase;
    uint8_t slot;  /* the slot being written */
    bool switched; /* it certainly became the boot slot */
    bool stale;    /* it was marked bad before this update already */
    bool cleared;  /* the server has taken note of the result */
    uint64_t update_id, issued_at;
    uint32_t size, offset;
    uint8_t sha256[OTAD_HASH], elf_sha256[OTAD_HASH];
    char version[OTAD_VERSION_MAX + 1], error[OTAD_ERROR_MAX + 1];
    /* The image confirmed last. Its offer's version is the name the server knows it by: an Arduino build's
     * own descriptor says the same constant in every image. */
    uint8_t running_elf_sha256[OTAD_HASH];
    char running_version[OTAD_VERSION_MAX + 1];
};

void otad_record_encode(const struct otad_record *record, uint8_t out[OTAD_RECORD_SIZE]);
/* The newer sound one of two copies (either may be NULL or any bytes); a zeroed record if none is sound. */
void otad_record_load(struct otad_record *out, const uint8_t *first, size_t first_len, const uint8_t *second,
                      size_t second_len);
