/* The client's frame: what the boot means, the connection, the self-test of a new image, and the order in
 * which things are done: first what is said, then what must be durable, then the status, so that each state
 * is told, then the update. */
#include "otad_client.h"
#include "otad_private.h"
#include "otad_text.h"
#include <string.h>

enum {
    SECOND = 1000,
    MINUTE = 60 * SECOND,
    WAIT_MAX = 60 * MINUTE,
    RECONNECT_MIN = 1 * SECOND,
    RECONNECT_MAX = 2 * MINUTE,
    ABSENT = 30 * SECOND, /* a retained offer arrives with the subscription, long before this */
};

uint32_t otad_random(uint64_t *state, uint32_t limit)
{
    *state += 0x9E3779B97F4A7C15u; /* splitmix64 */
    uint64_t z = *state;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    z ^= z >> 31;
    return limit ? (uint32_t)((z >> 32) * limit >> 32) : 0;
}

uint32_t otad_backoff(struct otad_client *client, uint32_t base, unsigned times, uint32_t most)
{
    uint32_t wait = base;
    while (times-- > 0 && wait < most) {
        wait *= 2;
    }
    wait = wait < most ? wait : most;
    return wait / 2 + otad_random(&client->random, wait);
}

static void fallback(uint32_t *value, uint32_t otherwise)
{
    *value = *value ? *value : otherwise;
}

static bool same_elf(const struct otad_client *client, const uint8_t elf_sha256[OTAD_HASH])
{
    return client->has_elf && memcmp(client->elf_sha256, elf_sha256, OTAD_HASH) == 0;
}

void otad_adopt(struct otad_client *client)
{
    struct otad_record *record = &client->record;
    memcpy(record->running_elf_sha256, record->elf_sha256, OTAD_HASH);
    memcpy(record->running_version, record->version, sizeof record->version);
    memcpy(client->version, record->version, sizeof client->version);
}

static bool boots_new(const struct otad_client *client)
{
    return client->record.phase == OTAD_PHASE_SWITCHING && client->record.slot == client->slot;
}

/* Finds out what happened between the last save and this boot. */
static void settle(struct otad_client *client, uint64_t now, const struct otad_boot *boot)
{
    struct otad_record *record = &client->record;
    if (boots_new(client) && client->has_elf && !same_elf(client, record->elf_sha256)) {
        otad_finish(client, now, OTAD_PHASE_FAILED, "another image was booted");
    } else if (boots_new(client)) {
        memcpy(client->version, record->version, sizeof client->version);
        client->test = OTAD_TEST_DUE;
        record->switched = true;
        client->save_due = true;
    } else if (record->phase == OTAD_PHASE_SWITCHING &&
               (record->switched || (boot->other == OTAD_SLOT_BAD && !record->stale))) {
        otad_finish(client, now, OTAD_PHASE_ROLLED_BACK,
                    record->error[0] ? record->error : "the new image did not start");
    }
    if (boot->pending_verify) {
        client->test = OTAD_TEST_DUE;
    }
    client->test_at = now + client->config.confirm_limit;
    otad_report_record(client);
}

void otad_client_init(struct otad_client *client, const struct otad_config *config,
                      const struct otad_boot *boot, uint64_t now)
{
    memset(client, 0, sizeof *client);
    client->config = *config;
    fallback(&client->config.heartbeat, 60 * SECOND);
    fallback(&client->config.backoff, 2 * SECOND);
    fallback(&client->config.clock_wait, 5 * MINUTE);
    fallback(&client->config.confirm_limit, 15 * MINUTE);
    fallback(&client->config.connect_limit, 2 * MINUTE);
    if (client->config.retries == 0) {
        client->config.retries = 8;
    }
    client->started = now;
    client->nonce = boot->nonce;
    client->random = config->trust.device_id << 32 ^ boot->nonce;
    client->reset_reason = boot->reset_reason;
    client->slot = boot->slot;
    client->next = boot->next;
    client->other_bad = boot->other == OTAD_SLOT_BAD;
    otad_text_copy(client->version, sizeof client->version, boot->version);
    otad_record_load(&client->record, boot->copies[0], boot->copy_lens[0], boot->copies[1],
                     boot->copy_lens[1]);
    if (boot->elf_sha256) {
        client->has_elf = true;
        memcpy(client->elf_sha256, boot->elf_sha256, OTAD_HASH);
    }
    if (client->record.running_version[0] && same_elf(client, client->record.running_elf_sha256)) {
        memcpy(client->version, client->record.running_version, sizeof client->version);
    }
    settle(client, now, boot);
    otad_say(client, "info", "booted ", client->version, client->test ? ", not yet confirmed" : "", NULL);
}

