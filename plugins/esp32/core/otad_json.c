/* The JSON reader. No state but the caller's struct; every read is checked against `end`. */
#include "otad_json.h"
#include <string.h>

enum { DEPTH_MAX = 8 };

struct sink {
    char *out; /* NULL: the text is only checked */
    size_t size, len;
};

struct otad_json otad_json_over(const void *bytes, size_t len)
{
    return (struct otad_json){.at = bytes, .end = (const uint8_t *)bytes + len, .first = true};
}

static int peek(const struct otad_json *json)
{
    return json->at < json->end ? *json->at : -1;
}

static void space(struct otad_json *json)
{
    while (json->at < json->end && strchr(" \t\r\n", *json->at) && *json->at != '\0') {
        json->at++;
    }
}

/* Space, then the character c. */
static bool take(struct otad_json *json, char c)
{
    space(json);
    if (peek(json) != c) {
        return false;
    }
    json->at++;
    return true;
}

static bool sink_put(struct sink *sink, const uint8_t *bytes, size_t len)
{
    if (!sink->out) {
        return true;
    }
    if (len >= sink->size - sink->len) {
        return false;
    }
    memcpy(sink->out + sink->len, bytes, len);
    sink->len += len;
    return true;
}

static bool hex4(struct otad_json *json, uint32_t *out)
{
    if (json->end - json->at < 4) {
        return false;
    }
    *out = 0;
    for (int i = 0; i < 4; i++) {
        uint8_t c = *json->at++;
        uint8_t lower = c | 0x20;
        if (c >= '0' && c <= '9') {
            *out = *out << 4 | (uint32_t)(c - '0');
        } else if (lower >= 'a' && lower <= 'f') {
            *out = *out << 4 | (uint32_t)(lower - 'a' + 10);
        } else {
            return false;
        }
    }
    return true;
}

static bool escape_unicode(struct otad_json *json, struct sink *sink)
{
    uint32_t c, low;
    if (!hex4(json, &c) || c == 0 || (c >= 0xDC00 && c <= 0xDFFF)) {
        return false;
    }
    if (c >= 0xD800 && c <= 0xDBFF) {
        if (json->end - json->at < 2 || json->at[0] != '\\' || json->at[1] != 'u') {
            return false;
        }
        json->at += 2;
        if (!hex4(json, &low) || low < 0xDC00 || low > 0xDFFF) {
            return false;
        }
        c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
    }
    uint8_t utf8[4];
    size_t len;
    if (c < 0x80) {
        utf8[0] = (uint8_t)c;
        len = 1;
    } else if (c < 0x800) {
        utf8[0] = (uint8_t)(0xC0 | c >> 6);
        utf8[1] = (uint8_t)(0x80 | (c & 63));
        len = 2;
    } else if (c < 0x10000) {
        utf8[0] = (uint8_t)(0xE0 | c >> 12);
        utf8[1] = (uint8_t)(0x80 | (c >> 6 & 63));
        utf8[2] = (uint8_t)(0x80 | (c & 63));
        len = 3;
    } else {
        utf8[0] = (uint8_t)(0xF0 | c >> 18);
        utf8[1] = (uint8_t)(0x80 | (c >> 12 & 63));
        utf8[2] = (uint8_t)(0x80 | (c >> 6 & 63));
        utf8[3] = (uint8_t)(0x80 | (c & 63));
        len = 4;
    }
    return sink_put(sink, utf8, len);
}

/* The length of the well-formed UTF-8 character at `at`, or 0. */
static size_t utf8_length(const uint8_t *at, const uint8_t *end)
{
    size_t len = at[0] < 0x80 ? 1 : at[0] >= 0xC2 && at[0] < 0xE0 ? 2 : (at[0] & 0xF0) == 0xE0 ? 3 : 0;
    if (at[0] >= 0xF0 && at[0] < 0xF5) {
        len = 4;
    }
    if (len == 0 || (size_t)(end - at) < len) {
        return 0;
    }
    for (size_t i = 1; i < len; i++) {
        if ((at[i] & 0xC0) != 0x80) {
            return 0;
        }
    }
    bool overlong = (at[0] == 0xE0 && at[1] < 0xA0) || (at[0] == 0xF0 && at[1] < 0x90);
    bool outside =
        (at[0] == 0xED && at[1] > 0x9F) || (at[0] == 0xF4 && at[1] > 0x8F); /* surrogates; > 10FFFF */
    return overlong || outside ? 0 : len;
}

