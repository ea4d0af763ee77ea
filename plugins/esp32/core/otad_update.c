/* One update: from the offer over the download to the switch of slots. README.md draws the stages.
 *
 * The slot and the record are ahead of each other by design: a byte counts as written only once the record
 * says so, the record says so only after the write was answered, and what it says is read back and hashed
 * after a boot. So a power cut costs at most CHECKPOINT bytes, and never the running image. */
#include "otad_private.h"
#include "otad_text.h"
#include <string.h>

enum {
    SECTOR = 4096,          /* unit of erasing: a resumed download starts on one */
    CHECKPOINT = 64 * 1024, /* bytes between two saves of the offset */
    BACKOFF_MAX = 5 * 60 * 1000,
    LEAVE_MAX = 5000, /* ms that "rebooting" may take to be delivered */
};

static bool same_update(const struct otad_record *record, const struct otad_offer *offer)
{
    return record->update_id == offer->update_id && memcmp(record->sha256, offer->sha256, OTAD_HASH) == 0;
}

/* Only times and URL may have changed. */
static bool renewed(const struct otad_offer *old, const struct otad_offer *offer)
{
    return old->update_id == offer->update_id && old->size == offer->size &&
           old->rollback == offer->rollback && strcmp(old->version, offer->version) == 0 &&
           memcmp(old->sha256, offer->sha256, OTAD_HASH) == 0 &&
           memcmp(old->elf_sha256, offer->elf_sha256, OTAD_HASH) == 0;
}

static bool finished(const struct otad_record *record)
{
    return record->phase >= OTAD_PHASE_CONFIRMED;
}

/* A replay, or a server whose clock went back. */
static bool older(const struct otad_record *record, const struct otad_offer *offer)
{
    return offer->issued_at < record->issued_at ||
           (offer->issued_at == record->issued_at && offer->update_id < record->update_id);
}

static bool leaving(const struct otad_client *client)
{
    return client->stage == OTAD_SWITCH || client->stage == OTAD_LEAVE;
}

/* --- ending early --- */

static void hang_up(struct otad_client *client)
{
    client->hangup_due |= client->fetching;
    client->fetching = false;
    client->chunk = NULL;
}

static void stop(struct otad_client *client)
{
    hang_up(client);
    client->abandon_due |= client->slot_open;
    client->slot_open = false;
    client->stage = OTAD_IDLE;
}

void otad_update_fail(struct otad_client *client, uint64_t now, const char *why)
{
    stop(client);
    otad_finish(client, now, OTAD_PHASE_FAILED, why);
}

static void reject(struct otad_client *client, uint64_t update_id, const char *why)
{
    stop(client);
    otad_report_set(client, OTAD_STATE_REJECTED, update_id, why);
    otad_say(client, "error", "offer rejected: ", why, NULL);
}

/* Takes note that the server wants nothing more of the update in the record. */
static void close_record(struct otad_client *client, bool told)
{
    struct otad_record *record = &client->record;
    bool cancelled = told && !finished(record);
    if (record->phase == OTAD_PHASE_NONE || (record->cleared && !cancelled)) {
        return;
    }
    if (cancelled) {
        record->phase = OTAD_PHASE_FAILED;
        otad_text_copy(record->error, sizeof record->error, "cancelled");
        otad_say(client, "warn", "update to ", record->version, " cancelled", NULL);
    }
    record->cleared = true;
    client->save_due = true;
}

void otad_update_cleared(struct otad_client *client, bool told)
{
    if (leaving(client) || (client->test != OTAD_TEST_NONE && client->record.phase == OTAD_PHASE_SWITCHING)) {
        return; /* too late; the result will be reported */
    }
    stop(client);
    close_record(client, told);
    otad_report_set(client, OTAD_STATE_NONE, 0, NULL);
}

/* --- offers --- */

static void start_over(struct otad_client *client)
{
    client->offset = client->reused = 0;
    client->save_due |= client->record.offset != 0;
    client->record.offset = 0;
    otad_sha256_init(&client->sha256);
    client->stage = OTAD_JITTER;
}

