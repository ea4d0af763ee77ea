/* What the device client needs of its platform: two primitives of cryptography, bound at link time.
 *
 * crypto/otad_crypto_sodium.c implements them with libsodium, which is what POSIX and ESP-IDF use (there
 * with SHA-256 in hardware where its component is configured so). Everything else of the platform reaches the
 * client as events and leaves it as actions (otad_client.h). */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { OTAD_HASH = 32, OTAD_KEY = 32, OTAD_SIGNATURE = 64 }; /* bytes */

#ifndef OTAD_SHA256_STATE
#define OTAD_SHA256_STATE 128 /* bytes; a port with larger states defines its own for every file */
#endif
struct otad_sha256 {
    uint64_t opaque[OTAD_SHA256_STATE / 8];
};

void otad_sha256_init(struct otad_sha256 *state);
void otad_sha256_update(struct otad_sha256 *state, const void *data, size_t len);
void otad_sha256_final(struct otad_sha256 *state, uint8_t out[OTAD_HASH]);

bool otad_ed25519_verify(const uint8_t signature[OTAD_SIGNATURE], const void *message, size_t len,
                         const uint8_t key[OTAD_KEY]) __attribute__((warn_unused_result));
