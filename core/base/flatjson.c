/* A recursive-descent scanner over a NUL-terminated text: the terminator is no legal character anywhere, so
 * it ends every loop and no position needs to be compared with the end. Where it stops must then be the end:
 * a NUL inside the text fails there. No state but the caller's document. */
#include "base/flatjson.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { DEEPEST = 16, LARGEST_EXPONENT = 308 };

static const char *skip_space(const char *p)
{
    while (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r')
        p++;
    return p;
}

/* Length of the UTF-8 sequence at `p` beyond ASCII; 0: none. RFC 3629, table 3-7 of Unicode. */
static size_t sequence(const unsigned char *p)
{
    if (p[0] >= 0xc2 && p[0] <= 0xdf)
        return (p[1] & 0xc0) == 0x80 ? 2 : 0;
    if (p[0] >= 0xe0 && p[0] <= 0xef) {
        unsigned least = p[0] == 0xe0 ? 0xa0 : 0x80, most = p[0] == 0xed ? 0x9f : 0xbf;
        return p[1] >= least && p[1] <= most && (p[2] & 0xc0) == 0x80 ? 3 : 0;
    }
    if (p[0] >= 0xf0 && p[0] <= 0xf4) {
        unsigned least = p[0] == 0xf0 ? 0x90 : 0x80, most = p[0] == 0xf4 ? 0x8f : 0xbf;
        return p[1] >= least && p[1] <= most && (p[2] & 0xc0) == 0x80 && (p[3] & 0xc0) == 0x80 ? 4 : 0;
    }
    return 0;
}

size_t flatjson_sequence(const char *s, size_t len)
{
    unsigned char first[4] = {0}; /* a sequence cut by the end reads zeros */
    memcpy(first, s, len < 4 ? len : 4);
    return len == 0 ? 0 : first[0] < 0x80 ? 1 : sequence(first);
}

bool flatjson_utf8(const char *s, size_t len)
{
    for (const char *end = s + len; s < end;) {
        size_t n = *s == '\0' ? 0 : flatjson_sequence(s, (size_t)(end - s));
        if (n == 0)
            return false;
        s += n;
    }
    return true;
}

static const char *hex4(const char *p, unsigned *out)
{
    *out = 0;
    for (int i = 0; i < 4; i++, p++) {
        unsigned c = (unsigned char)*p, digit;
        if (c >= '0' && c <= '9')
            digit = c - '0';
        else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
            digit = (c | 0x20) - 'a' + 10;
        else
            return NULL;
        *out = *out << 4 | digit;
    }
    return p;
}

static size_t put_utf8(char *out, unsigned c)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xc0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xe0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3f));
        out[2] = (char)(0x80 | (c & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3f));
    out[2] = (char)(0x80 | (c >> 6 & 0x3f));
    out[3] = (char)(0x80 | (c & 0x3f));
    return 4;
}

/* `p` stands behind the backslash. */
static const char *escape(const char *p, char *out, size_t *n)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char *at = *p == '\0' ? NULL : strchr(from, *p);
    if (at != NULL) {
        out[0] = to[at - from];
        *n = 1;
        return p + 1;
    }
    unsigned c, low;
    if (*p != 'u' || (p = hex4(p + 1, &c)) == NULL || c == 0 || (c >= 0xdc00 && c <= 0xdfff))
        return NULL;
    if (c >= 0xd800 && c <= 0xdbff) {
        if (p[0] != '\\' || p[1] != 'u' || (p = hex4(p + 2, &low)) == NULL || low < 0xdc00 || low > 0xdfff)
            return NULL;
        c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
    }
    *n = put_utf8(out, c);
    return p;
}

/* `p` stands on the opening quote. With escapes the text goes to the scratch: it is shorter than what it was
 * made of, so a document's texts always fit. */
static const char *scan_string(struct flatjson *doc, const char *p, const char **text, uint16_t *len)
{
    const char *start = ++p;
    while (*(const unsigned char *)p >= 0x20 && *p != '"' && *p != '\\') {
        size_t n = *(const unsigned char *)p < 0x80 ? 1 : sequence((const unsigned char *)p);
        if (n == 0)
            return NULL;
        p += n;
    }
    if (*p == '"') {
        *text = start;
        *len = (uint16_t)(p - start);
        return p + 1;
    }
    char *out = doc->scratch + doc->used;
    size_t n = (size_t)(p - start), more;
    memcpy(out, start, n);
    while (*p != '"') {
        if (*p == '\\') {
            if ((p = escape(p + 1, out + n, &more)) == NULL)
                return NULL;
        } else {
            more = *(const unsigned char *)p < 0x80 ? 1 : sequence((const unsigned char *)p);
            if (more == 0 || *(const unsigned char *)p < 0x20)
                return NULL;
            memcpy(out + n, p, more);
            p += more;
        }
        n += more;
    }
    *text = out;
    *len = (uint16_t)n;
    doc->used += n;
    return p + 1;
}

static const char *digits(const char *p)
{
    if (*p < '0' || *p > '9')
        return NULL;
    while (*p >= '0' && *p <= '9')
        p++;
    return p;
}