static void accept(struct otad_client *client, uint64_t unix_s)
{
    struct otad_record *record = &client->record;
    const struct otad_offer *offer = &client->offer;
    uint32_t reused = offer->rollback ? offer->size : 0;
    if (same_update(record, offer) && !finished(record) && record->slot == client->next) {
        reused = record->phase == OTAD_PHASE_SWITCHING ? offer->size
                 : record->offset                      ? record->offset
                                                       : reused;
    } else {
        record->slot = client->next;
        record->stale = client->other_bad;
        record->update_id = offer->update_id;
        record->offset = 0;
        memcpy(record->sha256, offer->sha256, OTAD_HASH);
    }
    record->size = offer->size;
    memcpy(record->elf_sha256, offer->elf_sha256, OTAD_HASH);
    memcpy(record->version, offer->version, sizeof record->version);
    record->phase = OTAD_PHASE_DOWNLOADING;
    /* A time to come must not make every later offer look old. */
    record->issued_at = offer->issued_at < unix_s ? offer->issued_at : unix_s;
    record->switched = record->cleared = false;
    record->error[0] = '\0';
    client->save_due = true;
    client->offset = client->retry_from = 0;
    client->attempts = 0;
    client->restarted = false;
    client->reused = reused <= offer->size ? reused : 0;
    client->spliced = client->reused > 0;
    otad_sha256_init(&client->sha256);
    client->stage = OTAD_REHASH;
    otad_report_set(client, OTAD_STATE_ACCEPTED, offer->update_id, NULL);
    otad_say(client, "info", "accepted ", offer->version, offer->rollback ? " (rollback)" : "", NULL);
}

void otad_update_tick(struct otad_client *client, uint64_t now)
{
    if (client->stage != OTAD_HELD || client->test != OTAD_TEST_NONE) {
        return;
    }
    if (client->clock_unix == 0) {
        if (now >= client->stage_at) {
            reject(client, client->offer.update_id, "the clock is not set");
        }
        return;
    }
    uint64_t unix_s = client->clock_unix + (now - client->clock_at) / 1000;
    if (client->offer.expires_at <= unix_s) {
        reject(client, client->offer.update_id, "offer expired");
    } else {
        accept(client, unix_s);
        if (client->has_elf && memcmp(client->elf_sha256, client->offer.elf_sha256, OTAD_HASH) == 0) {
            stop(client);
            otad_finish(client, now, OTAD_PHASE_CONFIRMED, NULL); /* it runs this build already */
        }
    }
}

/* Tells the result of the update in the record once more. */
static void repeat(struct otad_client *client)
{
    if (client->stage == OTAD_IDLE) {
        client->record.cleared = false;
        otad_report_record(client);
    }
}

/* Whoever sends old offers again must not silence what the server still has to hear. */
static void older_offer(struct otad_client *client, const struct otad_offer *offer)
{
    if (client->stage == OTAD_IDLE && client->test == OTAD_TEST_NONE && client->record.cleared) {
        reject(client, offer->update_id, "older than the offer before");
    } else {
        repeat(client);
        otad_say(client, "info", "older offer ignored: ", offer->version, NULL);
    }
}

static void good_offer(struct otad_client *client, uint64_t now, const struct otad_offer *offer)
{
    struct otad_record *record = &client->record;
    bool same = same_update(record, offer);
    if (leaving(client) || (same && client->test != OTAD_TEST_NONE)) {
        client->status_due = true;
    } else if (same && finished(record)) {
        repeat(client);
        otad_say(client, "info", "offer repeated: ", offer->version, NULL);
    } else if (!same && older(record, offer)) {
        older_offer(client, offer);
    } else if (client->stage != OTAD_IDLE && renewed(&client->offer, offer)) {
        client->offer = *offer;
        client->status_due = true;
    } else {
        stop(client);
        client->offer = *offer;
        client->stage = OTAD_HELD;
        client->stage_at = now + client->config.clock_wait;
        if (client->clock_unix == 0) {
            otad_say(client, "info", "an offer waits for the time", NULL);
        }
    }
}