const char *otad_client_version(const struct otad_client *client)
{
    return client->version;
}

void otad_finish(struct otad_client *client, uint64_t now, enum otad_phase phase, const char *why)
{
    struct otad_record *record = &client->record;
    char error[OTAD_ERROR_MAX + 1];
    otad_text_copy(error, sizeof error, why ? why : "");
    memcpy(record->error, error, sizeof error);
    record->phase = phase;
    record->cleared = false;
    if (phase == OTAD_PHASE_CONFIRMED) {
        otad_adopt(client);
    }
    client->save_due = true;
    if (!client->offer_present) {
        client->absent_at = now + ABSENT;
    }
    otad_report_record(client);
    otad_say(client, why ? "error" : "info", otad_state_name(client->report.state), " ", record->version,
             why ? ": " : "", why ? error : "", NULL);
}

/* --- connection --- */

static void session_make(struct otad_client *client)
{
    struct otad_text text;
    uint8_t nonce[4];
    for (int i = 0; i < 4; i++) {
        nonce[i] = (uint8_t)(client->nonce >> 8 * i);
    }
    otad_text_init(&text, client->session, sizeof client->session);
    otad_text_hex(&text, nonce, sizeof nonce);
    otad_text_raw(&text, "-");
    otad_text_int(&text, ++client->session_count);
}

void otad_client_connected(struct otad_client *client, uint64_t now)
{
    client->connected = true;
    client->connecting = false;
    client->connects = 0;
    client->status_due = true;
    client->absent_at = client->offer_present ? 0 : now + ABSENT;
    otad_say(client, "info", "connected", NULL);
}

void otad_client_disconnected(struct otad_client *client, uint64_t now)
{
    if (client->connected) {
        otad_say(client, "warn", "connection lost", NULL);
    }
    client->connected = client->connecting = false;
    client->offer_present = false; /* the next subscription tells anew */
    client->absent_at = 0;
    client->connect_at = now + otad_backoff(client, RECONNECT_MIN, client->connects, RECONNECT_MAX);
    client->connects += client->connects < 16;
}

void otad_client_published(struct otad_client *client, uint64_t now, uint32_t ticket)
{
    if (ticket > client->delivered && ticket <= client->ticket) {
        client->delivered = ticket;
    }
}

void otad_client_touch(struct otad_client *client, uint64_t now)
{
    client->status_due = true;
}

void otad_client_clock(struct otad_client *client, uint64_t now, uint64_t unix_s)
{
    client->clock_unix = unix_s;
    client->clock_at = now;
}

static void heartbeat_plan(struct otad_client *client, uint64_t now)
{
    uint32_t interval = client->config.heartbeat;
    client->heartbeat_at = now + interval - interval / 10 + otad_random(&client->random, interval / 5);
}

/* --- the self-test of an image that was not confirmed --- */

void otad_client_selftest(struct otad_client *client, uint64_t now, const char *failure)
{
    if (client->test != OTAD_TEST_RUNNING) {
        return;
    }
    if (!failure) {
        client->test = OTAD_TEST_PASSED;
        return;
    }
    client->test = OTAD_TEST_FAILED;
    otad_say(client, "error", failure, NULL);
    if (boots_new(client)) {
        otad_text_copy(client->record.error, sizeof client->record.error, failure);
        client->save_due = true;
    }
}

static void test_expire(struct otad_client *client, uint64_t now)
{
    bool passed = client->test == OTAD_TEST_PASSED;
    if ((passed || client->test == OTAD_TEST_RUNNING) && now >= client->test_at) {
        client->test = OTAD_TEST_RUNNING;
        otad_client_selftest(client, now,
                             passed ? "no connection to the broker" : "the self-test took too long");
    }
}

static bool test_poll(struct otad_client *client, struct otad_action *action)
{
    switch (client->test) {
    case OTAD_TEST_DUE:
        client->test = OTAD_TEST_RUNNING;
        action->act = OTAD_SELFTEST;
        return true;
    case OTAD_TEST_PASSED:
        action->act = OTAD_CONFIRM;
        return client->connected;
    case OTAD_TEST_FAILED:
        action->act = OTAD_ROLLBACK;
        return true;
    default:
        return false;
    }
}

