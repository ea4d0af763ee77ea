/* Text without a C library's printf: appending to a bounded buffer, JSON quoting, hex and base64.
 *
 * A buffer that was too small once stays full: otad_text_ok tells at the end, nothing is checked between. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct otad_text {
    char *out; /* the caller's; NUL-terminated after every call */
    size_t size, len;
    bool full;
};

void otad_text_init(struct otad_text *text, char *out, size_t size); /* size at least 1 */
void otad_text_raw(struct otad_text *text, const char *s);
void otad_text_quoted(struct otad_text *text, const char *s); /* as a JSON string */
void otad_text_int(struct otad_text *text, int64_t value);
/* value / 10^decimals, decimals 0..9: (-1234, 2) is -12.34 */
void otad_text_decimal(struct otad_text *text, int64_t value, unsigned decimals);
void otad_text_hex(struct otad_text *text, const uint8_t *data, size_t len);
bool otad_text_ok(const struct otad_text *text) __attribute__((warn_unused_result));

/* Copies s, cut to size - 1 bytes at a character's border. */
void otad_text_copy(char *out, size_t size, const char *s);

/* Both want exactly the text of `len` bytes, else false: hex is lower case, base64 standard with padding. */
bool otad_hex_decode(const char *text, uint8_t *out, size_t len) __attribute__((warn_unused_result));
bool otad_base64_decode(const char *text, uint8_t *out, size_t len) __attribute__((warn_unused_result));
