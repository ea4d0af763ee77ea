/* The port's frame: one task that owns the client, and a queue into which esp-mqtt's task puts what happened.
 *
 * Each connection gets an esp-mqtt client of its own, since its last will names a session of its own;
 * esp-mqtt's reconnecting is off, the core decides when. Written against the headers of ESP-IDF; see
 * README.md. */
#include "otad_idf.h"
#include "esp_app_desc.h"
#include "esp_crt_bundle.h"
#include "esp_log.h"
#include "esp_random.h"
#include "esp_system.h"
#include "freertos/FreeRTOS.h"
#include "freertos/queue.h"
#include "freertos/task.h"
#include "mqtt_client.h"
#include "otad_idf_io.h"
#include "otad_text.h"
#include "sdkconfig.h"
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    QUEUE = 16,
    TEXT = 1536,
    KEEP_ALIVE = 60,
    YEAR_2025 = 1735689600, /* a clock that says less was never set */
};

static const char tag[] = "otad";

enum news { UP, DOWN, OFFER, PUBLISHED, WAKE };
struct post {
    enum news news;
    uint32_t connection; /* of which it comes; another one's is stale */
    int message;         /* esp-mqtt's id */
    char *offer;         /* malloc'ed, the receiver's */
    size_t len;
};

struct otad_idf {
    struct otad_idf_config config;
    struct otad_client client;
    struct otad_idf_io io;
    QueueHandle_t queue;
    esp_mqtt_client_handle_t mqtt; /* NULL: none */
    volatile uint32_t connection;
    volatile bool missed;  /* an event of the connection did not get into the queue */
    volatile bool touched; /* by otad_idf_touch */
    bool up;
    int status_message; /* esp-mqtt's id of the status sent last */
    uint32_t status_ticket;
    char *incoming; /* an offer arriving in pieces; esp-mqtt's task only */
    char text[TEXT], will[96];
};

/* --- on esp-mqtt's task --- */

static void post(struct otad_idf *otad, struct post item)
{
    item.connection = otad->connection;
    if (xQueueSend(otad->queue, &item, pdMS_TO_TICKS(10000)) != pdTRUE) {
        ESP_LOGE(tag, "event lost");
        free(item.offer);
        otad->missed = true;
    }
}

static void take_piece(struct otad_idf *otad, const esp_mqtt_event_t *event)
{
    size_t total = (size_t)event->total_data_len, at = (size_t)event->current_data_offset;
    if (at == 0) {
        free(otad->incoming);
        otad->incoming = total <= OTAD_OFFER_MAX ? malloc(total + 1) : NULL;
    }
    if (!otad->incoming || at + (size_t)event->data_len > total) {
        return;
    }
    memcpy(otad->incoming + at, event->data, (size_t)event->data_len);
    if (at + (size_t)event->data_len == total) {
        post(otad, (struct post){.news = OFFER, .offer = otad->incoming, .len = total});
        otad->incoming = NULL;
    }
}

static void on_mqtt(void *arg, esp_event_base_t base, int32_t id, void *data)
{
    struct otad_idf *otad = arg;
    const esp_mqtt_event_t *event = data;
    switch ((esp_mqtt_event_id_t)id) {
    case MQTT_EVENT_CONNECTED:
        if (esp_mqtt_client_subscribe_single(event->client, otad->config.ota_topic, 1) < 0) {
            post(otad, (struct post){.news = DOWN});
        }
        return;
    case MQTT_EVENT_SUBSCRIBED: {
        bool refused =
            event->error_handle && event->error_handle->error_type == MQTT_ERROR_TYPE_SUBSCRIBE_FAILED;
        post(otad, (struct post){.news = refused ? DOWN : UP});
        return;
    }
    case MQTT_EVENT_DISCONNECTED:
        post(otad, (struct post){.news = DOWN});
        return;
    case MQTT_EVENT_PUBLISHED:
        post(otad, (struct post){.news = PUBLISHED, .message = event->msg_id});
        return;
    case MQTT_EVENT_DATA:
        take_piece(otad, event);
        return;
    default:
        return;
    }
}

/* --- on the client's task --- */

static void link_close(struct otad_idf *otad)
{
    if (otad->mqtt) {
        esp_mqtt_client_destroy(otad->mqtt); /* its task has ended when this returns */
    }
    otad->mqtt = NULL;
    otad->up = false;
    otad->connection++;
    free(otad->incoming);
    otad->incoming = NULL;
}

static void link_lost(struct otad_idf *otad)
{
    link_close(otad);
    otad_client_disconnected(&otad->client, otad_idf_now());
}

