/* The board in memory. One test at a time, one thread. */
#include "board.h"
#include "otad_text.h"
#include <assert.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint64_t unix_start = 1790000000;

void image_make(uint8_t *out, size_t len, const char *version, uint16_t chip_id, uint8_t seed)
{
    for (size_t i = 0; i < len; i++) {
        out[i] = (uint8_t)(i * 31 + (i >> 8) * 7 + seed);
    }
    memset(out, 0, OTAD_IMAGE_HEAD);
    out[0] = 0xE9;
    out[1] = 5;
    out[12] = (uint8_t)chip_id;
    out[13] = (uint8_t)(chip_id >> 8);
    memcpy(out + 0x20, "\x32\x54\xCD\xAB", 4);
    strncpy((char *)out + 0x20 + 16, version, 32);
    memset(out + 0x20 + 144, seed, OTAD_HASH);
}

const struct bench *bench(void)
{
    static struct bench made;
    static bool ready;
    if (!ready) {
        uint8_t seed[32] = {1};
        assert(sodium_init() >= 0);
        crypto_sign_seed_keypair(made.manifest_public, made.manifest_secret, seed);
        seed[0] = 2;
        crypto_sign_seed_keypair(made.release_public, made.release_secret, seed);
        seed[0] = 3;
        crypto_sign_seed_keypair(made.thief_public, made.thief_secret, seed);
        image_make(made.old, IMAGE, "1.2.0", 0, 0x11);
        image_make(made.fresh, IMAGE, "dd8478c", 0, 0x22); /* as the Arduino core calls every image */
        ready = true;
    }
    return &made;
}

struct offer_spec offer_spec(uint64_t update_id)
{
    const struct bench *b = bench();
    return (struct offer_spec){.action = "install",
                               .chip = "esp32",
                               .version = "1.3.0",
                               .url = "https://otad.example/ota/t0ken",
                               .update_id = update_id,
                               .device_id = 42,
                               .issued_at = unix_start,
                               .expires_at = unix_start + 3600,
                               .image = b->fresh,
                               .size = IMAGE,
                               .manifest_key = b->manifest_secret,
                               .manifest_public = b->manifest_public,
                               .release_key = b->release_secret,
                               .release_public = b->release_public};
}

static void key_name(const uint8_t public_key[32], char out[9])
{
    uint8_t hash[32];
    crypto_hash_sha256(hash, public_key, 32);
    sodium_bin2hex(out, 9, hash, 4);
}

static void sign(const char *message, const uint8_t *secret, char out[89])
{
    uint8_t signature[64];
    crypto_sign_detached(signature, NULL, (const uint8_t *)message, strlen(message), secret);
    sodium_bin2base64(out, 89, signature, sizeof signature, sodium_base64_VARIANT_ORIGINAL);
}

void offer_write(char out[OTAD_OFFER_MAX], const struct offer_spec *spec)
{
    uint8_t hash[32];
    char sha256[65], elf[65], release_message[256], release_signature[89], name[9], release[256],
        manifest[2048], signature[89];
    crypto_hash_sha256(hash, spec->image, spec->hashed ? spec->hashed : spec->size);
    sodium_bin2hex(sha256, sizeof sha256, hash, 32);
    sodium_bin2hex(elf, sizeof elf, spec->image + 0x20 + 144, 32);
    snprintf(release_message, sizeof release_message, "otad-firmware-1\n%s\n%s\n%s\n", spec->chip,
             spec->version, sha256);
    sign(release_message, spec->release_key, release_signature);
    key_name(spec->release_public, name);
    snprintf(release, sizeof release, "\"release_signature\":\"%s\",\"release_key\":\"%s\",",
             release_signature, name);
    snprintf(manifest, sizeof manifest,
             "{\"action\":\"%s\",\"update_id\":%llu,\"device_id\":%llu,\"version\":\"%s\",\"chip\":\"%s\","
             "\"size\":%zu,"
             "\"sha256\":\"%s\",\"elf_sha256\":\"%s\",\"url\":\"%s\",%s"
             "\"issued_at\":%llu,\"expires_at\":%llu}",
             spec->action, (unsigned long long)spec->update_id, (unsigned long long)spec->device_id,
             spec->version, spec->chip, spec->size, sha256, elf, spec->url, spec->unreleased ? "" : release,
             (unsigned long long)spec->issued_at, (unsigned long long)spec->expires_at);
    if (spec->broken_from) {
        strcpy(strstr(manifest, spec->broken_from), "!");
    }
    sign(manifest, spec->manifest_key, signature);
    key_name(spec->manifest_public, name);
    struct otad_text text;
    otad_text_init(&text, out, OTAD_OFFER_MAX);
    otad_text_raw(&text, "{\"manifest\":");
    otad_text_quoted(&text, manifest);
    otad_text_raw(&text, ",\"signature\":\"");
    otad_text_raw(&text, signature);
    otad_text_raw(&text, "\",\"key\":\"");
    otad_text_raw(&text, name);
    otad_text_raw(&text, "\"}");
    assert(otad_text_ok(&text));
}

