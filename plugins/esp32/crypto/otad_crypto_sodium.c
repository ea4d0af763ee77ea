/* otad_port.h over libsodium, for POSIX and for ESP-IDF's espressif/libsodium component.
 *
 * libsodium must have been initialised (sodium_init) by the port before the first call. No state, any thread.
 */
#include "otad_port.h"
#include <sodium.h>

_Static_assert(sizeof(crypto_hash_sha256_state) <= sizeof(struct otad_sha256), "enlarge OTAD_SHA256_STATE");

void otad_sha256_init(struct otad_sha256 *state)
{
    crypto_hash_sha256_init((void *)state->opaque);
}

void otad_sha256_update(struct otad_sha256 *state, const void *data, size_t len)
{
    crypto_hash_sha256_update((void *)state->opaque, data, len);
}

void otad_sha256_final(struct otad_sha256 *state, uint8_t out[OTAD_HASH])
{
    crypto_hash_sha256_final((void *)state->opaque, out);
}

bool otad_ed25519_verify(const uint8_t signature[OTAD_SIGNATURE], const void *message, size_t len,
                         const uint8_t key[OTAD_KEY])
{
    return crypto_sign_verify_detached(signature, message, len, key) == 0;
}
