/* What the server and its process of policies say to each other: a length (4 bytes), a kind (1 byte), and
 * fields one after the other, in the machine's own byte order, for both ends are the same program. Texts have
 * their length before and a NUL behind them, so that they are used where they lie. Neither end trusts the
 * other. */
#pragma once
#include "base/buffer.h"
#include "policy/policy.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { FRAME_HEADER = 5, FRAME_LARGEST = 64 * 1024 * 1024 };

enum frame_kind {
    /* To the process: */
    FRAME_LOAD = 'L',     /* slot, source; answered by JSON {problems, declaration} */
    FRAME_ADMIT = 'A',    /* slot, moment, count, devices; answered by as many verdicts */
    FRAME_ADVANCE = 'D',  /* slot, moment, stats; answered by a verdict */
    FRAME_CHECK = 'C',    /* kind, source; answered by JSON {problems} */
    FRAME_SIMULATE = 'S', /* source, request, whether devices are given, count, devices; answered by JSON */
    FRAME_REPLAY = 'R',   /* source, whether there is another, that, request, count, decisions; by JSON */
    FRAME_TEST = 'T',     /* source, whether there are tests, those, count, tests left out; by JSON */
    FRAME_ZONE = 'Z',     /* whether there is one, its file: answers FRAME_ZONE_WANTED */
    /* From it: */
    FRAME_VERDICT = 'v',
    FRAME_JSON = 'j',
    FRAME_ZONE_WANTED = 'z', /* name */
    FRAME_TEST_BEGINS = 't', /* its number */
    FRAME_OVERRUN = 'o'      /* the call under way took too long: the process ends */
};

struct frame_reader {
    const char *at, *end;
    bool bad; /* once something was missing all reads give nothing */
};

/* Where the frame begins in the buffer, for frame_end(). */
size_t frame_begin(struct buffer *out, enum frame_kind kind);
void frame_end(struct buffer *out, size_t begin);
void frame_put_number(struct buffer *out, uint64_t value);
void frame_put_real(struct buffer *out, double value);
void frame_put_text(struct buffer *out, struct policy_text text);
void frame_put_moment(struct buffer *out, const struct policy_moment *moment);
void frame_put_source(struct buffer *out, const struct policy_source *source);
void frame_put_verdict(struct buffer *out, const struct policy_verdict *verdict);

uint64_t frame_take_number(struct frame_reader *in);
double frame_take_real(struct frame_reader *in);
struct policy_text frame_take_text(struct frame_reader *in); /* "" once bad */
struct policy_moment frame_take_moment(struct frame_reader *in);
/* Name and texts lie in the frame; the list of libraries is the caller's to free. */
struct policy_source frame_take_source(struct frame_reader *in);
struct policy_verdict frame_take_verdict(struct frame_reader *in);

/* The first frame in the buffer: its size with the header and its fields; 0: not all there yet, SIZE_MAX: too
 * large. */
size_t frame_next(const char *data, size_t len, enum frame_kind *kind, struct frame_reader *fields);