void board_init(struct board *board)
{
    const struct bench *b = bench();
    memset(board, 0, sizeof *board);
    memset(board->flash, 0xFF, sizeof board->flash);
    memcpy(board->flash[0], b->old, IMAGE);
    board->states[0] = BOOT_VALID;
    board->states[1] = BOOT_UNDEFINED;
    board->image = b->fresh;
    board->image_len = IMAGE;
    board->said_total = -1;
    struct otad_trust *trust = &board->config.trust;
    trust->device_id = 42;
    strcpy(trust->chip, "esp32");
    trust->slot_size = SLOT;
    trust->manifest_keys = trust->release_keys = 1;
    memcpy(trust->manifest_key[0], b->manifest_public, 32);
    memcpy(trust->release_key[0], b->release_public, 32);
}

static bool bootable(const struct board *board, int slot)
{
    struct otad_image image;
    return otad_image_parse(board->flash[slot], &image);
}

/* As ESP-IDF's boot loader does it with rollback enabled. */
static void boot_loader(struct board *board)
{
    int slot = board->active;
    if (board->states[slot] == BOOT_PENDING) {
        board->states[slot] = BOOT_ABORTED;
    } else if (board->states[slot] == BOOT_NEW) {
        board->states[slot] = BOOT_PENDING;
    }
    if (board->states[slot] == BOOT_ABORTED || board->states[slot] == BOOT_INVALID ||
        !bootable(board, slot)) {
        slot = 1 - slot;
    }
    assert(bootable(board, slot)); /* else the board is a brick */
    board->active = board->running = slot;
}

void board_boot(struct board *board)
{
    struct otad_image image;
    do {
        boot_loader(board);
    } while (board->states[board->running] == BOOT_PENDING && board->crashes > 0 && board->crashes--);
    int other = 1 - board->running;
    assert(otad_image_parse(board->flash[board->running], &image));
    struct otad_boot boot = {.version = image.version,
                             .elf_sha256 = image.elf_sha256,
                             .reset_reason = "software",
                             .slot = (uint8_t)board->running,
                             .next = (uint8_t)other,
                             .pending_verify = board->states[board->running] == BOOT_PENDING,
                             .nonce = ++board->boots,
                             .copies = {board->record[0], board->record[1]},
                             .copy_lens = {board->record_len[0], board->record_len[1]}};
    if (board->states[other] == BOOT_ABORTED || board->states[other] == BOOT_INVALID) {
        boot.other = OTAD_SLOT_BAD;
    }
    board->on = true;
    board->open = board->fetching = false;
    otad_client_init(&board->client, &board->config, &boot, board->now);
    otad_client_clock(&board->client, board->now, unix_start + board->now / 1000);
}

void board_offer(struct board *board, const struct offer_spec *spec)
{
    offer_write(board->offer, spec);
    if (board->client.connected) {
        otad_client_offer(&board->client, board->now, board->offer, strlen(board->offer));
    }
}

void board_clear(struct board *board)
{
    board->offer[0] = '\0';
    otad_client_offer(&board->client, board->now, "", 0);
}

const char *board_state(const struct board *board)
{
    static char state[32];
    const char *at = strstr(board->status_text, "\"state\":\"");
    state[0] = '\0';
    if (at) {
        sscanf(at + 9, "%31[a-z_]", state);
    }
    return state;
}

bool board_runs(const struct board *board, const uint8_t *image)
{
    return memcmp(board->flash[board->running], image, IMAGE) == 0;
}

static void note_state(struct board *board)
{
    char word[40];
    snprintf(word, sizeof word, "%s ", board_state(board));
    size_t len = strlen(board->states_seen), add = strlen(word);
    if (add > 1 && (len < add || strcmp(board->states_seen + len - add, word) != 0) &&
        len + add < sizeof board->states_seen) {
        strcat(board->states_seen, word);
    }
}

/* NOR flash: an erased byte is 0xFF and writing can only clear bits. */
static void flash_write(uint8_t *at, const uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        assert(at[i] == 0xFF); /* written twice without erasing */
        at[i] &= data[i];
    }
}

static int32_t durable(struct board *board, const struct otad_action *action, size_t part, size_t of)
{
    uint8_t *slot = board->flash[1 - board->running];
    switch (action->act) {
    case OTAD_SAVE:
        if (board->save_code) {
            return board->save_code;
        }
        if (board->torn_saves > 0) {
            board->torn_saves--;
            memcpy(board->record[action->copy], action->data, action->len / 2);
            return 0x1105;
        }
        board->record_len[action->copy] = action->len;
        memcpy(board->record[action->copy], action->data, action->len * part / of);
        return 0;
    case OTAD_BEGIN:
        assert(board->states[board->running] != BOOT_PENDING); /* 0x1506 */
        assert(action->offset % 4096 == 0 && !board->open && action->size <= SLOT);
        memset(slot + action->offset, 0xFF, (SLOT - action->offset) * part / of);
        board->open = true;
        return 0;
    case OTAD_WRITE:
        assert(board->open && action->offset + action->len <= SLOT);
        flash_write(slot + action->offset, action->data, action->len * part / of);
        return 0;
    case OTAD_SET_BOOT:
        if (board->set_boot_code) {
            return board->set_boot_code;
        }
        if (part == of) {
            board->states[1 - board->running] = BOOT_NEW;
            board->active = 1 - board->running;
        }
        return 0;
    default: /* OTAD_CONFIRM */
        if (part == of) {
            board->states[board->running] = BOOT_VALID;
        }
        return 0;
    }
}

