/* otad_port.h's primitives with OpenSSL's SHA-256, which uses the processor's instructions: most of what
 * thousands of downloads cost is hashing. It takes the place of crypto/otad_crypto_sodium.c when otad-fleet
 * is linked. */
#define OPENSSL_SUPPRESS_DEPRECATED /* the states of the new functions are not of the caller's size */
#include "otad_port.h"
#include <openssl/sha.h>
#include <sodium.h>

_Static_assert(sizeof(SHA256_CTX) <= sizeof(struct otad_sha256), "OTAD_SHA256_STATE");

void otad_sha256_init(struct otad_sha256 *state)
{
    SHA256_Init((SHA256_CTX *)state->opaque);
}

void otad_sha256_update(struct otad_sha256 *state, const void *data, size_t len)
{
    SHA256_Update((SHA256_CTX *)state->opaque, data, len);
}

void otad_sha256_final(struct otad_sha256 *state, uint8_t out[OTAD_HASH])
{
    SHA256_Final(out, (SHA256_CTX *)state->opaque);
}

bool otad_ed25519_verify(const uint8_t signature[OTAD_SIGNATURE], const void *message, size_t len,
                         const uint8_t key[OTAD_KEY])
{
    return crypto_sign_verify_detached(signature, message, len, key) == 0;
}
