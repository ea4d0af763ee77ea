/* Reading and checking offers. No state; the only parser of foreign bytes beside otad_json.c (fuzzed:
 * tests/offer_fuzz.c). */
#include "otad_offer.h"
#include "otad_image.h"
#include "otad_json.h"
#include "otad_text.h"
#include <string.h>

enum { SIGNATURE_TEXT = 88 + 1, HASH_TEXT = 64 + 1, KEY_TEXT = 8 + 1, KEY_NAME = 4, MEMBER_NAME = 32 };

struct envelope {
    int32_t manifest_len; /* its text stands in the caller's scratch */
    uint8_t signature[OTAD_SIGNATURE], key[KEY_NAME];
};

static bool read_hex(struct otad_json *json, uint8_t *out, size_t len)
{
    char text[HASH_TEXT];
    return otad_json_string(json, text, sizeof text) >= 0 && otad_hex_decode(text, out, len);
}

static bool read_signature(struct otad_json *json, uint8_t out[OTAD_SIGNATURE])
{
    char text[SIGNATURE_TEXT];
    return otad_json_string(json, text, sizeof text) >= 0 && otad_base64_decode(text, out, OTAD_SIGNATURE);
}

/* One line of printable text: it goes into what the release key signs, and onto consoles. */
static bool read_line(struct otad_json *json, char *out, size_t size)
{
    int32_t len = otad_json_string(json, out, size);
    for (int32_t i = 0; i < len; i++) {
        if ((uint8_t)out[i] < 0x20 || out[i] == 0x7F) {
            return false;
        }
    }
    return len > 0;
}

static bool read_url(struct otad_json *json, char *out)
{
    if (!read_line(json, out, OTAD_URL_MAX + 1)) {
        return false;
    }
    for (const char *c = out; *c; c++) {
        if (*c == ' ' || (uint8_t)*c > 0x7E) {
            return false;
        }
    }
    return true;
}

static bool read_action(struct otad_json *json, bool *rollback)
{
    char text[16];
    if (otad_json_string(json, text, sizeof text) < 0) {
        return false;
    }
    *rollback = strcmp(text, "rollback") == 0;
    return *rollback || strcmp(text, "install") == 0;
}

static bool read_envelope(const void *message, size_t len, char *scratch, struct envelope *out)
{
    enum { MANIFEST = 1, SIGNATURE = 2, NAME = 4, ALL = 7 };
    struct otad_json json = otad_json_over(message, len);
    char name[MEMBER_NAME];
    unsigned seen = 0;
    int more;
    if (!otad_json_object(&json)) {
        return false;
    }
    while ((more = otad_json_member(&json, name, sizeof name)) > 0) {
        unsigned field = 0;
        bool good;
        if (strcmp(name, "manifest") == 0) {
            field = MANIFEST;
            out->manifest_len = otad_json_string(&json, scratch, OTAD_MANIFEST_MAX);
            good = out->manifest_len >= 0;
        } else if (strcmp(name, "signature") == 0) {
            field = SIGNATURE;
            good = read_signature(&json, out->signature);
        } else if (strcmp(name, "key") == 0) {
            field = NAME;
            good = read_hex(&json, out->key, KEY_NAME);
        } else {
            good = otad_json_skip(&json);
        }
        if (!good || (seen & field)) {
            return false;
        }
        seen |= field;
    }
    return more == 0 && otad_json_end(&json) && seen == ALL;
}

/* Fields of the manifest, each wanted once, those of the release at most once; unknown ones are skipped, for
 * newer servers. */
enum field {
    ACTION,
    UPDATE_ID,
    DEVICE_ID,
    VERSION,
    CHIP,
    SIZE,
    SHA256,
    ELF_SHA256,
    URL,
    RELEASE_SIGNATURE,
    RELEASE_KEY,
    ISSUED_AT,
    EXPIRES_AT,
    FIELDS
};
static const char *const field_names[FIELDS] = {
    "action",     "update_id", "device_id",         "version",     "chip",      "size",      "sha256",
    "elf_sha256", "url",       "release_signature", "release_key", "issued_at", "expires_at"};
enum {
    ALL = (1 << FIELDS) - 1,
    RELEASE = 1 << RELEASE_SIGNATURE | 1 << RELEASE_KEY,
    WHOSE = 1 << UPDATE_ID | 1 << DEVICE_ID,
};

static bool read_field(struct otad_json *json, enum field field, struct otad_offer *out)
{
    uint64_t number;
    switch (field) {
    case ACTION:
        return read_action(json, &out->rollback);
    case UPDATE_ID:
        return otad_json_integer(json, &out->update_id) && out->update_id > 0;
    case DEVICE_ID:
        return otad_json_integer(json, &out->device_id);
    case VERSION:
        return read_line(json, out->version, sizeof out->version);
    case CHIP:
        return read_line(json, out->chip, sizeof out->chip);
    case SIZE:
        if (!otad_json_integer(json, &number) || number == 0 || number > UINT32_MAX) {
            return false;
        }
        out->size = (uint32_t)number;
        return true;
    case SHA256:
        return read_hex(json, out->sha256, OTAD_HASH);
    case ELF_SHA256:
        return read_hex(json, out->elf_sha256, OTAD_HASH);
    case URL:
        return read_url(json, out->url);
    case RELEASE_SIGNATURE:
        if (otad_json_null(json)) {
            out->released = false;
            return true;
        }
        return read_signature(json, out->release_signature);
    case RELEASE_KEY:
        if (otad_json_null(json)) {
            out->released = false;
            return true;
        }
        return read_hex(json, out->release_key, KEY_NAME);
    case ISSUED_AT:
        return otad_json_integer(json, &out->issued_at);
    case EXPIRES_AT:
        return otad_json_integer(json, &out->expires_at);
    default:
        return otad_json_skip(json);
    }
}

