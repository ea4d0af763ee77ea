/* What the guard allows a connection: rules without sockets, so that they can be tested alone.
 *
 * limits_bucket  points for frames that cost us more than their sender: spent by frame, earned by time, by
 *                requests and by bytes the peer took
 * limits_pace    least progress within a window, for bodies coming in and answers going out
 * limits_hpack   number of fields in a compressed header block, before anything is built from them
 * limits_http1   the headers that decide where an HTTP/1 request ends must leave no doubt (RFC 9112, 6.3) */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    LIMITS_POINTS = 1000,            /* most a bucket holds, and what it starts with */
    LIMITS_POINTS_SECOND = 100,      /* earned a second */
    LIMITS_HEADER_FIELDS = 128,      /* in one HTTP/2 header block */
    LIMITS_HEADER_BLOCK = 16384,     /* bytes of one, compressed */
    LIMITS_HEADER_DECODED = 65536,   /* bytes of one, decoded: sum of names and values */
    LIMITS_HEADER_CONTINUATIONS = 8, /* frames after HEADERS that may carry one block */
};

struct limits_bucket {
    int points;
    uint64_t at; /* ms, when time was last paid for */
};

void limits_bucket_init(struct limits_bucket *bucket, uint64_t now);
void limits_earn(struct limits_bucket *bucket, uint64_t points);
/* False: not enough left; then nothing is spent. */
bool limits_spend(struct limits_bucket *bucket, uint64_t now, int points) __attribute__((warn_unused_result));

struct limits_pace {
    uint64_t since; /* ms, when the window began; 0: nothing is under way */
    uint64_t mark;  /* `total` then */
};

/* Called now and then with `total`, a count that only grows. True while `total` has grown by `least` within
 * each `window` ms, or nothing was under way. */
bool limits_pace(struct limits_pace *pace, bool under_way, uint64_t now, uint64_t total, uint64_t window,
                 uint64_t least) __attribute__((warn_unused_result));

/* Fields and table size updates in an HPACK block (RFC 7541, 6), counted up to `most` + 1. A block that
 * breaks off counts as far as it goes: libh2o refuses it. */
size_t limits_hpack(const uint8_t *block, size_t len, size_t most);

/* As picohttpparser declares it; libh2o exports the parser without its header. */
struct phr_header {
    const char *name; /* NULL: continues the value before */
    size_t name_len;
    const char *value;
    size_t value_len;
};

/* False: no or several Host (HTTP/1.1), several Content-Length or one that is no number, Transfer-Encoding
 * together with Content-Length, twice or in HTTP/1.0, or a folded line. */
bool limits_http1(const struct phr_header *headers, size_t count, int minor_version);
/* Moves the first header of that name to the front; the number of those kept: 1 or 0. */
size_t limits_keep(struct phr_header *headers, size_t count, const char *name);