void otad_client_offer(struct otad_client *client, uint64_t now, const void *message, size_t len)
{
    struct otad_offer offer;
    const char *why;
    client->absent_at = 0;
    client->offer_present = len > 0;
    if (len == 0) {
        otad_update_cleared(client, true);
        return;
    }
    bool busy = client->stage != OTAD_IDLE || client->test != OTAD_TEST_NONE;
    switch (otad_offer_open(&client->config.trust, message, len, client->scratch.text, &offer, &why)) {
    case OTAD_OFFER_GOOD:
        good_offer(client, now, &offer);
        return;
    case OTAD_OFFER_REFUSED: /* genuine: it replaces what is under way, unless that is newer */
        busy = leaving(client) || client->test != OTAD_TEST_NONE || (busy && older(&client->record, &offer));
        break;
    case OTAD_OFFER_UNTRUSTED:
        break;
    case OTAD_OFFER_MALFORMED:
        busy = true; /* there is no update to answer for */
        break;
    }
    if (busy) {
        otad_say(client, "error", "offer ignored: ", why, NULL);
    } else if (finished(&client->record) && (client->record.update_id == offer.update_id ||
                                             (!client->record.cleared && older(&client->record, &offer)))) {
        repeat(client); /* the image it brought need not like it: it may trust other keys */
    } else {
        reject(client, offer.update_id, why);
    }
}

/* --- the image --- */

/* Takes in the image's next bytes. Returns what is wrong with its head, once that is complete. */
static const char *feed(struct otad_client *client, const uint8_t *data, uint32_t len)
{
    struct otad_image image;
    uint32_t before = client->offset;
    otad_sha256_update(&client->sha256, data, len);
    if (before >= OTAD_IMAGE_HEAD) {
        return NULL;
    }
    uint32_t missing = OTAD_IMAGE_HEAD - before;
    memcpy(client->head + before, data, len < missing ? len : missing);
    if (len < missing) {
        return NULL;
    }
    if (!otad_image_parse(client->head, &image)) {
        return "not an ESP32 application image";
    }
    if (image.chip_id != otad_image_chip_id(client->config.trust.chip)) {
        return "image for another chip";
    }
    return memcmp(image.elf_sha256, client->offer.elf_sha256, OTAD_HASH) == 0
               ? NULL
               : "image of another build (elf_sha256)";
}

static bool hash_matches(struct otad_client *client)
{
    uint8_t hash[OTAD_HASH];
    otad_sha256_final(&client->sha256, hash);
    return memcmp(hash, client->offer.sha256, OTAD_HASH) == 0;
}

static void verified(struct otad_client *client)
{
    client->record.phase = OTAD_PHASE_SWITCHING;
    client->record.switched = false;
    client->save_due = true;
    client->stage = OTAD_SWITCH;
}

static void on_reread(struct otad_client *client, uint64_t now, int32_t code)
{
    uint32_t left = client->reused - client->offset, len = left < OTAD_READ_MAX ? left : OTAD_READ_MAX;
    if (code != 0 || feed(client, client->scratch.read, len)) {
        start_over(client);
        return;
    }
    client->offset += len;
    if (client->offset < client->offer.size) {
        return;
    }
    if (hash_matches(client)) {
        verified(client);
    } else {
        start_over(client);
    }
}

static void on_written(struct otad_client *client, uint64_t now)
{
    struct otad_record *record = &client->record;
    client->offset += client->chunk_len;
    client->chunk = NULL;
    if (client->offset - record->offset >= CHECKPOINT) {
        record->offset = client->offset / SECTOR * SECTOR;
        client->save_due = true;
    }
    otad_report_progress(client);
}

