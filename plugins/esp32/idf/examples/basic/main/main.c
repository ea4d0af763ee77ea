/* Joins a network, sets the clock and starts otad. The self-test is the place to try whatever the product
 * cannot do without: here, that there is memory left. */
#include "esp_err.h"
#include "esp_event.h"
#include "esp_netif.h"
#include "esp_netif_sntp.h"
#include "esp_system.h"
#include "esp_wifi.h"
#include "nvs_flash.h"
#include "otad_idf.h"
#include "protocol_examples_common.h"
#include "registration.h"

enum { HEAP_NEEDED = 32 * 1024 };

static const char *on_selftest(void *arg)
{
    return esp_get_free_heap_size() < HEAP_NEEDED ? "too little memory left" : NULL;
}

static void on_vitals(void *arg, struct otad_vitals *vitals)
{
    wifi_ap_record_t point;
    if (esp_wifi_sta_get_ap_info(&point) == ESP_OK) {
        vitals->has_rssi = true;
        vitals->rssi = point.rssi;
    }
}

void app_main(void)
{
    esp_err_t code = nvs_flash_init();
    if (code == ESP_ERR_NVS_NO_FREE_PAGES || code == ESP_ERR_NVS_NEW_VERSION_FOUND) {
        ESP_ERROR_CHECK(nvs_flash_erase());
        code = nvs_flash_init();
    }
    ESP_ERROR_CHECK(code);
    ESP_ERROR_CHECK(esp_netif_init());
    ESP_ERROR_CHECK(esp_event_loop_create_default());
    ESP_ERROR_CHECK(example_connect());

    esp_sntp_config_t sntp = ESP_NETIF_SNTP_DEFAULT_CONFIG("pool.ntp.org");
    ESP_ERROR_CHECK(esp_netif_sntp_init(&sntp));

    static const struct otad_idf_config config = {.device_id = REGISTRATION_DEVICE_ID,
                                                  .manifest_keys = {REGISTRATION_MANIFEST_KEY},
                                                  .release_keys = {REGISTRATION_RELEASE_KEY},
                                                  .mqtt_uri = REGISTRATION_MQTT_URI,
                                                  .ca = REGISTRATION_CA,
                                                  .username = REGISTRATION_USERNAME,
                                                  .password = REGISTRATION_PASSWORD,
                                                  .client_id = REGISTRATION_CLIENT_ID,
                                                  .status_topic = REGISTRATION_STATUS_TOPIC,
                                                  .ota_topic = REGISTRATION_OTA_TOPIC,
                                                  .logs_topic = REGISTRATION_LOGS_TOPIC,
                                                  .selftest = on_selftest,
                                                  .vitals = on_vitals};
    struct otad_idf *otad;
    ESP_ERROR_CHECK(otad_idf_start(&config, &otad));
}