static const char *scan_number(const char *p, struct flatjson_field *field)
{
    static const double tens[] = {1,   1e1, 1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                  1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
    const char *start = p, *point = NULL;
    if (*p == '-')
        p++;
    if (*p == '0' && p[1] >= '0' && p[1] <= '9')
        return NULL;
    if ((p = digits(p)) == NULL)
        return NULL;
    if (*p == '.') {
        point = p;
        if ((p = digits(p + 1)) == NULL)
            return NULL;
    }
    field->whole = point == NULL;
    if ((*p | 0x20) != 'e' && p - start <= 15) {
        /* Up to 15 digits are exact in a double, and so is the power of ten: one correctly rounded division.
         */
        int64_t mantissa = 0;
        for (const char *q = start; q < p; q++)
            mantissa = *q == '-' || *q == '.' ? mantissa : mantissa * 10 + (*q - '0');
        double value = (double)(*start == '-' ? -mantissa : mantissa);
        field->number = point == NULL ? value : value / tens[p - point - 1];
        return p;
    }
    if ((*p | 0x20) == 'e') {
        field->whole = false;
        p++;
        if (*p == '+' || *p == '-')
            p++;
        long exponent = strtol(p, NULL, 10); /* of too many digits: LONG_MAX */
        if ((p = digits(p)) == NULL || exponent > LARGEST_EXPONENT)
            return NULL;
    }
    field->number = strtod(start, NULL);
    return isfinite(field->number) ? p : NULL;
}

static const char *scan_word(const char *p, const char *word)
{
    size_t n = strlen(word);
    return strncmp(p, word, n) == 0 ? p + n : NULL;
}

/* Members of nested objects are checked for form, not for names given twice. */
static const char *scan_value(struct flatjson *doc, const char *p, struct flatjson_field *field, int depth);

static const char *scan_nested(struct flatjson *doc, const char *p, int depth)
{
    char close = *p == '{' ? '}' : ']';
    struct flatjson_field field;
    size_t used = doc->used;
    if (depth > DEEPEST)
        return NULL;
    p = skip_space(p + 1);
    if (*p == close)
        return p + 1;
    for (;;) {
        if (close == '}') {
            if (*p != '"' || (p = scan_string(doc, p, &field.name, &field.name_len)) == NULL)
                return NULL;
            p = skip_space(p);
            if (*p++ != ':')
                return NULL;
            p = skip_space(p);
        }
        if ((p = scan_value(doc, p, &field, depth)) == NULL)
            return NULL;
        doc->used = used;
        p = skip_space(p);
        if (*p == close)
            return p + 1;
        if (*p++ != ',')
            return NULL;
        p = skip_space(p);
    }
}

static const char *scan_value(struct flatjson *doc, const char *p, struct flatjson_field *field, int depth)
{
    switch (*p) {
    case '"':
        field->kind = FLATJSON_STRING;
        return scan_string(doc, p, &field->text, &field->text_len);
    case '{':
    case '[':
        field->kind = FLATJSON_NESTED;
        return scan_nested(doc, p, depth + 1);
    case 't':
        field->kind = FLATJSON_TRUE;
        return scan_word(p, "true");
    case 'f':
        field->kind = FLATJSON_FALSE;
        return scan_word(p, "false");
    case 'n':
        field->kind = FLATJSON_NULL;
        return scan_word(p, "null");
    default:
        field->kind = FLATJSON_NUMBER;
        return scan_number(p, field);
    }
}

static uint32_t hash_name(const char *name, size_t len) /* FNV-1a */
{
    uint32_t hash = 2166136261u;
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ (unsigned char)name[i]) * 16777619u;
    return hash;
}

static const struct flatjson_field *find(const struct flatjson *doc, const char *name, size_t len,
                                         uint32_t hash)
{
    for (size_t i = 0; i < doc->count; i++) {
        const struct flatjson_field *field = &doc->fields[i];
        if (field->hash == hash && field->name_len == len && memcmp(field->name, name, len) == 0)
            return field;
    }
    return NULL;
}

const struct flatjson_field *flatjson_find(const struct flatjson *doc, const char *name)
{
    size_t len = strlen(name);
    return find(doc, name, len, hash_name(name, len));
}

bool flatjson_parse(struct flatjson *doc, const char *json, size_t len)
{
    doc->count = doc->used = 0;
    if (len > FLATJSON_LONGEST)
        return false;
    const char *p = skip_space(json);
    if (*p != '{')
        return false;
    p = skip_space(p + 1);
    if (*p == '}')
        return skip_space(p + 1) == json + len;
    for (;;) {
        if (doc->count == FLATJSON_FIELDS)
            return false;
        struct flatjson_field *field = &doc->fields[doc->count];
        if (*p != '"' || (p = scan_string(doc, p, &field->name, &field->name_len)) == NULL)
            return false;
        field->hash = hash_name(field->name, field->name_len);
        if (find(doc, field->name, field->name_len, field->hash) != NULL)
            return false;
        p = skip_space(p);
        if (*p++ != ':')
            return false;
        field->raw = p = skip_space(p);
        if ((p = scan_value(doc, p, field, 1)) == NULL)
            return false;
        field->raw_len = (uint16_t)(p - field->raw);
        doc->count++;
        p = skip_space(p);
        if (*p == '}')
            return skip_space(p + 1) == json + len;
        if (*p++ != ',')
            return false;
        p = skip_space(p);
    }
}
