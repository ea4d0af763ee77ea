/* The rules for what devices say; base/flatjson.h does the scanning. Pure functions of their arguments. */
#include "fleet/status.h"
#include "fleet/image.h"
#include <string.h>

const char status_size[] = "size";
const char status_syntax[] = "syntax";
const char status_type[] = "type";
const char status_value[] = "value";

const char *const status_ota_names[OTA_STATES] = {"accepted",  "downloading", "verifying",   "rebooting",
                                                  "confirmed", "failed",      "rolled_back", "rejected"};

static bool is(const struct flatjson_field *field, const char *text)
{
    return field->text_len == strlen(text) && memcmp(field->text, text, field->text_len) == 0;
}

static size_t characters(const char *s, size_t len)
{
    size_t count = 0;
    for (size_t i = 0; i < len; i++)
        count += ((unsigned char)s[i] & 0xc0) != 0x80;
    return count;
}

/* 1..most characters without control characters. */
static const char *take_text(struct status_text *out, const struct flatjson_field *field, size_t most)
{
    if (field->kind != FLATJSON_STRING)
        return status_type;
    if (field->text_len == 0 || characters(field->text, field->text_len) > most)
        return status_value;
    for (size_t i = 0; i < field->text_len; i++) {
        if ((unsigned char)field->text[i] < 0x20 || field->text[i] == 0x7f)
            return status_value;
    }
    *out = (struct status_text){field->text, field->text_len};
    return NULL;
}

static const char *take_status(struct status *status, const struct flatjson_field *field)
{
    if (field->kind != FLATJSON_STRING)
        return status_type;
    status->online = is(field, "online");
    return status->online || is(field, "offline") ? NULL : status_value;
}

static const char *take_session(struct status *status, const struct flatjson_field *field)
{
    const char *reason = take_text(&status->session, field, STATUS_SESSION);
    return reason == NULL && field->text_len > STATUS_SESSION ? status_value : reason;
}

static const char *take_version(struct status *status, const struct flatjson_field *field)
{
    return take_text(&status->version, field, STATUS_VERSION);
}

/* One that no image can be for says nothing about updates. */
static const char *take_chip(struct status *status, const struct flatjson_field *field)
{
    if (field->kind != FLATJSON_STRING)
        return status_type;
    if (image_chip_known(field->text, field->text_len))
        status->chip = (struct status_text){field->text, field->text_len};
    else
        status->outside++;
    return NULL;
}

static const char *take_elf(struct status *status, const struct flatjson_field *field)
{
    if (field->kind != FLATJSON_STRING)
        return status_type;
    if (field->text_len != STATUS_ELF)
        return status_value;
    for (size_t i = 0; i < STATUS_ELF; i++) {
        char c = field->text[i];
        if (c >= 'A' && c <= 'F')
            c = (char)(c | 0x20);
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
            return status_value;
        status->elf_sha256[i] = c;
    }
    status->elf_sha256[STATUS_ELF] = '\0';
    return NULL;
}

static const char *take_whole(int *out, const struct flatjson_field *field, double least, double most)
{
    if (field->kind != FLATJSON_NUMBER || !field->whole)
        return status_type;
    if (field->number < least || field->number > most)
        return status_value;
    *out = (int)field->number;
    return NULL;
}

static const char *take_error(struct status_ota *ota, const struct flatjson_field *field)
{
    if (field->kind != FLATJSON_STRING)
        return status_type;
    size_t len = field->text_len;
    if (len > STATUS_ERROR) {
        for (len = STATUS_ERROR; ((unsigned char)field->text[len] & 0xc0) == 0x80;)
            len--;
    }
    ota->error = (struct status_text){field->text, len};
    return NULL;
}

static const char *take_ota_state(struct status_ota *ota, const struct flatjson_field *field)
{
    if (field->kind != FLATJSON_STRING)
        return status_type;
    for (int i = 0; i < OTA_STATES; i++) {
        if (is(field, status_ota_names[i])) {
            ota->state = (enum status_ota_state)i;
            return NULL;
        }
    }
    return status_value;
}

/* The block was scanned as nested; its own few fields are scanned again into the same document behind the
 * others, whose count is put back. Fields it does not know it ignores. */
static const char *take_ota(struct status *status, struct flatjson *doc, const struct flatjson_field *block)
{
    if (block->kind != FLATJSON_NESTED || *block->raw != '{')
        return status_type;
    struct flatjson inner;
    char text[FLATJSON_LONGEST + 1];
    memcpy(text, block->raw, block->raw_len);
    text[block->raw_len] = '\0';
    if (!flatjson_parse(&inner, text, block->raw_len))
        return status_syntax;

    const struct flatjson_field *id = flatjson_find(&inner, "update_id");
    const struct flatjson_field *state = flatjson_find(&inner, "state");
    const struct flatjson_field *progress = flatjson_find(&inner, "progress");
    const struct flatjson_field *error = flatjson_find(&inner, "error");
    const char *reason;
    status->ota.progress = -1;
    if (id == NULL || state == NULL)
        return status_type;
    if ((reason = take_whole(&status->ota.update_id, id, 1, INT32_MAX)) != NULL ||
        (reason = take_ota_state(&status->ota, state)) != NULL)
        return reason;
    if (progress != NULL && progress->kind != FLATJSON_NULL &&
        (reason = take_whole(&status->ota.progress, progress, 0, 100)) != NULL)
        return reason;
    if (error != NULL && error->kind != FLATJSON_NULL) {
        if ((reason = take_error(&status->ota, error)) != NULL)
            return reason;
        /* What it points at ends with this function: keep it in the document's scratch, which has room, for
         * a resolved text is never longer than what it was made of, and this one was not resolved there. */
        char *copy = doc->scratch + doc->used;
        memcpy(copy, status->ota.error.s, status->ota.error.len);
        doc->used += status->ota.error.len;
        status->ota.error.s = copy;
    }
    status->has_ota = true;
    return NULL;
}

