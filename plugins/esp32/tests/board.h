/* An ESP32 in memory for the tests of the client: NOR flash with two slots, a boot loader, a power switch, an
 * HTTP server and a broker that obey. Time passes only when nothing else can happen.
 *
 * board_run performs the client's actions until it waits with nothing under way, restarting through reboots.
 * A cut is taken at the n-th durable step (save, erase, write, switch, confirm): before, in the middle of, or
 * after it; board_run then returns with power off, and board_boot turns it on again. */
#pragma once
#include "otad_client.h"

enum { SLOT = 512 * 1024, IMAGE = 300 * 1000 };
enum cut { CUT_BEFORE, CUT_TORN, CUT_AFTER };
enum boot_state { BOOT_NEW, BOOT_PENDING, BOOT_VALID, BOOT_INVALID, BOOT_ABORTED, BOOT_UNDEFINED };

struct board {
    struct otad_client client;
    struct otad_config config;
    uint64_t now;
    uint32_t boots;

    uint8_t flash[2][SLOT];
    enum boot_state states[2];
    int active, running;
    uint8_t record[2][OTAD_RECORD_SIZE];
    size_t record_len[2];

    bool on, open, fetching;
    unsigned steps, cut_at; /* durable steps so far; the one to cut, 0: none */
    enum cut cut;

    const uint8_t *image; /* what the server has, and what it says of it */
    size_t image_len;
    int64_t said_total;
    int status;          /* 0: as the range asks */
    bool ignore_range;   /* answers 200 to a range */
    int64_t range_shift; /* answers another range than was asked for */
    size_t break_every;  /* bytes after which a connection breaks; 0: never */
    uint32_t get_offset, gets, served, at;
    uint64_t first_get_at;

    const char *selftest;   /* NULL: passes */
    bool selftest_hangs;    /* never answers */
    unsigned crashes;       /* boots of a new image that die before the self-test */
    bool broker_down, mute; /* mute: never acknowledges */
    bool deaf;              /* a connection attempt ends in nothing */
    unsigned connects;
    int32_t set_boot_code, save_code;
    unsigned torn_saves; /* so many fail, half written */
    char status_text[1024], offer[OTAD_OFFER_MAX];
    char states_seen[256]; /* every ota.state reported, once each in a row, as "accepted downloading " */
    char logs[4096];
};

/* Keys and the images every test uses: old runs in slot 0 at first, fresh is offered. */
struct bench {
    uint8_t manifest_public[32], manifest_secret[64], release_public[32], release_secret[64],
        thief_public[32], thief_secret[64];
    uint8_t old[IMAGE], fresh[IMAGE];
};
const struct bench *bench(void);
void image_make(uint8_t *out, size_t len, const char *version, uint16_t chip_id, uint8_t seed);

struct offer_spec {
    const char *action, *chip, *version, *url;
    uint64_t update_id, device_id, issued_at, expires_at;
    const uint8_t *image;
    size_t size, hashed; /* hashed: bytes that count for sha256; 0: size */
    const uint8_t *manifest_key, *manifest_public, *release_key, *release_public; /* secret and public */
    bool unreleased;         /* no fields of the release */
    const char *broken_from; /* from there on the manifest is rubbish; it is signed all the same */
};
struct offer_spec offer_spec(uint64_t update_id); /* a good offer of the fresh image to device 42 */
void offer_write(char out[OTAD_OFFER_MAX], const struct offer_spec *spec);

void board_init(struct board *board); /* slot 0 runs the old image, the clock is set, not yet booted */
void board_boot(struct board *board);
void board_offer(struct board *board,
                 const struct offer_spec *spec); /* retained: comes back with each connection */
void board_clear(struct board *board);
void board_run(struct board *board);
void board_pass(struct board *board, uint64_t ms); /* runs while that much time passes */
const char *
board_state(const struct board *board); /* ota.state of the last status; "" without an ota block */
/* Runs the image whose version this is? The image in that slot must be whole. */
bool board_runs(const struct board *board, const uint8_t *image);
