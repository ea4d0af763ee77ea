/* Offers of foreign origin: no byte sequence may crash the reader, and none may be taken for good but one
 * that the two keys signed. Seeds: corpus/offer/. */
#include "otad_client.h"
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t elf[OTAD_HASH] = {1};
    struct otad_config config = {
        .trust = {
            .device_id = 42, .chip = "esp32", .slot_size = 1 << 20, .manifest_keys = 1, .release_keys = 1}};
    struct otad_boot boot = {.version = "1.2.0", .elf_sha256 = elf, .next = 1};
    struct otad_client client;
    struct otad_offer offer;
    char scratch[OTAD_MANIFEST_MAX], text[1024];
    const char *why;
    if (sodium_init() < 0) {
        abort();
    }
    /* Nobody holds the secret half of these, so nothing can be good. */
    memset(config.trust.manifest_key[0], 1, OTAD_KEY);
    memset(config.trust.release_key[0], 2, OTAD_KEY);
    enum otad_offer_class class = otad_offer_open(&config.trust, data, size, scratch, &offer, &why);
    if (class == OTAD_OFFER_GOOD || class == OTAD_OFFER_REFUSED || !why) {
        abort();
    }
    if (class == OTAD_OFFER_UNTRUSTED &&
        (memchr(offer.url, 0, sizeof offer.url) == NULL ||
         memchr(offer.version, 0, sizeof offer.version) == NULL || offer.update_id == 0 || offer.size == 0)) {
        abort();
    }
    otad_client_init(&client, &config, &boot, 0);
    otad_client_clock(&client, 0, 1790000000);
    otad_client_offer(&client, 0, data, size);
    struct otad_vitals vitals = {0};
    if (client.stage != OTAD_IDLE || !otad_client_status(&client, 0, &vitals, text, sizeof text)) {
        abort();
    }
    return 0;
}
