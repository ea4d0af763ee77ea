/* NVS, esp_ota_ops and esp_http_client. Written against the headers of ESP-IDF; see README.md for what was
 * compiled. */
#include "otad_idf_io.h"
#include "esp_crt_bundle.h"
#include "esp_timer.h"
#include "sdkconfig.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
    HTTP_TIMEOUT = 15000,
    HTTP_SLICE = 1000, /* of waiting for a body: the task has other things to do as well */
};

uint64_t otad_idf_now(void)
{
    return (uint64_t)esp_timer_get_time() / 1000;
}

static const char *record_name(int copy)
{
    return copy ? "record1" : "record0";
}

esp_err_t otad_idf_io_open(struct otad_idf_io *io, const char *ca)
{
    io->ca = ca;
    io->running = esp_ota_get_running_partition();
    io->next = esp_ota_get_next_update_partition(NULL);
    if (!io->running || !io->next || io->next == io->running) {
        return ESP_ERR_NOT_FOUND;
    }
    return nvs_open("otad", NVS_READWRITE, &io->nvs);
}

size_t otad_idf_io_load(struct otad_idf_io *io, int copy, uint8_t out[OTAD_RECORD_SIZE])
{
    size_t len = OTAD_RECORD_SIZE;
    return nvs_get_blob(io->nvs, record_name(copy), out, &len) == ESP_OK ? len : 0;
}

static esp_err_t save(struct otad_idf_io *io, const struct otad_action *action)
{
    esp_err_t code = nvs_set_blob(io->nvs, record_name(action->copy), action->data, action->len);
    return code == ESP_OK ? nvs_commit(io->nvs) : code;
}

/* Sectors are erased as they are reached, so that nothing of what is kept is lost. */
static esp_err_t begin(struct otad_idf_io *io, uint32_t offset)
{
    if (offset == 0) {
        return esp_ota_begin(io->next, OTA_WITH_SEQUENTIAL_WRITES, &io->slot);
    }
    return esp_ota_resume(io->next, OTA_WITH_SEQUENTIAL_WRITES, offset, &io->slot);
}

static esp_err_t end(struct otad_idf_io *io)
{
    esp_ota_handle_t slot = io->slot;
    io->slot = 0;
    return esp_ota_end(slot);
}

void otad_idf_io_abandon(struct otad_idf_io *io)
{
    esp_ota_abort(io->slot);
    io->slot = 0;
}

esp_err_t otad_idf_io_perform(struct otad_idf_io *io, const struct otad_action *action)
{
    switch (action->act) {
    case OTAD_SAVE:
        return save(io, action);
    case OTAD_BEGIN:
        return begin(io, action->offset);
    case OTAD_WRITE:
        return esp_ota_write(io->slot, action->data, action->len);
    case OTAD_READ:
        return esp_partition_read(io->next, action->offset, action->buffer, action->len);
    case OTAD_END:
        return end(io);
    case OTAD_SET_BOOT:
        return esp_ota_set_boot_partition(io->next);
    case OTAD_CONFIRM:
        return esp_ota_mark_app_valid_cancel_rollback();
    case OTAD_ROLLBACK:
        return esp_ota_mark_app_invalid_rollback_and_reboot();
    default:
        return ESP_ERR_INVALID_STATE;
    }
}

/* --- HTTP --- */

static esp_err_t on_http(esp_http_client_event_t *event)
{
    struct otad_idf_io *io = event->user_data;
    if (event->event_id != HTTP_EVENT_ON_HEADER || strcasecmp(event->header_key, "Content-Range") != 0 ||
        strncmp(event->header_value, "bytes ", 6) != 0) {
        return ESP_OK;
    }
    char *rest;
    io->range_start = strtoll(event->header_value + 6, &rest, 10);
    const char *slash = strchr(rest, '/');
    io->range_total = slash && slash[1] >= '0' && slash[1] <= '9' ? strtoll(slash + 1, NULL, 10) : -1;
    return ESP_OK;
}

void otad_idf_io_hang_up(struct otad_idf_io *io)
{
    if (io->http) {
        esp_http_client_cleanup(io->http);
    }
    io->http = NULL;
}

static void closed(struct otad_idf_io *io, struct otad_client *client, const char *why)
{
    otad_idf_io_hang_up(io);
    otad_client_closed(client, otad_idf_now(), why);
}

void otad_idf_io_get(struct otad_idf_io *io, struct otad_client *client, const char *url, uint32_t offset)
{
    esp_http_client_config_t config = {.url = url,
                                       .cert_pem = io->ca,
                                       .crt_bundle_attach = io->ca ? NULL : esp_crt_bundle_attach,
                                       .timeout_ms = HTTP_TIMEOUT,
                                       .disable_auto_redirect = true,
                                       .buffer_size = 1024,
                                       .buffer_size_tx = 1024, /* a URL may have 512 bytes */
                                       .event_handler = on_http,
                                       .user_data = io};
    char range[24];
    io->range_start = io->range_total = -1;
    io->http = esp_http_client_init(&config);
    if (!io->http) {
        closed(io, client, "out of memory for HTTP");
        return;
    }
    if (offset > 0) {
        snprintf(range, sizeof range, "bytes=%" PRIu32 "-", offset);
        esp_http_client_set_header(io->http, "Range", range);
    }
    esp_err_t code = esp_http_client_open(io->http, 0);
    if (code != ESP_OK) {
        closed(io, client, esp_err_to_name(code));
        return;
    }
    int64_t length = esp_http_client_fetch_headers(io->http);
    if (length < 0) {
        closed(io, client, "no answer");
        return;
    }
    int status = esp_http_client_get_status_code(io->http);
    int64_t total = status == 206 || esp_http_client_is_chunked_response(io->http) ? io->range_total : length;
    io->heard_at = otad_idf_now();
    esp_http_client_set_timeout_ms(io->http, HTTP_SLICE);
    otad_client_response(client, io->heard_at, status, io->range_start, total);
}

void otad_idf_io_read(struct otad_idf_io *io, struct otad_client *client)
{
    int len = esp_http_client_read(io->http, (char *)io->buffer, sizeof io->buffer);
    uint64_t now = otad_idf_now();
    if (len > 0) {
        io->heard_at = now;
        otad_client_data(client, now, io->buffer, (size_t)len);
    } else if (len == -ESP_ERR_HTTP_EAGAIN && now - io->heard_at < HTTP_TIMEOUT) {
        return; /* nothing yet */
    } else if (len < 0) {
        closed(io, client, "the connection broke");
    } else {
        closed(io, client,
               esp_http_client_is_complete_data_received(io->http) ? NULL : "the connection was closed");
    }
}
