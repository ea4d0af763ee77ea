/* Image headers. No state. */
#include "otad_image.h"
#include <string.h>

enum { IMAGE_MAGIC = 0xE9, DESCRIPTOR = 0x20, SEGMENTS_MAX = 16 };
static const uint32_t descriptor_magic = 0xABCD5432;

static const struct {
    const char *name;
    uint16_t id;
} chips[] = {{"esp32", 0},     {"esp32s2", 2},  {"esp32c3", 5},   {"esp32s3", 9},
             {"esp32c2", 12},  {"esp32c6", 13}, {"esp32h2", 16},  {"esp32p4", 18},
             {"esp32c61", 20}, {"esp32c5", 23}, {"esp32h21", 25}, {"esp32h4", 28}};

static uint32_t get32(const uint8_t *at)
{
    return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

/* Descriptor strings fill their 32 bytes and may lack the closing NUL. */
static void get_string(char out[33], const uint8_t *at)
{
    memcpy(out, at, 32);
    out[32] = '\0';
}

bool otad_image_parse(const uint8_t head[OTAD_IMAGE_HEAD], struct otad_image *out)
{
    const uint8_t *descriptor = head + DESCRIPTOR;
    if (head[0] != IMAGE_MAGIC || head[1] < 1 || head[1] > SEGMENTS_MAX ||
        get32(descriptor) != descriptor_magic) {
        return false;
    }
    out->chip_id = (uint16_t)(head[12] | head[13] << 8);
    out->secure_version = get32(descriptor + 4);
    get_string(out->version, descriptor + 16);
    get_string(out->project, descriptor + 48);
    get_string(out->idf_version, descriptor + 112);
    memcpy(out->elf_sha256, descriptor + 144, OTAD_HASH);
    return true;
}

int otad_image_chip_id(const char *chip)
{
    for (size_t i = 0; i < sizeof chips / sizeof *chips; i++) {
        if (strcmp(chips[i].name, chip) == 0) {
            return chips[i].id;
        }
    }
    return -1;
}