static int32_t step(struct board *board, const struct otad_action *action)
{
    if (++board->steps != board->cut_at) {
        return durable(board, action, 1, 1);
    }
    if (board->cut == CUT_TORN) {
        durable(board, action, 1, 2);
    } else if (board->cut == CUT_AFTER) {
        durable(board, action, 1, 1);
    }
    board->on = false;
    return 0;
}

static void perform(struct board *board, const struct otad_action *action)
{
    struct otad_client *client = &board->client;
    struct otad_vitals vitals = {.has_battery = true, .battery = 87};
    char text[OTAD_OFFER_MAX];
    uint64_t now = board->now;
    switch (action->act) {
    case OTAD_WAIT:
        return;
    case OTAD_CONNECT:
        assert(otad_client_will(client, text, sizeof text));
        board->connects++;
        if (board->deaf) {
            return;
        }
        if (board->broker_down) {
            otad_client_disconnected(client, now);
            return;
        }
        otad_client_connected(client, now);
        if (board->offer[0]) {
            otad_client_offer(client, now, board->offer, strlen(board->offer));
        }
        return;
    case OTAD_STATUS:
        assert(otad_client_status(client, now, &vitals, board->status_text, sizeof board->status_text));
        note_state(board);
        if (!board->mute) {
            otad_client_published(client, now, action->ticket);
        }
        return;
    case OTAD_LOG:
        snprintf(board->logs + strlen(board->logs), sizeof board->logs - strlen(board->logs), "%s\n",
                 action->text);
        return;
    case OTAD_GET:
        assert(!board->fetching && board->open);
        if (board->gets++ == 0) {
            board->first_get_at = now;
        }
        board->get_offset = board->at = action->offset;
        board->served = 0;
        board->fetching = true;
        if (board->status) {
            otad_client_response(client, now, board->status, -1, -1);
        } else {
            bool partial = action->offset > 0 && !board->ignore_range;
            board->at = partial ? action->offset : 0;
            otad_client_response(client, now, partial ? 206 : 200,
                                 partial ? (int64_t)action->offset + board->range_shift : -1,
                                 board->said_total);
        }
        return;
    case OTAD_HANGUP:
        board->fetching = false;
        return;
    case OTAD_ABANDON:
        assert(board->open);
        board->open = false;
        return;
    case OTAD_SELFTEST:
        if (!board->selftest_hangs) {
            otad_client_selftest(client, now, board->selftest);
        }
        return;
    case OTAD_REBOOT:
        board_boot(board);
        return;
    case OTAD_ROLLBACK:
        board->states[board->running] = BOOT_INVALID;
        board->active = 1 - board->running;
        board_boot(board);
        return;
    case OTAD_READ:
        memcpy(action->buffer, board->flash[1 - board->running] + action->offset, action->len);
        otad_client_done(client, now, 0);
        return;
    case OTAD_END:
        board->open = false;
        otad_client_done(client, now, bootable(board, 1 - board->running) ? 0 : 0x1503);
        return;
    default: {
        int32_t code = step(board, action);
        if (board->on) {
            otad_client_done(client, now, code);
        }
    }
    }
}

/* The server's next piece. */
static void serve(struct board *board)
{
    size_t left = board->at < board->image_len ? board->image_len - board->at : 0,
           len = left < 1000 ? left : 1000;
    if (board->break_every && board->served >= board->break_every) {
        board->fetching = false;
        otad_client_closed(&board->client, board->now, "connection reset");
    } else if (len == 0) {
        board->fetching = false;
        otad_client_closed(&board->client, board->now, NULL);
    } else {
        board->at += (uint32_t)len;
        board->served += (uint32_t)len;
        otad_client_data(&board->client, board->now, board->image + board->at - len, len);
    }
}

void board_pass(struct board *board, uint64_t ms)
{
    uint64_t until = board->now + ms;
    struct otad_action action;
    unsigned turns = 0;
    while (board->on && turns++ < 100000) {
        otad_client_poll(&board->client, board->now, &action);
        if (action.act != OTAD_WAIT) {
            perform(board, &action);
        } else if (board->fetching) {
            serve(board);
        } else if (board->now >= until) {
            return;
        } else {
            uint64_t left = until - board->now;
            board->now += action.wait_ms < left ? action.wait_ms : left;
        }
    }
    assert(turns < 100000); /* it runs in circles */
}

void board_run(struct board *board)
{
    board_pass(board, 10 * 60 * 1000);
}
