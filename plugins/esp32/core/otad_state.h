/* The client's data: what the port gives it, and the one struct that holds all of its state. */
#pragma once
#include "otad_image.h"
#include "otad_record.h"

/* As reported in ota.state. */
enum otad_state {
    OTAD_STATE_NONE, /* no ota block */
    OTAD_STATE_ACCEPTED,
    OTAD_STATE_DOWNLOADING,
    OTAD_STATE_VERIFYING,
    OTAD_STATE_REBOOTING,
    OTAD_STATE_CONFIRMED,
    OTAD_STATE_FAILED,
    OTAD_STATE_ROLLED_BACK,
    OTAD_STATE_REJECTED,
};

/* Durations in ms; 0 stands for the value in brackets, but for max_jitter. */
struct otad_config {
    struct otad_trust trust;
    uint32_t heartbeat;     /* between statuses, varied by a tenth [60 s] */
    uint32_t max_jitter;    /* longest wait before a download starts [none] */
    uint32_t backoff;       /* before the first retry of a download, doubled each time, at most 5 min [2 s] */
    uint32_t clock_wait;    /* how long an offer waits for the time to become known [5 min] */
    uint32_t confirm_limit; /* a new image must have passed its self-test and be connected by then [15 min] */
    uint32_t connect_limit; /* an attempt to connect that has not ended by then is given up [2 min] */
    uint8_t retries;        /* of a download without progress [8] */
};

enum otad_other_slot {
    OTAD_SLOT_UNKNOWN,
    OTAD_SLOT_BAD, /* the boot loader or the application gave the other slot up: INVALID or ABORTED */
};

struct otad_boot {
    const char *version;       /* of the running image's descriptor */
    const uint8_t *elf_sha256; /* OTAD_HASH bytes; NULL: unknown */
    const char *reset_reason;  /* NULL: unknown; kept by pointer */
    uint8_t slot, next;        /* the numbers of the running slot and of the one an update goes to */
    bool pending_verify;       /* it was never confirmed */
    enum otad_other_slot other;
    uint32_t nonce; /* random, different each boot */
    const uint8_t *copies[2];
    size_t copy_lens[2];
};

/* What the application measures. Unknown values stay unsaid. */
struct otad_metric {
    const char *name; /* lower case letters, digits and _ */
    int64_t value;    /* in 10^-decimals */
    uint8_t decimals;
};
struct otad_vitals {
    bool has_rssi, has_heap, has_battery;
    int32_t rssi;    /* dBm */
    uint32_t heap;   /* bytes free */
    uint8_t battery; /* % */
    const struct otad_metric *metrics;
    size_t metric_count;
};

enum { OTAD_LOG_LINES = 6, OTAD_LOG_TEXT = 144, OTAD_SESSION_MAX = 24, OTAD_READ_MAX = 1024 };

enum otad_stage {
    OTAD_IDLE,
    OTAD_HELD,    /* a good offer waits for the time, or for the running image's self-test */
    OTAD_REHASH,  /* reading what the slot holds already */
    OTAD_JITTER,  /* wait before the download */
    OTAD_OPEN,    /* OTAD_BEGIN */
    OTAD_REQUEST, /* OTAD_GET */
    OTAD_ANSWER,  /* waiting for the answer's head */
    OTAD_BODY,
    OTAD_BACKOFF,
    OTAD_FINISH, /* OTAD_END */
    OTAD_SWITCH, /* OTAD_SET_BOOT */
    OTAD_LEAVE,  /* OTAD_REBOOT, once "rebooting" was delivered or after 5 s */
};

enum otad_test {
    OTAD_TEST_NONE, /* the running image is confirmed */
    OTAD_TEST_DUE,
    OTAD_TEST_RUNNING,
    OTAD_TEST_PASSED, /* OTAD_CONFIRM once connected */
    OTAD_TEST_FAILED, /* OTAD_ROLLBACK */
};

/* Private to the client's own files. */
struct otad_client {
    struct otad_config config;
    struct otad_record record;
    struct otad_offer offer; /* the one being worked at, while stage is not IDLE */
    enum otad_stage stage;
    enum otad_test test;
    uint64_t started, stage_at, test_at, heartbeat_at, absent_at, random;
    uint64_t connect_at;           /* when to connect; while connecting, when to give up */
    uint64_t clock_unix, clock_at; /* the time was clock_unix at now == clock_at; 0: unknown */

    int doing; /* enum otad_act whose answer is due, or 0 */
    bool save_due, hangup_due, abandon_due, status_due;
    bool connected, connecting, offer_present;
    bool fetching, slot_open, spliced, restarted; /* spliced: the image came in more than one piece */
    uint8_t attempts, connects;
    uint32_t ticket, delivered; /* statuses written; the newest one acknowledged */

    uint32_t offset, reused, skip; /* of the download: done; to re-read first; body bytes to pass over */
    uint32_t retry_from;           /* offset from which `attempts` counts */
    const uint8_t *chunk;          /* to be written */
    uint32_t chunk_len;
    struct otad_sha256 sha256;
    uint8_t head[OTAD_IMAGE_HEAD];

    struct {
        enum otad_state state;
        uint64_t update_id;
        uint8_t progress;
        char error[OTAD_ERROR_MAX + 1];
    } report;

    char version[OTAD_VERSION_MAX + 1], session[OTAD_SESSION_MAX];
    uint8_t elf_sha256[OTAD_HASH], slot, next;
    bool has_elf, other_bad;
    const char *reset_reason;
    uint32_t nonce, session_count;

    struct {
        const char *level;
        char text[OTAD_LOG_TEXT];
    } log[OTAD_LOG_LINES];
    uint8_t log_first, log_count;

    uint8_t record_bytes[OTAD_RECORD_SIZE];
    union {
        char text[OTAD_MANIFEST_MAX];
        uint8_t read[OTAD_READ_MAX];
    } scratch; /* text: within otad_client_offer; read: during OTAD_READ */
};
