#include "net/encoding.h"
#include "net/content_type.h"

enum { BEST = 1000, LEAST = 1, NOT_SAID = -1 };

const char *encoding_name(enum encoding encoding)
{
    static const char *const names[] = {"identity", "gzip", "br"};
    return names[encoding];
}

/* "0.5" in thousandths; -1: malformed. */
static int read_weight(struct content_text text)
{
    int value = 0, digit = BEST;
    if (text.len == 0 || text.len > 5 || (text.len > 1 && text.base[1] != '.'))
        return -1;
    for (size_t i = 0; i < text.len; i++) {
        if (i == 1)
            continue;
        if (text.base[i] < '0' || text.base[i] > '9')
            return -1;
        value += (text.base[i] - '0') * digit;
        digit /= 10;
    }
    return value <= BEST ? value : -1;
}

/* Reads `gzip;q=0.5`; false: malformed. */
static bool take_coding(struct content_cursor *in, struct content_text *name, int *weight)
{
    struct content_text parameter, value;
    *name = content_take_token(in);
    *weight = BEST;
    for (content_skip_blanks(in); in->at < in->end && *in->at == ';'; content_skip_blanks(in)) {
        if (content_take_parameter(in, &parameter, &value) != 1)
            return false;
        if (content_equals(parameter, "q") && (*weight = read_weight(value)) < 0)
            return false;
    }
    return name->len != 0 && (in->at == in->end || *in->at == ',');
}

static bool read_weights(h2o_iovec_t accept, int weights[ENCODINGS], int *others)
{
    struct content_cursor in = {accept.base, accept.base + accept.len};
    struct content_text name;
    int weight;
    for (;;) {
        for (content_skip_blanks(&in); content_take(&in, ",", 1); content_skip_blanks(&in))
            ;
        if (in.at == in.end)
            return true;
        if (!take_coding(&in, &name, &weight))
            return false;
        if (content_equals(name, "*"))
            *others = weight;
        else if (content_equals(name, "x-gzip"))
            weights[ENCODING_GZIP] = weight;
        for (int i = 0; i < ENCODINGS; i++) {
            if (content_equals(name, encoding_name((enum encoding)i)))
                weights[i] = weight;
        }
    }
}

enum encoding encoding_choose(h2o_iovec_t accept, const bool there[ENCODINGS])
{
    int weights[ENCODINGS] = {NOT_SAID, NOT_SAID, NOT_SAID}, others = NOT_SAID, most = 0;
    enum encoding best = ENCODING_IDENTITY;
    if (accept.base == NULL || !read_weights(accept, weights, &others))
        return best;
    for (int i = 0; i < ENCODINGS; i++) {
        int weight = weights[i] != NOT_SAID ? weights[i] : others;
        if (weight == NOT_SAID)
            weight = i == ENCODING_IDENTITY ? LEAST : 0;
        if ((there[i] || i == ENCODING_IDENTITY) && weight != 0 && weight >= most) {
            most = weight;
            best = (enum encoding)i;
        }
    }
    return best;
}
