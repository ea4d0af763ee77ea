#include "policy/frame.h"
#include "base/flatjson.h"
#include "base/mem.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MOST_LIBRARIES = 1000 };

size_t frame_begin(struct buffer *out, enum frame_kind kind)
{
    size_t begin = out->len;
    char header[FRAME_HEADER] = {[FRAME_HEADER - 1] = (char)kind};
    buffer_put(out, header, sizeof(header));
    return begin;
}

void frame_end(struct buffer *out, size_t begin)
{
    uint32_t len = (uint32_t)(out->len - begin - FRAME_HEADER);
    memcpy(out->data + begin, &len, sizeof(len));
}

void frame_put_number(struct buffer *out, uint64_t value)
{
    buffer_put(out, &value, sizeof(value));
}

void frame_put_real(struct buffer *out, double value)
{
    buffer_put(out, &value, sizeof(value));
}

void frame_put_text(struct buffer *out, struct policy_text text)
{
    uint32_t len = (uint32_t)text.len;
    buffer_put(out, &len, sizeof(len));
    buffer_put(out, text.text, text.len);
    buffer_putc(out, '\0');
}

static void put_string(struct buffer *out, const char *text)
{
    frame_put_text(out, (struct policy_text){text, strlen(text)});
}

void frame_put_moment(struct buffer *out, const struct policy_moment *moment)
{
    frame_put_text(out, moment->rollout);
    frame_put_real(out, moment->now);
    frame_put_number(out, moment->seed);
}

void frame_put_source(struct buffer *out, const struct policy_source *source)
{
    put_string(out, source->name);
    frame_put_text(out, source->source);
    frame_put_number(out, source->library_count);
    for (size_t i = 0; i < source->library_count; i++) {
        put_string(out, source->libraries[i].name);
        frame_put_text(out, source->libraries[i].source);
    }
}

void frame_put_verdict(struct buffer *out, const struct policy_verdict *verdict)
{
    frame_put_number(out, verdict->answer);
    frame_put_number(out, verdict->failed);
    frame_put_number(out, (uint64_t)verdict->line);
    frame_put_real(out, verdict->again);
    put_string(out, verdict->file);
    put_string(out, verdict->reason);
}

static bool take(struct frame_reader *in, void *into, size_t len)
{
    if (in->bad || (size_t)(in->end - in->at) < len) {
        in->bad = true;
        memset(into, 0, len);
        return false;
    }
    memcpy(into, in->at, len);
    in->at += len;
    return true;
}

uint64_t frame_take_number(struct frame_reader *in)
{
    uint64_t value;
    take(in, &value, sizeof(value));
    return value;
}

double frame_take_real(struct frame_reader *in)
{
    double value;
    take(in, &value, sizeof(value));
    return value;
}

struct policy_text frame_take_text(struct frame_reader *in)
{
    uint32_t len;
    if (!take(in, &len, sizeof(len)) || (size_t)(in->end - in->at) <= len || in->at[len] != '\0') {
        in->bad = true;
        return (struct policy_text){"", 0};
    }
    struct policy_text text = {in->at, len};
    in->at += len + 1;
    return text;
}

struct policy_moment frame_take_moment(struct frame_reader *in)
{
    struct policy_moment moment = {.rollout = frame_take_text(in)};
    moment.now = frame_take_real(in);
    moment.seed = frame_take_number(in);
    return moment;
}

struct policy_source frame_take_source(struct frame_reader *in)
{
    struct policy_source source = {.name = frame_take_text(in).text};
    source.source = frame_take_text(in);
    size_t count = frame_take_number(in);
    if (count > MOST_LIBRARIES) {
        in->bad = true;
        return source;
    }
    struct policy_library *libraries = x_alloc((count + 1) * sizeof(*libraries));
    for (size_t i = 0; i < count; i++) {
        libraries[i].name = frame_take_text(in).text;
        libraries[i].source = frame_take_text(in);
    }
    source.libraries = libraries;
    source.library_count = count;
    return source;
}

struct policy_verdict frame_take_verdict(struct frame_reader *in)
{
    struct policy_verdict verdict = {0};
    uint64_t answer = frame_take_number(in);
    verdict.failed = frame_take_number(in) != 0;
    verdict.line = (int)(frame_take_number(in) & INT32_MAX);
    double again = frame_take_real(in);
    struct policy_text file = frame_take_text(in), reason = frame_take_text(in);
    in->bad = in->bad || answer >= POLICY_ANSWERS || file.len >= sizeof(verdict.file) ||
              reason.len >= sizeof(verdict.reason) || !flatjson_utf8(file.text, file.len) ||
              !flatjson_utf8(reason.text, reason.len);
    if (in->bad)
        return (struct policy_verdict){0};
    verdict.answer = (enum policy_answer)answer;
    verdict.again = isfinite(again) && again > 0 ? again : 0;
    memcpy(verdict.file, file.text, file.len);
    memcpy(verdict.reason, reason.text, reason.len);
    return verdict;
}

size_t frame_next(const char *data, size_t len, enum frame_kind *kind, struct frame_reader *fields)
{
    uint32_t size;
    if (len < FRAME_HEADER)
        return 0;
    memcpy(&size, data, sizeof(size));
    if (size > FRAME_LARGEST)
        return SIZE_MAX;
    if (len < FRAME_HEADER + (size_t)size)
        return 0;
    *kind = (enum frame_kind)(unsigned char)data[FRAME_HEADER - 1];
    *fields = (struct frame_reader){data + FRAME_HEADER, data + FRAME_HEADER + size, false};
    return FRAME_HEADER + (size_t)size;
}