static void link_open(struct otad_idf *otad)
{
    const struct otad_idf_config *config = &otad->config;
    link_close(otad);
    if (!otad_client_will(&otad->client, otad->will, sizeof otad->will)) {
        abort();
    }
    esp_mqtt_client_config_t options = {
        .broker.address.uri = config->mqtt_uri,
        .broker.verification.certificate = config->ca,
        .broker.verification.crt_bundle_attach = config->ca ? NULL : esp_crt_bundle_attach,
        .credentials.username = config->username,
        .credentials.client_id = config->client_id,
        .credentials.authentication.password = config->password,
        .session.last_will = {.topic = config->status_topic, .msg = otad->will, .qos = 1},
        .session.keepalive = KEEP_ALIVE,
        .session.protocol_ver = MQTT_PROTOCOL_V_3_1_1,
        .network.disable_auto_reconnect = true,
    };
    otad->mqtt = esp_mqtt_client_init(&options);
    if (!otad->mqtt || esp_mqtt_client_register_event(otad->mqtt, MQTT_EVENT_ANY, on_mqtt, otad) != ESP_OK ||
        esp_mqtt_client_start(otad->mqtt) != ESP_OK) {
        link_lost(otad);
    }
}

static void publish_status(struct otad_idf *otad, uint32_t ticket)
{
    struct otad_vitals vitals = {.has_heap = true, .heap = esp_get_free_heap_size()};
    if (otad->config.vitals) {
        otad->config.vitals(otad->config.arg, &vitals);
    }
    if (!otad_client_status(&otad->client, otad_idf_now(), &vitals, otad->text, sizeof otad->text)) {
        ESP_LOGE(tag, "the status does not fit");
        return;
    }
    otad->status_ticket = ticket;
    otad->status_message =
        esp_mqtt_client_enqueue(otad->mqtt, otad->config.status_topic, otad->text, 0, 1, 0, true);
}

static void log_line(struct otad_idf *otad, const char *level, const char *message)
{
    ESP_LOGI(tag, "%s: %s", level, message);
    if (otad->up &&
        otad_client_log(&otad->client, otad_idf_now(), level, message, otad->text, sizeof otad->text)) {
        esp_mqtt_client_enqueue(otad->mqtt, otad->config.logs_topic, otad->text, 0, 0, 0, true);
    }
}

static void perform(struct otad_idf *otad, const struct otad_action *action)
{
    const struct otad_idf_config *config = &otad->config;
    switch (action->act) {
    case OTAD_WAIT:
        return;
    case OTAD_CONNECT:
        link_open(otad);
        return;
    case OTAD_STATUS:
        publish_status(otad, action->ticket);
        return;
    case OTAD_LOG:
        log_line(otad, action->level, action->text);
        return;
    case OTAD_GET:
        otad_idf_io_get(&otad->io, &otad->client, action->text, action->offset);
        return;
    case OTAD_HANGUP:
        otad_idf_io_hang_up(&otad->io);
        return;
    case OTAD_ABANDON:
        otad_idf_io_abandon(&otad->io);
        return;
    case OTAD_SELFTEST:
        otad_client_selftest(&otad->client, otad_idf_now(),
                             config->selftest ? config->selftest(config->arg) : NULL);
        return;
    case OTAD_REBOOT:
        if (config->before_restart) {
            config->before_restart(config->arg);
        }
        esp_restart();
    default:
        otad_client_done(&otad->client, otad_idf_now(), otad_idf_io_perform(&otad->io, action));
        return;
    }
}

static void take(struct otad_idf *otad, const struct post *item)
{
    uint64_t now = otad_idf_now();
    if (item->connection != otad->connection) {
        return;
    }
    switch (item->news) {
    case UP:
        otad->up = true;
        otad_client_connected(&otad->client, now);
        return;
    case DOWN:
        link_lost(otad);
        return;
    case OFFER:
        otad_client_offer(&otad->client, now, item->offer, item->len);
        return;
    case PUBLISHED:
        if (item->message == otad->status_message) {
            otad_client_published(&otad->client, now, otad->status_ticket);
        }
        return;
    case WAKE:
        return;
    }
}

static void run(void *arg)
{
    struct otad_idf *otad = arg;
    struct otad_action action;
    struct post item;
    for (;;) {
        time_t unix_s = time(NULL);
        bool clock_set = unix_s > YEAR_2025;
        if (clock_set) { /* each time: SNTP may correct what outlived a restart */
            otad_client_clock(&otad->client, otad_idf_now(), (uint64_t)unix_s);
        }
        if (otad->missed) { /* a new connection tells everything anew */
            otad->missed = false;
            link_lost(otad);
        }
        if (otad->touched) {
            otad->touched = false;
            otad_client_touch(&otad->client, otad_idf_now());
        }
        while (otad_client_poll(&otad->client, otad_idf_now(), &action), action.act != OTAD_WAIT) {
            perform(otad, &action);
        }
        /* A download goes on between events; without a clock, look again each second. */
        uint32_t wait = otad->io.http ? 0 : !clock_set && action.wait_ms > 1000 ? 1000 : action.wait_ms;
        if (xQueueReceive(otad->queue, &item, pdMS_TO_TICKS(wait)) == pdTRUE) {
            take(otad, &item);
            free(item.offer);
        } else if (otad->io.http) {
            otad_idf_io_read(&otad->io, &otad->client);
        }
    }
}

