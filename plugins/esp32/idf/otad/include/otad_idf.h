/* otad for ESP-IDF: start it once the network is up, and it does the rest in a task of its own.
 *
 * The partition table needs two OTA slots and otadata, the boot loader CONFIG_BOOTLOADER_APP_ROLLBACK_ENABLE.
 * The application sets the time (SNTP): offers wait for it up to 5 minutes and are rejected then. */
#pragma once
#include "esp_err.h"
#include "otad_client.h"

#ifdef __cplusplus
extern "C" {
#endif

struct otad_idf;

/* What the registration answered, and what the application adds. Every pointer stays valid and unchanged. */
struct otad_idf_config {
    uint64_t device_id;
    const char
        *manifest_keys[OTAD_KEYS_MAX]; /* base64, as in keys.manifest and keys.release; unused ones NULL */
    const char *release_keys[OTAD_KEYS_MAX];

    const char *mqtt_uri; /* mqtts://host:8883 */
    const char *ca;       /* PEM; NULL: the certificate bundle */
    const char *username, *password, *client_id;
    const char *status_topic, *ota_topic, *logs_topic;

    /* Judges a new image on its first boot, on the client's task: NULL if all is well, else why not. May be
     * NULL. A new image must also reach the broker within CONFIG_OTAD_CONFIRM_LIMIT. */
    const char *(*selftest)(void *arg);
    /* Fills in what it knows before each status; the free heap is there already. May be NULL. */
    void (*vitals)(void *arg, struct otad_vitals *vitals);
    /* Called before a restart for an update. May be NULL. */
    void (*before_restart)(void *arg);
    void *arg;
};

/* ESP_ERR_INVALID_ARG: a key or the chip is wrong; ESP_ERR_NOT_FOUND: no second slot; ESP_ERR_NO_MEM; or what
 * NVS said. nvs_flash_init must have been called. Runs until the restart. */
esp_err_t otad_idf_start(const struct otad_idf_config *config, struct otad_idf **out);
/* From any task: publish a status soon, for something in the vitals has changed. */
void otad_idf_touch(struct otad_idf *otad);

#ifdef __cplusplus
}
#endif