static void test_done(struct otad_client *client, uint64_t now, bool confirmed, int32_t code)
{
    char why[OTAD_ERROR_MAX + 1];
    if (confirmed && code != 0) {
        client->test = OTAD_TEST_RUNNING;
        otad_reason("cannot confirm the image", code, why, sizeof why);
        otad_client_selftest(client, now, why);
        return;
    }
    client->test = OTAD_TEST_NONE;
    if (confirmed) {
        if (boots_new(client)) {
            otad_finish(client, now, OTAD_PHASE_CONFIRMED, NULL);
        }
        return;
    }
    otad_reason("cannot roll back", code, why, sizeof why);
    if (boots_new(client)) {
        otad_adopt(client);
        otad_finish(client, now, OTAD_PHASE_FAILED, why);
    } else {
        otad_say(client, "error", why, NULL);
    }
}

/* --- what to do next --- */

static bool save_poll(struct otad_client *client, struct otad_action *action)
{
    if (!client->save_due) {
        return false;
    }
    client->save_due = false;
    client->record.sequence++;
    otad_record_encode(&client->record, client->record_bytes);
    action->act = OTAD_SAVE;
    action->copy = client->record.sequence & 1;
    action->data = client->record_bytes;
    action->len = OTAD_RECORD_SIZE;
    return true;
}

static bool take_due(bool *due, enum otad_act act, struct otad_action *action)
{
    bool was = *due;
    *due = false;
    action->act = was ? act : action->act;
    return was;
}

static bool log_poll(struct otad_client *client, struct otad_action *action)
{
    if (client->log_count == 0) {
        return false;
    }
    action->act = OTAD_LOG;
    action->level = client->log[client->log_first].level;
    action->text = client->log[client->log_first].text;
    client->log_first = (uint8_t)((client->log_first + 1) % OTAD_LOG_LINES);
    client->log_count--;
    return true;
}

static bool link_poll(struct otad_client *client, uint64_t now, struct otad_action *action)
{
    if (!client->connected) {
        if (client->connecting || now < client->connect_at) {
            return false;
        }
        client->connecting = true;
        client->connect_at = now + client->config.connect_limit;
        session_make(client);
        action->act = OTAD_CONNECT;
        return true;
    }
    if (!client->status_due && now < client->heartbeat_at) {
        return false;
    }
    client->status_due = false;
    heartbeat_plan(client, now);
    action->act = OTAD_STATUS;
    action->ticket = ++client->ticket;
    return true;
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint32_t wait_time(const struct otad_client *client, uint64_t now)
{
    uint64_t at = otad_update_deadline(client);
    if (client->connected) {
        at = least(at, client->heartbeat_at);
        at = client->absent_at ? least(at, client->absent_at) : at;
    } else {
        at = least(at, client->connect_at);
    }
    if (client->test == OTAD_TEST_RUNNING || client->test == OTAD_TEST_PASSED) {
        at = least(at, client->test_at);
    }
    return at <= now ? 0 : (uint32_t)least(at - now, WAIT_MAX);
}

void otad_client_poll(struct otad_client *client, uint64_t now, struct otad_action *action)
{
    *action = (struct otad_action){.act = OTAD_WAIT};
    if (client->connected && client->absent_at && now >= client->absent_at) {
        client->absent_at = 0;
        otad_update_cleared(client, false);
    }
    if (client->connecting && now >= client->connect_at) {
        otad_say(client, "warn", "no connection in time", NULL);
        otad_client_disconnected(client, now);
    }
    test_expire(client, now);
    otad_update_tick(client, now);
    if (log_poll(client, action) || take_due(&client->hangup_due, OTAD_HANGUP, action) ||
        take_due(&client->abandon_due, OTAD_ABANDON, action)) {
        return;
    }
    if (save_poll(client, action) || link_poll(client, now, action) || test_poll(client, action) ||
        otad_update_poll(client, now, action)) {
        client->doing = action->act >= OTAD_SAVE ? action->act : OTAD_WAIT;
        return;
    }
    *action = (struct otad_action){.act = OTAD_WAIT, .wait_ms = wait_time(client, now)};
}

void otad_client_done(struct otad_client *client, uint64_t now, int32_t code)
{
    int act = client->doing;
    client->doing = OTAD_WAIT;
    if (act == OTAD_CONFIRM || act == OTAD_ROLLBACK) {
        test_done(client, now, act == OTAD_CONFIRM, code);
    } else if (act == OTAD_SAVE && code != 0) {
        char why[OTAD_ERROR_MAX + 1];
        client->record.sequence--; /* whatever became of this copy, the other is the last good one */
        otad_reason("cannot save the state", code, why, sizeof why);
        if (client->stage >= OTAD_REHASH && client->stage <= OTAD_SWITCH) {
            otad_update_fail(client, now, why);
        } else {
            otad_say(client, "error", why, NULL);
        }
    } else if (act != OTAD_WAIT && act != OTAD_SAVE) {
        otad_update_done(client, now, (enum otad_act)act, code);
    }
}
