/* The offer: what the server publishes, retained, on device/{id}/ota.
 *
 *   {"manifest": "<JSON text>", "signature": "<base64 Ed25519 over the manifest's bytes>",
 *    "key": "<first 8 hex of SHA-256 of the public key>"}
 *
 * It is trusted in two steps that need two different keys: the manifest's signature (an online key of the
 * server) says that this device shall take this image now; the release signature inside it (a key that may
 * stay offline) says that the image is genuine. Whoever holds only the first can install nothing new. */
#pragma once
#include "otad_port.h"

enum {
    OTAD_OFFER_MAX = 4096,    /* bytes of the whole message */
    OTAD_MANIFEST_MAX = 2048, /* of the manifest, unescaped */
    OTAD_URL_MAX = 512,
    OTAD_VERSION_MAX = 50,
    OTAD_CHIP_MAX = 15,
    OTAD_KEYS_MAX = 4, /* of each kind */
};

/* Whom a device believes, and what it is. Provisioned at registration. */
struct otad_trust {
    uint64_t device_id;
    char chip[OTAD_CHIP_MAX + 1];
    uint32_t slot_size;
    bool allow_http; /* plain http:// URLs: development only */
    uint8_t manifest_keys, release_keys;
    uint8_t manifest_key[OTAD_KEYS_MAX][OTAD_KEY], release_key[OTAD_KEYS_MAX][OTAD_KEY];
};

struct otad_offer {
    uint64_t update_id, device_id, issued_at, expires_at; /* times: Unix seconds */
    uint32_t size;
    bool rollback; /* boot the other slot if it holds this image, else install */
    char version[OTAD_VERSION_MAX + 1], chip[OTAD_CHIP_MAX + 1], url[OTAD_URL_MAX + 1];
    uint8_t sha256[OTAD_HASH], elf_sha256[OTAD_HASH];
    uint8_t release_signature[OTAD_SIGNATURE], release_key[4];
    bool released; /* a release signature was there at all */
};

enum otad_offer_class {
    OTAD_OFFER_GOOD,
    OTAD_OFFER_REFUSED,   /* ours and genuine, but not acceptable; all but update_id may be missing */
    OTAD_OFFER_UNTRUSTED, /* readable (update_id is set), but not proven to be meant for this device */
    OTAD_OFFER_MALFORMED, /* nothing of *out may be used */
};

/* Reads and checks all but the expiry, which needs a clock. *why: a constant text unless GOOD. `scratch`
 * holds the unescaped manifest meanwhile. */
enum otad_offer_class otad_offer_open(const struct otad_trust *trust, const void *message, size_t len,
                                      char scratch[OTAD_MANIFEST_MAX], struct otad_offer *out,
                                      const char **why) __attribute__((warn_unused_result));
