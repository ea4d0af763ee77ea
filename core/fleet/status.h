/* What devices send on device/{id}/status and device/{id}/logs, parsed and checked.
 *
 * A wrong type in a named field, or a value that cannot be in one that decides something, makes a message
 * malformed; an unknown chip and a measurement that cannot be (a battery of 500 %) are dropped and counted.
 * All named fields but `status` may be absent or null. Other fields are telemetry: scalars, up to
 * STATUS_TELEMETRY of them, names of 1..64 bytes without quotes, backslashes and control characters; what
 * does not fit is dropped and counted in the result. Slices point into the message and the document given.
 * Nothing is allocated. Any thread. */
#pragma once
#include "base/flatjson.h"

enum {
    STATUS_LONGEST = 4096, /* bytes of a message */
    STATUS_SESSION = 64,   /* bytes */
    STATUS_VERSION = 50,   /* characters, as the database counts them */
    STATUS_VERSION_BYTES = 4 * STATUS_VERSION,
    STATUS_CHIP = 16,
    STATUS_ELF = 64,
    STATUS_ERROR = 255,                   /* bytes; a longer one is cut */
    STATUS_TELEMETRY = 32,                /* fields without a name of their own */
    STATUS_FIELDS = STATUS_TELEMETRY + 5, /* and uptime, rssi, heap, battery, reset_reason */
    STATUS_NAME = 64
};

/* Reasons, as counted in otad_mqtt_rejected_total. */
extern const char status_size[];   /* over 4 KiB */
extern const char status_syntax[]; /* no such JSON or text */
extern const char status_type[];   /* a named field has the wrong type, or `status` is missing */
extern const char status_value[];  /* a named field is out of its range */

enum status_ota_state {
    OTA_ACCEPTED,
    OTA_DOWNLOADING,
    OTA_VERIFYING,
    OTA_REBOOTING,
    OTA_CONFIRMED,
    OTA_FAILED,
    OTA_ROLLED_BACK,
    OTA_REJECTED,
    OTA_STATES
};
extern const char *const status_ota_names[OTA_STATES];

struct status_text {
    const char *s; /* NULL: absent; not NUL-terminated */
    size_t len;
};

struct status_ota {
    int32_t update_id;
    enum status_ota_state state;
    int progress; /* -1: not told */
    struct status_text error;
};

struct status {
    bool online;
    struct status_text session, version, chip;
    char elf_sha256[STATUS_ELF + 1]; /* lower case; "": absent */
    bool has_ota;
    struct status_ota ota;
    size_t count;
    const struct flatjson_field *telemetry[STATUS_FIELDS];
    unsigned nested, surplus; /* telemetry fields dropped: not flat; too many or with an unfit name */
    unsigned outside;         /* named fields dropped: an unknown chip, or a number out of its range */
    const char *field;        /* the named field that a reason is about, or NULL */
};

/* Parses a status. Returns NULL or a reason. `json` is NUL-terminated behind `len`. */
const char *status_parse(struct status *status, struct flatjson *doc, const char *json, size_t len)
    __attribute__((warn_unused_result));

/* One log message: a line of text (level "info"), or {"level", "message"} with the level's customary
 * spellings made error, warn, info or debug. */
struct status_log {
    const char *level;
    struct status_text message;
};
const char *status_parse_log(struct status_log *log, struct flatjson *doc, const char *text, size_t len)
    __attribute__((warn_unused_result));
