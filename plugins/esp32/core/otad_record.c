/* The record's fixed layout, little-endian: "OTR" and the layout's number, fields in the order below, CRC-32.
 */
#include "otad_record.h"
#include <string.h>

static const uint8_t magic[4] = {'O', 'T', 'R', 1};

static uint32_t crc32(const uint8_t *data, size_t len)
{
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < len; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = crc >> 1 ^ (0xEDB88320u & (0 - (crc & 1)));
        }
    }
    return ~crc;
}

static uint8_t *put(uint8_t *at, uint64_t value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        at[i] = (uint8_t)(value >> 8 * i);
    }
    return at + bytes;
}

static uint64_t take(const uint8_t **at, size_t bytes)
{
    uint64_t value = 0;
    for (size_t i = 0; i < bytes; i++) {
        value |= (uint64_t)(*at)[i] << 8 * i;
    }
    *at += bytes;
    return value;
}

static uint8_t *put_bytes(uint8_t *at, const void *data, size_t len)
{
    memcpy(at, data, len);
    return at + len;
}

static void take_bytes(const uint8_t **at, void *out, size_t len)
{
    memcpy(out, *at, len);
    *at += len;
}

static void take_text(const uint8_t **at, char *out, size_t size)
{
    take_bytes(at, out, size);
    out[size - 1] = '\0';
}

void otad_record_encode(const struct otad_record *record, uint8_t out[OTAD_RECORD_SIZE])
{
    uint8_t *at = put_bytes(out, magic, sizeof magic);
    at = put(at, record->sequence, 4);
    at = put(at, record->phase, 1);
    at = put(at, record->slot, 1);
    at = put(at, (uint64_t)record->switched | (uint64_t)record->stale << 1 | (uint64_t)record->cleared << 2,
             1);
    at = put(at, record->update_id, 8);
    at = put(at, record->issued_at, 8);
    at = put(at, record->size, 4);
    at = put(at, record->offset, 4);
    at = put_bytes(at, record->sha256, OTAD_HASH);
    at = put_bytes(at, record->elf_sha256, OTAD_HASH);
    at = put_bytes(at, record->version, sizeof record->version);
    at = put_bytes(at, record->error, sizeof record->error);
    at = put_bytes(at, record->running_elf_sha256, OTAD_HASH);
    at = put_bytes(at, record->running_version, sizeof record->running_version);
    put(at, crc32(out, OTAD_RECORD_SIZE - 4), 4);
}

static bool decode(const uint8_t *data, size_t len, struct otad_record *out)
{
    memset(out, 0, sizeof *out);
    if (!data || len != OTAD_RECORD_SIZE || memcmp(data, magic, sizeof magic) != 0) {
        return false;
    }
    const uint8_t *at = data + OTAD_RECORD_SIZE - 4;
    if (take(&at, 4) != crc32(data, OTAD_RECORD_SIZE - 4)) {
        return false;
    }
    at = data + sizeof magic;
    out->sequence = (uint32_t)take(&at, 4);
    uint8_t phase = (uint8_t)take(&at, 1);
    out->phase = phase < OTAD_PHASES ? (enum otad_phase)phase : OTAD_PHASE_NONE;
    out->slot = (uint8_t)take(&at, 1);
    uint8_t flags = (uint8_t)take(&at, 1);
    out->switched = flags & 1;
    out->stale = flags & 2;
    out->cleared = flags & 4;
    out->update_id = take(&at, 8);
    out->issued_at = take(&at, 8);
    out->size = (uint32_t)take(&at, 4);
    out->offset = (uint32_t)take(&at, 4);
    take_bytes(&at, out->sha256, OTAD_HASH);
    take_bytes(&at, out->elf_sha256, OTAD_HASH);
    take_text(&at, out->version, sizeof out->version);
    take_text(&at, out->error, sizeof out->error);
    take_bytes(&at, out->running_elf_sha256, OTAD_HASH);
    take_text(&at, out->running_version, sizeof out->running_version);
    return true;
}

void otad_record_load(struct otad_record *out, const uint8_t *first, size_t first_len, const uint8_t *second,
                      size_t second_len)
{
    struct otad_record other;
    bool have = decode(first, first_len, out), have_other = decode(second, second_len, &other);
    if (!have) {
        memset(out, 0, sizeof *out);
    }
    if (have_other && (!have || other.sequence > out->sequence)) {
        *out = other;
    }
}