static void finish_download(struct otad_client *client, uint64_t now)
{
    otad_report_set(client, OTAD_STATE_VERIFYING, client->offer.update_id, NULL);
    if (hash_matches(client)) {
        client->stage = OTAD_FINISH;
    } else if (client->spliced && !client->restarted) {
        /* The pieces may be of different images, or the flash has lost something: once more in one piece. */
        client->restarted = true;
        client->spliced = false;
        stop(client);
        start_over(client);
        otad_say(client, "warn", "the resumed image is not whole, starting again", NULL);
    } else {
        otad_update_fail(client, now, "image has another SHA-256");
    }
}

/* --- fetching --- */

static void retry(struct otad_client *client, uint64_t now, const char *why)
{
    hang_up(client);
    if (client->offset >= client->retry_from + CHECKPOINT) {
        client->attempts = 0;
        client->retry_from = client->offset;
    }
    client->spliced |= client->offset > 0;
    if (client->attempts++ >= client->config.retries) {
        otad_update_fail(client, now, why);
        return;
    }
    client->stage = OTAD_BACKOFF;
    client->stage_at = now + otad_backoff(client, client->config.backoff, client->attempts - 1u, BACKOFF_MAX);
    otad_say(client, "warn", "download interrupted: ", why, NULL);
}

void otad_client_response(struct otad_client *client, uint64_t now, int status, int64_t start, int64_t total)
{
    if (client->stage != OTAD_ANSWER) {
        return;
    }
    if (status != 200 && status != 206) {
        char why[32];
        struct otad_text text;
        otad_text_init(&text, why, sizeof why);
        otad_text_raw(&text, "HTTP ");
        otad_text_int(&text, status);
        if (status >= 500 || status == 408 || status == 429) {
            retry(client, now, why);
        } else {
            otad_update_fail(client, now, why);
        }
    } else if (total > (int64_t)client->offer.size) {
        otad_update_fail(client, now, "image longer than declared");
    } else if (total >= 0 && total < (int64_t)client->offer.size) {
        retry(client, now, "image shorter than declared");
    } else if (status == 206 && start != (int64_t)client->offset) {
        retry(client, now, "answer to another range");
    } else {
        client->skip = status == 200 ? client->offset : 0; /* the server does not know ranges */
        client->stage = OTAD_BODY;
    }
}

void otad_client_data(struct otad_client *client, uint64_t now, const void *data, size_t len)
{
    const uint8_t *at = data;
    if (client->stage != OTAD_BODY) {
        return;
    }
    size_t skipped = len < client->skip ? len : client->skip;
    client->skip -= (uint32_t)skipped;
    at += skipped;
    len -= skipped;
    if (len > client->offer.size - client->offset) {
        otad_update_fail(client, now, "image longer than declared");
        return;
    }
    if (len == 0) {
        return;
    }
    const char *why = feed(client, at, (uint32_t)len);
    if (why) {
        otad_update_fail(client, now, why);
        return;
    }
    client->chunk = at;
    client->chunk_len = (uint32_t)len;
}

void otad_client_closed(struct otad_client *client, uint64_t now, const char *why)
{
    bool open = client->fetching;
    client->fetching = false;
    if (!open || (client->stage != OTAD_ANSWER && client->stage != OTAD_BODY)) {
        return;
    }
    if (client->stage == OTAD_BODY && client->offset == client->offer.size) {
        finish_download(client, now);
    } else {
        retry(client, now, why ? why : "connection closed early");
    }
}

/* --- what to do next --- */

static bool wait_over(struct otad_client *client, uint64_t now, enum otad_stage next)
{
    if (now < client->stage_at) {
        return false;
    }
    client->stage = next;
    return true;
}

/* Different for each device and update, and the same each time. */
static uint32_t jitter(const struct otad_client *client)
{
    uint64_t state = client->config.trust.device_id * 0x9E3779B97F4A7C15u ^ client->offer.update_id;
    return otad_random(&state, client->config.max_jitter);
}