/* *seen: the fields that were read, also of one that goes wrong further on. */
static bool read_manifest(const char *text, size_t len, struct otad_offer *out, uint32_t *seen)
{
    struct otad_json json = otad_json_over(text, len);
    char name[MEMBER_NAME];
    int more;
    *seen = 0;
    memset(out, 0, sizeof *out);
    out->released = true;
    if (!otad_json_object(&json)) {
        return false;
    }
    while ((more = otad_json_member(&json, name, sizeof name)) > 0) {
        unsigned field = 0;
        while (field < FIELDS && strcmp(field_names[field], name) != 0) {
            field++;
        }
        if ((field < FIELDS && (*seen >> field & 1)) || !read_field(&json, (enum field)field, out)) {
            return false;
        }
        *seen |= 1u << field;
    }
    out->released = out->released && (*seen & RELEASE) == RELEASE;
    return more == 0 && otad_json_end(&json) && (*seen & ALL & ~RELEASE) == (ALL & ~RELEASE);
}

/* The key whose SHA-256 begins with these bytes, or NULL. */
static const uint8_t *find_key(const uint8_t keys[][OTAD_KEY], unsigned count, const uint8_t name[KEY_NAME])
{
    for (unsigned i = 0; i < count; i++) {
        struct otad_sha256 state;
        uint8_t hash[OTAD_HASH];
        otad_sha256_init(&state);
        otad_sha256_update(&state, keys[i], OTAD_KEY);
        otad_sha256_final(&state, hash);
        if (memcmp(hash, name, KEY_NAME) == 0) {
            return keys[i];
        }
    }
    return NULL;
}

static bool release_verify(const struct otad_offer *offer, const uint8_t key[OTAD_KEY])
{
    char message[160];
    struct otad_text text;
    otad_text_init(&text, message, sizeof message);
    otad_text_raw(&text, "otad-firmware-1\n");
    otad_text_raw(&text, offer->chip);
    otad_text_raw(&text, "\n");
    otad_text_raw(&text, offer->version);
    otad_text_raw(&text, "\n");
    otad_text_hex(&text, offer->sha256, OTAD_HASH);
    otad_text_raw(&text, "\n");
    return otad_text_ok(&text) && otad_ed25519_verify(offer->release_signature, message, text.len, key);
}

static bool url_allowed(const struct otad_trust *trust, const char *url)
{
    return strncmp(url, "https://", 8) == 0 || (trust->allow_http && strncmp(url, "http://", 7) == 0);
}

enum otad_offer_class otad_offer_open(const struct otad_trust *trust, const void *message, size_t len,
                                      char scratch[OTAD_MANIFEST_MAX], struct otad_offer *out,
                                      const char **why)
{
    struct envelope envelope;
    *why = "malformed offer";
    if (len > OTAD_OFFER_MAX || !read_envelope(message, len, scratch, &envelope)) {
        return OTAD_OFFER_MALFORMED;
    }
    size_t manifest_len = (size_t)envelope.manifest_len;
    uint32_t seen;
    bool readable = read_manifest(scratch, manifest_len, out, &seen);
    const uint8_t *key = find_key(trust->manifest_key, trust->manifest_keys, envelope.key);
    bool genuine = key && otad_ed25519_verify(envelope.signature, scratch, manifest_len, key);
    if (!readable) {
        *why = "malformed manifest";
        return genuine && (seen & WHOSE) == WHOSE && out->device_id == trust->device_id
                   ? OTAD_OFFER_REFUSED
                   : OTAD_OFFER_MALFORMED;
    }
    if (!genuine) {
        *why = key ? "wrong manifest signature" : "unknown manifest key";
        return OTAD_OFFER_UNTRUSTED;
    }
    if (out->device_id != trust->device_id) {
        *why = "offer for another device";
        return OTAD_OFFER_UNTRUSTED;
    }
    *why = NULL;
    if (strcmp(out->chip, trust->chip) != 0) {
        *why = "offer for another chip";
    } else if (out->size > trust->slot_size) {
        *why = "image larger than the slot";
    } else if (out->size < OTAD_IMAGE_HEAD) {
        *why = "image too small to be one";
    } else if (!url_allowed(trust, out->url)) {
        *why = "url is not https";
    } else if (!out->released) {
        *why = "no release signature";
    } else {
        const uint8_t *release = find_key(trust->release_key, trust->release_keys, out->release_key);
        *why = !release                       ? "unknown release key"
               : release_verify(out, release) ? NULL
                                              : "wrong release signature";
    }
    return *why ? OTAD_OFFER_REFUSED : OTAD_OFFER_GOOD;
}