/* --- start --- */

static const char *reset_reason(void)
{
    switch (esp_reset_reason()) {
    case ESP_RST_POWERON:
        return "power_on";
    case ESP_RST_SW:
        return "software";
    case ESP_RST_PANIC:
        return "panic";
    case ESP_RST_INT_WDT:
    case ESP_RST_TASK_WDT:
    case ESP_RST_WDT:
        return "watchdog";
    case ESP_RST_DEEPSLEEP:
        return "deep_sleep";
    case ESP_RST_BROWNOUT:
        return "brownout";
    default:
        return NULL;
    }
}

static bool read_keys(const char *const texts[OTAD_KEYS_MAX], uint8_t keys[][OTAD_KEY], uint8_t *count)
{
    for (*count = 0; *count < OTAD_KEYS_MAX && texts[*count]; (*count)++) {
        if (!otad_base64_decode(texts[*count], keys[*count], OTAD_KEY)) {
            return false;
        }
    }
    return *count > 0;
}

static esp_err_t start_client(struct otad_idf *otad)
{
    struct otad_config config = {.heartbeat = CONFIG_OTAD_HEARTBEAT * 1000,
                                 .max_jitter = CONFIG_OTAD_MAX_JITTER * 1000,
                                 .confirm_limit = CONFIG_OTAD_CONFIRM_LIMIT * 1000,
                                 .retries = CONFIG_OTAD_RETRIES};
    struct otad_trust *trust = &config.trust;
    trust->device_id = otad->config.device_id;
    otad_text_copy(trust->chip, sizeof trust->chip, CONFIG_IDF_TARGET);
    trust->slot_size = otad->io.next->size;
#ifdef CONFIG_OTAD_ALLOW_HTTP
    trust->allow_http = true;
#endif
    if (otad_image_chip_id(trust->chip) < 0 ||
        !read_keys(otad->config.manifest_keys, trust->manifest_key, &trust->manifest_keys) ||
        !read_keys(otad->config.release_keys, trust->release_key, &trust->release_keys)) {
        return ESP_ERR_INVALID_ARG;
    }
    uint8_t copies[2][OTAD_RECORD_SIZE];
    esp_ota_img_states_t state;
    const esp_app_desc_t *app = esp_app_get_description();
    char version[sizeof app->version + 1] = ""; /* it may fill its field */
    memcpy(version, app->version, sizeof app->version);
    struct otad_boot boot = {.version = version,
                             .elf_sha256 = app->app_elf_sha256,
                             .reset_reason = reset_reason(),
                             .slot = (uint8_t)otad->io.running->subtype,
                             .next = (uint8_t)otad->io.next->subtype,
                             .nonce = esp_random()};
    if (esp_ota_get_state_partition(otad->io.running, &state) == ESP_OK) {
        boot.pending_verify = state == ESP_OTA_IMG_PENDING_VERIFY;
    }
    if (esp_ota_get_state_partition(otad->io.next, &state) == ESP_OK &&
        (state == ESP_OTA_IMG_INVALID || state == ESP_OTA_IMG_ABORTED)) {
        boot.other = OTAD_SLOT_BAD;
    }
    for (int i = 0; i < 2; i++) {
        boot.copies[i] = copies[i];
        boot.copy_lens[i] = otad_idf_io_load(&otad->io, i, copies[i]);
    }
    otad_client_init(&otad->client, &config, &boot, otad_idf_now());
    return ESP_OK;
}

esp_err_t otad_idf_start(const struct otad_idf_config *config, struct otad_idf **out)
{
    struct otad_idf *otad = calloc(1, sizeof *otad);
    esp_err_t code = ESP_ERR_NO_MEM;
    if (!otad || sodium_init() < 0 || !(otad->queue = xQueueCreate(QUEUE, sizeof(struct post)))) {
        goto fail;
    }
    otad->config = *config;
    code = otad_idf_io_open(&otad->io, config->ca);
    if (code == ESP_OK) {
        code = start_client(otad);
    }
    if (code != ESP_OK) {
        goto fail;
    }
    if (xTaskCreate(run, "otad", CONFIG_OTAD_TASK_STACK, otad, CONFIG_OTAD_TASK_PRIORITY, NULL) != pdPASS) {
        code = ESP_ERR_NO_MEM;
        goto fail;
    }
    *out = otad;
    return ESP_OK;
fail:
    if (otad) {
        if (otad->queue) {
            vQueueDelete(otad->queue);
        }
        if (otad->io.nvs) {
            nvs_close(otad->io.nvs);
        }
    }
    free(otad);
    return code;
}

void otad_idf_touch(struct otad_idf *otad)
{
    if (!otad->touched) {
        otad->touched = true;
        xQueueSend(otad->queue, &(struct post){.news = WAKE}, 0); /* full: it is awake */
    }
}
