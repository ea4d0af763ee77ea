#include "net/limits.h"
#include <ctype.h>
#include <string.h>
#include <strings.h>

void limits_bucket_init(struct limits_bucket *bucket, uint64_t now)
{
    *bucket = (struct limits_bucket){.points = LIMITS_POINTS, .at = now};
}

void limits_earn(struct limits_bucket *bucket, uint64_t points)
{
    uint64_t room = (uint64_t)(LIMITS_POINTS - bucket->points);
    bucket->points += (int)(points < room ? points : room);
}

bool limits_spend(struct limits_bucket *bucket, uint64_t now, int points)
{
    uint64_t earned = (now - bucket->at) * LIMITS_POINTS_SECOND / 1000;
    if (earned > 0) {
        limits_earn(bucket, earned);
        bucket->at = now;
    }
    if (bucket->points < points)
        return false;
    bucket->points -= points;
    return true;
}

bool limits_pace(struct limits_pace *pace, bool under_way, uint64_t now, uint64_t total, uint64_t window,
                 uint64_t least)
{
    if (!under_way) {
        pace->since = 0;
        return true;
    }
    if (pace->since == 0 || total - pace->mark >= least) {
        pace->since = now;
        pace->mark = total;
    }
    return now - pace->since < window;
}

/* Skips an integer with a prefix of `bits` bits (RFC 7541, 5.1); false: it breaks off or is absurd. */
static bool skip_integer(const uint8_t **at, const uint8_t *end, int bits, size_t *value)
{
    if (*at == end)
        return false;
    size_t prefix = ((size_t)1 << bits) - 1;
    *value = *(*at)++ & prefix;
    if (*value < prefix)
        return true;
    for (int shift = 0; shift < 28 && *at != end; shift += 7) {
        uint8_t byte = *(*at)++;
        *value += (size_t)(byte & 127) << shift;
        if (byte < 128)
            return true;
    }
    return false;
}

static bool skip_string(const uint8_t **at, const uint8_t *end)
{
    size_t len;
    if (!skip_integer(at, end, 7, &len) || len > (size_t)(end - *at))
        return false;
    *at += len;
    return true;
}

size_t limits_hpack(const uint8_t *block, size_t len, size_t most)
{
    const uint8_t *at = block, *end = block + len;
    size_t count = 0;
    while (at != end && count <= most) {
        size_t index;
        uint8_t first = *at;
        count++;
        if (first >= 128) { /* indexed */
            if (!skip_integer(&at, end, 7, &index))
                break;
        } else if (first >= 32 && first < 64) { /* size update */
            if (!skip_integer(&at, end, 5, &index))
                break;
        } else { /* literal, with or without indexing; index 0: the name follows too */
            if (!skip_integer(&at, end, first >= 64 ? 6 : 4, &index))
                break;
            if ((index == 0 && !skip_string(&at, end)) || !skip_string(&at, end))
                break;
        }
    }
    return count;
}

static bool is(const struct phr_header *header, const char *name, size_t len)
{
    return header->name_len == len && strncasecmp(header->name, name, len) == 0;
}

size_t limits_keep(struct phr_header *headers, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (headers[i].name != NULL && is(&headers[i], name, strlen(name))) {
            headers[0] = headers[i];
            return 1;
        }
    }
    return 0;
}

static bool is_number(const struct phr_header *header)
{
    for (size_t i = 0; i < header->value_len; i++) {
        if (!isdigit((unsigned char)header->value[i]))
            return false;
    }
    return header->value_len > 0;
}

bool limits_http1(const struct phr_header *headers, size_t count, int minor_version)
{
    unsigned hosts = 0, lengths = 0, codings = 0;
    for (const struct phr_header *header = headers; header != headers + count; header++) {
        if (header->name == NULL)
            return false;
        if (is(header, "host", 4)) {
            hosts++;
        } else if (is(header, "content-length", 14)) {
            lengths++;
            if (!is_number(header))
                return false;
        } else if (is(header, "transfer-encoding", 17)) {
            codings++;
        }
    }
    if (hosts > 1 || (hosts == 0 && minor_version >= 1))
        return false;
    return lengths + codings <= 1 && (codings == 0 || minor_version >= 1);
}