/* What has a name of its own; of numbers, what can be: rssi is a signed byte of dBm on every ESP32, and the
 * others are seconds, bytes and a percentage. */
enum name { STATUS, SESSION, VERSION, CHIP, ELF, OTA, NUMBER, TEXT };
static const struct {
    const char *name;
    enum name what;
    double least, most;
} names[] = {{"status", STATUS, 0, 0},    {"session", SESSION, 0, 0},  {"firmware_version", VERSION, 0, 0},
             {"chip", CHIP, 0, 0},        {"elf_sha256", ELF, 0, 0},   {"ota", OTA, 0, 0},
             {"uptime", NUMBER, 0, 1e12}, {"rssi", NUMBER, -128, 127}, {"heap", NUMBER, 0, 1e12},
             {"battery", NUMBER, 0, 100}, {"reset_reason", TEXT, 0, 0}};

static int find_name(const struct flatjson_field *field)
{
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (names[i].name[0] == field->name[0] && strlen(names[i].name) == field->name_len &&
            memcmp(names[i].name, field->name, field->name_len) == 0)
            return (int)i;
    }
    return -1;
}

static const char *take_named(struct status *status, struct flatjson *doc, int name,
                              const struct flatjson_field *field)
{
    enum name what = names[name].what;
    switch (what) {
    case STATUS:
        return take_status(status, field);
    case SESSION:
        return take_session(status, field);
    case VERSION:
        return take_version(status, field);
    case CHIP:
        return take_chip(status, field);
    case ELF:
        return take_elf(status, field);
    case OTA:
        return take_ota(status, doc, field);
    case NUMBER:
    case TEXT:
        if (field->kind != (what == NUMBER ? FLATJSON_NUMBER : FLATJSON_STRING))
            return status_type;
        if (what == NUMBER && (field->number < names[name].least || field->number > names[name].most))
            status->outside++;
        else
            status->telemetry[status->count++] = field;
        return NULL;
    }
    return NULL;
}

static bool fit_name(const struct flatjson_field *field)
{
    if (field->name_len == 0 || field->name_len > STATUS_NAME)
        return false;
    for (size_t i = 0; i < field->name_len; i++) {
        unsigned char c = (unsigned char)field->name[i];
        if (c < 0x20 || c == '"' || c == '\\' || c == 0x7f)
            return false;
    }
    return true;
}

const char *status_parse(struct status *status, struct flatjson *doc, const char *json, size_t len)
{
    memset(status, 0, sizeof(*status));
    if (len > STATUS_LONGEST)
        return status_size;
    if (!flatjson_parse(doc, json, len))
        return status_syntax;

    bool told = false;
    unsigned others = 0;
    for (size_t i = 0; i < doc->count; i++) {
        const struct flatjson_field *field = &doc->fields[i];
        int name = field->name_len == 0 ? -1 : find_name(field);
        if (name >= 0) {
            if (field->kind == FLATJSON_NULL && names[name].what != STATUS)
                continue;
            const char *reason = take_named(status, doc, name, field);
            if (reason != NULL) {
                status->field = names[name].name;
                return reason;
            }
            told = told || names[name].what == STATUS;
        } else if (field->kind == FLATJSON_NESTED) {
            status->nested++;
        } else if (others == STATUS_TELEMETRY || !fit_name(field)) {
            status->surplus++;
        } else {
            status->telemetry[status->count++] = field;
            others++;
        }
    }
    if (!told) {
        status->field = "status";
        return status_type;
    }
    return NULL;
}

static const char *level_of(const struct flatjson_field *field)
{
    static const char *const spellings[][2] = {{"error", "error"},    {"warn", "warn"},
                                               {"info", "info"},      {"debug", "debug"},
                                               {"warning", "warn"},   {"fatal", "error"},
                                               {"critical", "error"}, {"verbose", "debug"},
                                               {"trace", "debug"}};
    for (size_t i = 0; i < sizeof(spellings) / sizeof(spellings[0]); i++) {
        if (is(field, spellings[i][0]))
            return spellings[i][1];
    }
    return NULL;
}

const char *status_parse_log(struct status_log *log, struct flatjson *doc, const char *text, size_t len)
{
    if (len > STATUS_LONGEST)
        return status_size;
    log->level = "info";
    /* A line of text may well begin with a brace. */
    if (len > 0 && text[0] == '{' && flatjson_parse(doc, text, len)) {
        const struct flatjson_field *level = flatjson_find(doc, "level");
        const struct flatjson_field *message = flatjson_find(doc, "message");
        if (message == NULL || message->kind != FLATJSON_STRING)
            return status_type;
        if (level != NULL && level->kind != FLATJSON_NULL) {
            if (level->kind != FLATJSON_STRING)
                return status_type;
            if ((log->level = level_of(level)) == NULL)
                return status_value;
        }
        log->message = (struct status_text){message->text, message->text_len};
    } else {
        if (!flatjson_utf8(text, len))
            return status_syntax;
        log->message = (struct status_text){text, len};
    }
    while (log->message.len > 0 &&
           (log->message.s[log->message.len - 1] == '\n' || log->message.s[log->message.len - 1] == '\r'))
        log->message.len--;
    return log->message.len == 0 ? status_value : NULL;
}
