/* Makes the smallest images that are sound, for tests and fuzz seeds: one chip's header, two segments, the
 * application description, checksum and appended SHA-256. Tests change bytes of it and seal it again. */
#pragma once
#include <sodium.h>
#include <stdint.h>
#include <string.h>

enum {
    MADE_FIRST = 272,                                   /* bytes of the first segment's data */
    MADE_SECOND = 32,                                   /* and of the second's */
    MADE_SECOND_AT = 24 + 8 + MADE_FIRST,               /* its header */
    MADE_PADDING_AT = MADE_SECOND_AT + 8 + MADE_SECOND, /* up to the checksum */
    MADE_END = (MADE_PADDING_AT / 16 + 1) * 16,         /* behind the checksum */
    MADE_SIZE = MADE_END + 32,
    MADE_DESCRIPTION = 32,
    MADE_VERSION = MADE_DESCRIPTION + 16,
    MADE_PROJECT = MADE_DESCRIPTION + 48,
    MADE_IDF = MADE_DESCRIPTION + 112,
};

static inline void made_u32(uint8_t *to, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        to[i] = (uint8_t)(value >> 8 * i);
}

/* Checksum and hash again, after a change. */
static inline void made_seal(uint8_t image[MADE_SIZE])
{
    uint8_t sum = 0xEF;
    for (int i = 0; i < MADE_FIRST; i++)
        sum ^= image[32 + i];
    for (int i = 0; i < MADE_SECOND; i++)
        sum ^= image[MADE_SECOND_AT + 8 + i];
    image[MADE_END - 1] = sum;
    crypto_hash_sha256(image + MADE_END, image, MADE_END);
}

/* An ESP32 image "demo" 1.2.0 of IDF v5.2, secure_version 7, chip revisions 1.2 to 3.99. */
static inline void made_image(uint8_t image[MADE_SIZE])
{
    static const uint8_t header[24] = {0xE9, 2, 2, 0x20, 0x00, 0x10, 0x08, 0x40, 0xEE, 0, 0, 0,
                                       0,    0, 1, 102,  0,    0x8F, 0x01, 0,    0,    0, 0, 1};
    memset(image, 0, MADE_SIZE);
    memcpy(image, header, sizeof(header));
    made_u32(image + 24, 0x3F400020);
    made_u32(image + 28, MADE_FIRST);
    made_u32(image + MADE_DESCRIPTION, 0xABCD5432);
    made_u32(image + MADE_DESCRIPTION + 4, 7);
    strcpy((char *)image + MADE_VERSION, "1.2.0");
    strcpy((char *)image + MADE_PROJECT, "demo");
    strcpy((char *)image + MADE_DESCRIPTION + 80, "12:34:56");
    strcpy((char *)image + MADE_DESCRIPTION + 96, "Jan  2 2026");
    strcpy((char *)image + MADE_IDF, "v5.2");
    for (int i = 0; i < 32; i++)
        image[MADE_DESCRIPTION + 144 + i] = (uint8_t)(0xA0 + i);
    made_u32(image + MADE_SECOND_AT, 0x40080000);
    made_u32(image + MADE_SECOND_AT + 4, MADE_SECOND);
    for (int i = 0; i < MADE_SECOND; i++)
        image[MADE_SECOND_AT + 8 + i] = (uint8_t)(i * 7 + 1);
    made_seal(image);
}
