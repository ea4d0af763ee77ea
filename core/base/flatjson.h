/* A strict scanner for one JSON object of scalars: what devices send, at full rate.
 *
 * It takes exactly RFC 8259 in UTF-8 with these limits: no U+0000 and no lone surrogate (PostgreSQL's jsonb
 * holds neither), numbers within a double's range and exponents up to 308, nesting up to 16, up to
 * FLATJSON_FIELDS members, no name twice. Values that are objects or arrays are checked and passed as
 * FLATJSON_NESTED with their text.
 *
 * Nothing is allocated: slices point into the text given, which must be NUL-terminated behind `len`, or into
 * the document's own scratch where escapes had to be resolved; they live as long as both. Any thread. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { FLATJSON_FIELDS = 128, FLATJSON_LONGEST = 4096 }; /* members; bytes of a document */

enum flatjson_kind {
    FLATJSON_NULL,
    FLATJSON_FALSE,
    FLATJSON_TRUE,
    FLATJSON_NUMBER,
    FLATJSON_STRING,
    FLATJSON_NESTED
};

struct flatjson_field {
    const char *name, *text; /* escapes resolved, not NUL-terminated; text: strings only */
    const char *raw;         /* the value as it stands in the document */
    uint16_t name_len, text_len, raw_len;
    uint8_t kind;
    bool whole; /* a number without fraction and exponent */
    uint32_t hash;
    double number;
};

struct flatjson {
    size_t count;
    struct flatjson_field fields[FLATJSON_FIELDS];
    size_t used;
    char scratch[FLATJSON_LONGEST];
};

/* False: not such an object. */
bool flatjson_parse(struct flatjson *doc, const char *json, size_t len) __attribute__((warn_unused_result));

/* NULL: none of that name. */
const struct flatjson_field *flatjson_find(const struct flatjson *doc, const char *name);

/* Bytes of the UTF-8 sequence with which the `len` bytes at `s` begin; 0: none. */
size_t flatjson_sequence(const char *s, size_t len);

/* Whether `len` bytes are UTF-8 without U+0000. */
bool flatjson_utf8(const char *s, size_t len);
