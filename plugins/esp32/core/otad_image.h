/* The beginning of an ESP32 application image: enough to know that it is one, for which chip, and which
 * build. Layout: ESP-IDF's esp_app_format.h and esp_app_desc.h; little-endian. */
#pragma once
#include "otad_port.h"

enum { OTAD_IMAGE_HEAD = 288 }; /* bytes: header, first segment's header, application descriptor */

struct otad_image {
    uint16_t chip_id;
    uint32_t secure_version;
    char version[33], project[33], idf_version[33];
    uint8_t elf_sha256[OTAD_HASH];
};

/* False: not an application image (a bootloader, a partition table, erased flash, ...). */
bool otad_image_parse(const uint8_t head[OTAD_IMAGE_HEAD], struct otad_image *out)
    __attribute__((warn_unused_result));

/* "esp32s3" -> 9; -1: no such chip. */
int otad_image_chip_id(const char *chip);