static void stage_poll(struct otad_client *client, uint64_t now, struct otad_action *action)
{
    const struct otad_offer *offer = &client->offer;
    switch (client->stage) {
    case OTAD_REHASH:
        if (client->offset < client->reused) {
            uint32_t left = client->reused - client->offset;
            action->act = OTAD_READ;
            action->offset = client->offset;
            action->buffer = client->scratch.read;
            action->len = left < OTAD_READ_MAX ? left : OTAD_READ_MAX;
            return;
        }
        client->stage = OTAD_JITTER;
        /* fallthrough */
    case OTAD_JITTER:
        client->stage_at = now + jitter(client);
        client->stage = OTAD_OPEN;
        /* fallthrough */
    case OTAD_OPEN:
        if (now >= client->stage_at) {
            action->act = OTAD_BEGIN;
            action->offset = client->offset;
            action->size = offer->size;
        }
        return;
    case OTAD_BACKOFF:
        if (!wait_over(client, now, OTAD_REQUEST)) {
            return;
        }
        /* fallthrough */
    case OTAD_REQUEST:
        client->stage = OTAD_ANSWER;
        client->fetching = true;
        action->act = OTAD_GET;
        action->text = offer->url;
        action->offset = client->offset;
        return;
    case OTAD_BODY:
        if (client->chunk) {
            action->act = OTAD_WRITE;
            action->offset = client->offset;
            action->data = client->chunk;
            action->len = client->chunk_len;
        }
        return;
    case OTAD_FINISH:
        action->act = OTAD_END;
        return;
    case OTAD_SWITCH:
        action->act = OTAD_SET_BOOT;
        return;
    case OTAD_LEAVE:
        if (!client->connected || now >= client->stage_at ||
            (!client->status_due && client->delivered == client->ticket)) {
            action->act = OTAD_REBOOT;
        }
        return;
    default:
        return;
    }
}

bool otad_update_poll(struct otad_client *client, uint64_t now, struct otad_action *action)
{
    action->act = OTAD_WAIT;
    stage_poll(client, now, action);
    return action->act != OTAD_WAIT;
}

void otad_update_done(struct otad_client *client, uint64_t now, enum otad_act act, int32_t code)
{
    static const char *const deeds[] = {[OTAD_BEGIN] = "cannot open the slot",
                                        [OTAD_WRITE] = "cannot write the image",
                                        [OTAD_END] = "the image was refused",
                                        [OTAD_SET_BOOT] = "cannot switch slots"};
    char why[OTAD_ERROR_MAX + 1];
    if (act == OTAD_READ) {
        on_reread(client, now, code);
        return;
    }
    if (act == OTAD_END) {
        client->slot_open = false;
    }
    if (code != 0) {
        otad_reason(deeds[act], code, why, sizeof why);
        otad_update_fail(client, now, why);
    } else if (act == OTAD_BEGIN) {
        client->slot_open = true;
        client->stage = OTAD_REQUEST;
        otad_report_set(client, OTAD_STATE_DOWNLOADING, client->offer.update_id, NULL);
        otad_report_progress(client);
        otad_say(client, "info", client->offset ? "resuming " : "downloading ", client->offer.version, NULL);
    } else if (act == OTAD_WRITE) {
        on_written(client, now);
    } else if (act == OTAD_END) {
        verified(client);
    } else if (act == OTAD_SET_BOOT) {
        client->record.switched = true;
        client->save_due = true;
        client->stage = OTAD_LEAVE;
        client->stage_at = now + LEAVE_MAX;
        otad_report_set(client, OTAD_STATE_REBOOTING, client->offer.update_id, NULL);
        otad_say(client, "info", "rebooting into ", client->offer.version, NULL);
    }
}

uint64_t otad_update_deadline(const struct otad_client *client)
{
    switch (client->stage) {
    case OTAD_HELD:
        return client->clock_unix == 0 && client->test == OTAD_TEST_NONE ? client->stage_at : UINT64_MAX;
    case OTAD_OPEN:
    case OTAD_BACKOFF:
    case OTAD_LEAVE:
        return client->stage_at;
    default:
        return UINT64_MAX;
    }
}
