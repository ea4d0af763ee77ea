/* Bounded text. No state; lifetimes are the caller's. */
#include "otad_text.h"
#include <string.h>

static void put(struct otad_text *text, const char *s, size_t len)
{
    if (text->full || len >= text->size - text->len) {
        text->full = true;
        return;
    }
    memcpy(text->out + text->len, s, len);
    text->len += len;
    text->out[text->len] = '\0';
}

void otad_text_init(struct otad_text *text, char *out, size_t size)
{
    *text = (struct otad_text){.out = out, .size = size};
    out[0] = '\0';
}

void otad_text_raw(struct otad_text *text, const char *s)
{
    put(text, s, strlen(s));
}

void otad_text_hex(struct otad_text *text, const uint8_t *data, size_t len)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < len; i++) {
        const char pair[2] = {digits[data[i] >> 4], digits[data[i] & 15]};
        put(text, pair, 2);
    }
}

void otad_text_quoted(struct otad_text *text, const char *s)
{
    put(text, "\"", 1);
    for (; *s; s++) {
        uint8_t c = (uint8_t)*s;
        if (c == '"' || c == '\\') {
            put(text, "\\", 1);
            put(text, s, 1);
        } else if (c < 0x20) {
            put(text, "\\u00", 4);
            otad_text_hex(text, &c, 1);
        } else {
            put(text, s, 1);
        }
    }
    put(text, "\"", 1);
}

void otad_text_decimal(struct otad_text *text, int64_t value, unsigned decimals)
{
    char digits[24];
    size_t at = sizeof digits;
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    unsigned done = 0;
    do {
        if (done == decimals && done > 0) {
            digits[--at] = '.';
        }
        digits[--at] = (char)('0' + rest % 10);
        rest /= 10;
        done++;
    } while (rest > 0 || done <= decimals);
    if (value < 0) {
        digits[--at] = '-';
    }
    put(text, digits + at, sizeof digits - at);
}

void otad_text_int(struct otad_text *text, int64_t value)
{
    otad_text_decimal(text, value, 0);
}

bool otad_text_ok(const struct otad_text *text)
{
    return !text->full;
}

void otad_text_copy(char *out, size_t size, const char *s)
{
    size_t len = strlen(s);
    if (len >= size) {
        len = size - 1;
        while (len > 0 && ((uint8_t)s[len] & 0xC0) == 0x80) {
            len--;
        }
    }
    memcpy(out, s, len);
    memset(out + len, 0, size - len);
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool otad_hex_decode(const char *text, uint8_t *out, size_t len)
{
    if (strlen(text) != 2 * len) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        int high = hex_value(text[2 * i]), low = hex_value(text[2 * i + 1]);
        if (high < 0 || low < 0) {
            return false;
        }
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static int base64_value(char c)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool otad_base64_decode(const char *text, uint8_t *out, size_t len)
{
    size_t chars = (len * 8 + 5) / 6, padded = (len + 2) / 3 * 4;
    if (strlen(text) != padded) {
        return false;
    }
    uint32_t bits = 0;
    unsigned have = 0;
    for (size_t i = 0; i < chars; i++) {
        int value = base64_value(text[i]);
        if (value < 0) {
            return false;
        }
        bits = bits << 6 | (uint32_t)value;
        have += 6;
        if (have >= 8) {
            have -= 8;
            *out++ = (uint8_t)(bits >> have);
        }
    }
    if ((bits & ((1u << have) - 1)) != 0) {
        return false; /* bits beyond the last byte: a second spelling of the same bytes */
    }
    for (size_t i = chars; i < padded; i++) {
        if (text[i] != '=') {
            return false;
        }
    }
    return true;
}
