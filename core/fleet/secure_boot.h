/* Secure Boot signatures as espsecure appends them to an image. Pure functions over bytes, any thread;
 * OpenSSL allocates while it verifies and its error queue is left empty.
 *
 * v2 (RSA-3072 or ECDSA): one sector of 4096 bytes behind the signed bytes, with one to three blocks of 1216
 * bytes, each holding its own public key; everything else is 0xFF. All blocks must verify, so a flipped bit
 * anywhere in the signed bytes or the sector is found.
 * v1 (ESP32 only): 68 bytes, u32 0 and an ECDSA P-256 signature. Its key is burnt into the device and not in
 * the file, so only the form can be checked: a flipped bit of s, and half of those of r, go unnoticed.
 *
 * A key that comes with the image proves that the bytes are whole, not who signed them. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#define SECURE_BOOT_SECTOR 4096
#define SECURE_BOOT_V1_SIZE 68

enum secure_boot_kind { SECURE_BOOT_NONE, SECURE_BOOT_V1, SECURE_BOOT_V2_RSA, SECURE_BOOT_V2_ECDSA };

/* "none", "secure_boot_v1", "secure_boot_v2_rsa", "secure_boot_v2_ecdsa" */
const char *secure_boot_name(enum secure_boot_kind kind);

/* The sector of SECURE_BOOT_SECTOR bytes at data[at], which signs data[0..at). NULL and *kind: every block is
 * sound and verifies. Else why not (constant text), and *offset says where in data. */
const char *secure_boot_verify_v2(const uint8_t *data, size_t at, enum secure_boot_kind *kind, size_t *offset)
    __attribute__((warn_unused_result));

/* The form of a v1 block: version 0, r and s within the group's order, r the x of a point of P-256.
 * NULL, or why not and *offset within the block. */
const char *secure_boot_check_v1(const uint8_t block[SECURE_BOOT_V1_SIZE], size_t *offset)
    __attribute__((warn_unused_result));
