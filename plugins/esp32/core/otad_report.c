/* What the client tells: its status with the ota block, its last will, its log. */
#include "otad_private.h"
#include "otad_text.h"
#include <stdarg.h>
#include <string.h>

enum { PROGRESS_STEP = 10 };

const char *otad_state_name(enum otad_state state)
{
    static const char *const names[] = {"none",      "accepted", "downloading", "verifying", "rebooting",
                                        "confirmed", "failed",   "rolled_back", "rejected"};
    return names[state];
}

void otad_report_set(struct otad_client *client, enum otad_state state, uint64_t update_id, const char *error)
{
    static const uint8_t whole = 100;
    bool done = state >= OTAD_STATE_VERIFYING && state <= OTAD_STATE_CONFIRMED;
    if (done || state < OTAD_STATE_VERIFYING || update_id != client->report.update_id) {
        client->report.progress = done ? whole : 0;
    }
    client->report.state = state;
    client->report.update_id = update_id;
    otad_text_copy(client->report.error, sizeof client->report.error, error ? error : "");
    client->status_due = true;
}

static uint8_t percent(uint32_t part, uint32_t whole)
{
    return whole ? (uint8_t)((uint64_t)part * 100 / whole) : 0;
}

void otad_report_record(struct otad_client *client)
{
    static const enum otad_state states[OTAD_PHASES] = {OTAD_STATE_NONE,      OTAD_STATE_DOWNLOADING,
                                                        OTAD_STATE_REBOOTING, OTAD_STATE_CONFIRMED,
                                                        OTAD_STATE_FAILED,    OTAD_STATE_ROLLED_BACK};
    const struct otad_record *record = &client->record;
    otad_report_set(client, record->cleared ? OTAD_STATE_NONE : states[record->phase], record->update_id,
                    record->error);
    if (record->phase == OTAD_PHASE_DOWNLOADING) {
        client->report.progress = percent(record->offset, record->size);
    }
}

void otad_report_progress(struct otad_client *client)
{
    uint8_t now = percent(client->offset, client->offer.size);
    client->status_due |= now / PROGRESS_STEP != client->report.progress / PROGRESS_STEP;
    client->report.progress = now;
}

void otad_say(struct otad_client *client, const char *level, ...)
{
    unsigned at = (client->log_first + client->log_count) % OTAD_LOG_LINES;
    if (client->log_count == OTAD_LOG_LINES) {
        client->log_first = (uint8_t)((client->log_first + 1) % OTAD_LOG_LINES);
    } else {
        client->log_count++;
    }
    struct otad_text text;
    va_list parts;
    otad_text_init(&text, client->log[at].text, sizeof client->log[at].text);
    client->log[at].level = level;
    va_start(parts, level);
    for (const char *part; (part = va_arg(parts, const char *)) != NULL;) {
        otad_text_raw(&text, part);
    }
    va_end(parts);
}

void otad_reason(const char *what, int32_t code, char *out, size_t size)
{
    /* ESP_ERR_OTA_BASE in esp_ota_ops.h */
    static const char *const ota_errors[] = {
        "the slot is the running one",   "otadata is invalid",  "image validation failed",
        "secure version too small",      "rollback impossible", "the running image is not confirmed",
        "another update is in progress", "other SPI mode"};
    enum { FIRST = 0x1501, COUNT = sizeof ota_errors / sizeof *ota_errors };
    struct otad_text text;
    otad_text_init(&text, out, size);
    otad_text_raw(&text, what);
    if (code >= FIRST && code < FIRST + COUNT) {
        otad_text_raw(&text, ": ");
        otad_text_raw(&text, ota_errors[code - FIRST]);
    }
    const uint8_t bytes[2] = {(uint8_t)(code >> 8), (uint8_t)code};
    otad_text_raw(&text, " (0x");
    otad_text_hex(&text, bytes, sizeof bytes);
    otad_text_raw(&text, ")");
}

/* --- JSON --- */

static void member(struct otad_text *text, const char *name)
{
    otad_text_raw(text, text->len > 1 && text->out[text->len - 1] != '{' ? "," : "");
    otad_text_quoted(text, name);
    otad_text_raw(text, ":");
}

static void member_text(struct otad_text *text, const char *name, const char *value)
{
    member(text, name);
    otad_text_quoted(text, value);
}

static void member_int(struct otad_text *text, const char *name, int64_t value)
{
    member(text, name);
    otad_text_int(text, value);
}

static int64_t uptime(const struct otad_client *client, uint64_t now)
{
    return (int64_t)((now - client->started) / 1000);
}

static void put_vitals(struct otad_text *text, const struct otad_vitals *vitals)
{
    if (vitals->has_rssi) {
        member_int(text, "rssi", vitals->rssi);
    }
    if (vitals->has_heap) {
        member_int(text, "heap", vitals->heap);
    }
    if (vitals->has_battery) {
        member_int(text, "battery", vitals->battery);
    }
    for (size_t i = 0; i < vitals->metric_count; i++) {
        member(text, vitals->metrics[i].name);
        otad_text_decimal(text, vitals->metrics[i].value, vitals->metrics[i].decimals);
    }
}

static void put_ota(struct otad_text *text, const struct otad_client *client)
{
    member(text, "ota");
    otad_text_raw(text, "{");
    member_int(text, "update_id", (int64_t)client->report.update_id);
    member_text(text, "state", otad_state_name(client->report.state));
    member_int(text, "progress", client->report.progress);
    member(text, "error");
    if (client->report.error[0]) {
        otad_text_quoted(text, client->report.error);
    } else {
        otad_text_raw(text, "null");
    }
    otad_text_raw(text, "}");
}

bool otad_client_status(struct otad_client *client, uint64_t now, const struct otad_vitals *vitals, char *out,
                        size_t size)
{
    struct otad_text text;
    otad_text_init(&text, out, size);
    otad_text_raw(&text, "{");
    member_text(&text, "status", "online");
    member_text(&text, "session", client->session);
    member_text(&text, "firmware_version", client->version);
    member_text(&text, "chip", client->config.trust.chip);
    if (client->has_elf) {
        member(&text, "elf_sha256");
        otad_text_raw(&text, "\"");
        otad_text_hex(&text, client->elf_sha256, OTAD_HASH);
        otad_text_raw(&text, "\"");
    }
    member_int(&text, "uptime", uptime(client, now));
    put_vitals(&text, vitals);
    if (client->reset_reason) {
        member_text(&text, "reset_reason", client->reset_reason);
    }
    if (client->report.state != OTAD_STATE_NONE) {
        put_ota(&text, client);
    }
    otad_text_raw(&text, "}");
    return otad_text_ok(&text);
}

bool otad_client_will(const struct otad_client *client, char *out, size_t size)
{
    struct otad_text text;
    otad_text_init(&text, out, size);
    otad_text_raw(&text, "{");
    member_text(&text, "status", "offline");
    member_text(&text, "session", client->session);
    otad_text_raw(&text, "}");
    return otad_text_ok(&text);
}

bool otad_client_log(const struct otad_client *client, uint64_t now, const char *level, const char *message,
                     char *out, size_t size)
{
    struct otad_text text;
    otad_text_init(&text, out, size);
    otad_text_raw(&text, "{");
    member_text(&text, "level", level);
    member_text(&text, "message", message);
    member_int(&text, "uptime", uptime(client, now));
    otad_text_raw(&text, "}");
    return otad_text_ok(&text);
}
