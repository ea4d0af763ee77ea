/* The ESP32 application image (esp_image_header_t, esp_app_desc_t of ESP-IDF's esp_app_format.h): a strict
 * parser of foreign bytes. Pure function, any thread; about 0.1 s for 16 MiB, so uploads go to the pool.
 *
 * Sound means: no bit of the file can be flipped unnoticed. Header, segments and padding are covered by the
 * appended SHA-256; 0xFF behind the image is compared; a v2 signature sector verifies. Therefore an image
 * without the appended hash (--dont-append-digest; its 1-byte checksum covers segment data only) is refused
 * unless a v2 signature covers it. The one exception lies in the format: the 64 bytes of a v1 signature,
 * whose key is not in the file (see secure_boot.h), and the 12 bytes of noise that may follow it, with which
 * espsecure fills the last block of flash encryption.
 * Beyond that, what the formats fix is checked: ranges of header fields, reserved and padding bytes, text. */
#pragma once
#include "fleet/secure_boot.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct image {
    const char *chip; /* "esp32", "esp32s3", ...: constant */
    /* Printable UTF-8, NUL-terminated; any may be empty. `version` and `project` need not be unique: the
     * Arduino core gives every image the same. */
    char version[33], project[33], idf_version[33];
    char elf_sha256[65]; /* lower-case hex, as the image claims it; zeros where its tool writes none */
    char sha256[65];     /* lower-case hex, of the whole file */
    size_t size;         /* of the whole file */
    uint32_t secure_version;
    unsigned min_chip_revision; /* major * 100 + minor */
    enum secure_boot_kind signature_kind;
};

struct image_error {
    const char
        *check;    /* size magic header chip app_desc segments checksum hash trailing signature: constant */
    size_t offset; /* of the byte at fault */
    char message[160]; /* what was expected and what was found: a clause without a full stop */
};

/* "esp32", "esp32s3", ...: what images can be for. */
bool image_chip_known(const char *name, size_t len);

/* False: not a sound application image; *err says why and *out is undefined. */
bool image_parse(const uint8_t *data, size_t len, struct image *out, struct image_error *err)
    __attribute__((warn_unused_result));
