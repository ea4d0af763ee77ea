/* Foreign bytes as a status and as a log message: no crash, and what is taken keeps what the headers promise.
 * What flatjson takes, jansson must take too. */
#include "fleet/status.h"
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
    if (!ok)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct flatjson doc;
    struct status status;
    struct status_log log;
    char *text = malloc(size + 1);
    memcpy(text, data, size);
    text[size] = '\0';

    if (flatjson_parse(&doc, text, size)) {
        json_t *other = json_loadb(text, size, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, NULL);
        /* jansson rejects names given twice in nested objects too. */
        bool nested = false;
        for (size_t i = 0; i < doc.count; i++)
            nested = nested || doc.fields[i].kind == FLATJSON_NESTED;
        check(nested || other != NULL);
        for (size_t i = 0; other != NULL && i < doc.count; i++) {
            const struct flatjson_field *field = &doc.fields[i];
            char *name = strndup(field->name, field->name_len);
            json_t *value = json_object_get(other, name);
            check(value != NULL);
            if (field->kind == FLATJSON_NUMBER)
                check(json_real_value(value) == field->number);
            if (field->kind == FLATJSON_STRING)
                check(json_string_length(value) == field->text_len &&
                      memcmp(json_string_value(value), field->text, field->text_len) == 0);
            free(name);
        }
        json_decref(other);
    }
    if (status_parse(&status, &doc, text, size) == NULL) {
        check(status.count <= STATUS_FIELDS && status.session.len <= STATUS_SESSION);
        check(status.version.len <= STATUS_VERSION_BYTES && status.chip.len <= STATUS_CHIP);
        check(strlen(status.elf_sha256) == 0 || strlen(status.elf_sha256) == STATUS_ELF);
        check(status.ota.error.s == NULL || (status.ota.error.len <= STATUS_ERROR &&
                                             flatjson_utf8(status.ota.error.s, status.ota.error.len)));
        for (size_t i = 0; i < status.count; i++)
            check(status.telemetry[i]->kind != FLATJSON_NESTED);
    }
    if (status_parse_log(&log, &doc, text, size) == NULL)
        check(log.message.len > 0 && flatjson_utf8(log.message.s, log.message.len));
    free(text);
    return 0;
}