static bool string(struct otad_json *json, struct sink *sink)
{
    static const char escapes[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    if (!take(json, '"')) {
        return false;
    }
    while (json->at < json->end) {
        uint8_t c = *json->at;
        if (c == '"') {
            json->at++;
            return true;
        }
        if (c < 0x20) {
            return false;
        }
        if (c != '\\') {
            size_t len = utf8_length(json->at, json->end);
            if (len == 0 || !sink_put(sink, json->at, len)) {
                return false;
            }
            json->at += len;
            continue;
        }
        json->at++;
        int escaped = peek(json);
        const char *known = escaped > 0 ? strchr(escapes, escaped) : NULL;
        json->at += escaped >= 0;
        if (known) {
            uint8_t meaning = (uint8_t)meanings[known - escapes];
            if (!sink_put(sink, &meaning, 1)) {
                return false;
            }
        } else if (escaped != 'u' || !escape_unicode(json, sink)) {
            return false;
        }
    }
    return false;
}

int32_t otad_json_string(struct otad_json *json, char *out, size_t size)
{
    struct sink sink = {.out = out, .size = size};
    if (!string(json, &sink)) {
        return -1;
    }
    out[sink.len] = '\0';
    return (int32_t)sink.len;
}

bool otad_json_object(struct otad_json *json)
{
    json->first = true;
    return take(json, '{');
}

int otad_json_member(struct otad_json *json, char *key, size_t size)
{
    space(json);
    if (peek(json) == '}') {
        json->at++;
        return 0;
    }
    if (!json->first && !take(json, ',')) {
        return -1;
    }
    json->first = false;
    return otad_json_string(json, key, size) >= 0 && take(json, ':') ? 1 : -1;
}

bool otad_json_integer(struct otad_json *json, uint64_t *out)
{
    space(json);
    const uint8_t *start = json->at;
    uint64_t value = 0;
    while (json->at < json->end && *json->at >= '0' && *json->at <= '9') {
        value = value * 10 + (uint64_t)(*json->at++ - '0');
        if (value > (uint64_t)1 << 53) {
            return false;
        }
    }
    int next = peek(json);
    if (json->at == start || (*start == '0' && json->at - start > 1) || next == '.' || next == 'e' ||
        next == 'E') {
        return false;
    }
    *out = value;
    return true;
}

static size_t digits(struct otad_json *json)
{
    const uint8_t *start = json->at;
    while (json->at < json->end && *json->at >= '0' && *json->at <= '9') {
        json->at++;
    }
    return (size_t)(json->at - start);
}

static bool skip_number(struct otad_json *json)
{
    json->at += peek(json) == '-';
    bool zero = peek(json) == '0';
    size_t whole = digits(json);
    if (whole == 0 || (zero && whole > 1)) {
        return false;
    }
    if (peek(json) == '.') {
        json->at++;
        if (digits(json) == 0) {
            return false;
        }
    }
    if (peek(json) == 'e' || peek(json) == 'E') {
        json->at++;
        json->at += peek(json) == '+' || peek(json) == '-';
        return digits(json) > 0;
    }
    return true;
}

static bool skip_word(struct otad_json *json, const char *word)
{
    size_t len = strlen(word);
    if ((size_t)(json->end - json->at) < len || memcmp(json->at, word, len) != 0) {
        return false;
    }
    json->at += len;
    return true;
}

bool otad_json_null(struct otad_json *json)
{
    space(json);
    return skip_word(json, "null");
}

static bool skip(struct otad_json *json, int depth);

static bool skip_nested(struct otad_json *json, bool object, int depth)
{
    struct sink nowhere = {0};
    char close = object ? '}' : ']';
    json->at++;
    if (depth == 0) {
        return false;
    }
    if (take(json, close)) {
        return true;
    }
    do {
        if (object && (!string(json, &nowhere) || !take(json, ':'))) {
            return false;
        }
        if (!skip(json, depth - 1)) {
            return false;
        }
    } while (take(json, ','));
    return take(json, close);
}

static bool skip(struct otad_json *json, int depth)
{
    struct sink nowhere = {0};
    space(json);
    switch (peek(json)) {
    case '"':
        return string(json, &nowhere);
    case '{':
    case '[':
        return skip_nested(json, peek(json) == '{', depth);
    case 't':
        return skip_word(json, "true");
    case 'f':
        return skip_word(json, "false");
    case 'n':
        return skip_word(json, "null");
    default:
        return skip_number(json);
    }
}

bool otad_json_skip(struct otad_json *json)
{
    return skip(json, DEPTH_MAX - 1);
}

bool otad_json_end(struct otad_json *json)
{
    space(json);
    return json->at == json->end;
}
