/* The port's hands, used by otad_idf.c on the client's task only: NVS for the record, the slots, HTTP. */
#pragma once
#include "esp_err.h"
#include "esp_http_client.h"
#include "esp_ota_ops.h"
#include "nvs.h"
#include "otad_client.h"

struct otad_idf_io {
    nvs_handle_t nvs;
    const esp_partition_t *running, *next;
    esp_ota_handle_t slot; /* open between begin and end or abandon */
    const char *ca;

    esp_http_client_handle_t http; /* NULL: no fetch under way */
    int64_t range_start, range_total;
    uint64_t heard_at; /* when the last bytes of it came */
    uint8_t buffer[1024];
};

esp_err_t otad_idf_io_open(struct otad_idf_io *io, const char *ca);
size_t otad_idf_io_load(struct otad_idf_io *io, int copy, uint8_t out[OTAD_RECORD_SIZE]);
/* The actions that are answered; their code. */
esp_err_t otad_idf_io_perform(struct otad_idf_io *io, const struct otad_action *action);
void otad_idf_io_abandon(struct otad_idf_io *io);

/* Blocks until the head of the answer is there; tells the client of it, or that it failed. */
void otad_idf_io_get(struct otad_idf_io *io, struct otad_client *client, const char *url, uint32_t offset);
/* Waits a second at most for the next bytes of the body, and tells the client if some came. */
void otad_idf_io_read(struct otad_idf_io *io, struct otad_client *client);
void otad_idf_io_hang_up(struct otad_idf_io *io);

uint64_t otad_idf_now(void); /* ms since boot */
