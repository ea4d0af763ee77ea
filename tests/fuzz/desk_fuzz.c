/* What the process of policies reads from its socket. The first byte chooses: a stream of frames, as bytes; a
 * request to simulate, to replay, or to run tests, with a source that is sound. Each answer is frames that
 * the other end takes, JSON where JSON is due. Left out are patterns, which only a kill ends, what makes a
 * simulation long, and loops in tests, which may take a second each. */
#include "base/mem.h"
#include "policy/desk.h"
#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char sound[] =
    "return { stages = { { name = 'first', share = 0.5, soak = '1m' }, { name = 'all', share = 1 } },\n"
    "admit = function(device, rollout, ctx)\n"
    "  if device.telemetry and device.telemetry.battery == 1 then return 'hold', 'low', { again = '1h' } "
    "end\n"
    "  if device.attempts > 2 then return 'skip', rollout.name end return 'offer' end,\n"
    "advance = function(rollout, stats)\n"
    "  if stats.failed > 3 then return 'pause', 'failures' end return stats.stage_done and 'advance' or "
    "'hold' end }";

static void must_be_answers(const struct buffer *out)
{
    const char *at = out->data;
    size_t left = out->len;
    while (left > 0) {
        enum frame_kind kind;
        struct frame_reader fields;
        size_t len = frame_next(at, left, &kind, &fields);
        if (len == 0 || len == SIZE_MAX ||
            (kind != FRAME_VERDICT && kind != FRAME_JSON && kind != FRAME_TEST_BEGINS))
            abort();
        if (kind == FRAME_VERDICT) {
            frame_take_verdict(&fields);
        } else if (kind == FRAME_TEST_BEGINS) {
            frame_take_number(&fields);
        } else {
            struct policy_text text = frame_take_text(&fields);
            json_t *json = json_loadb(text.text, text.len, JSON_REJECT_DUPLICATES, NULL);
            if (json == NULL)
                abort();
            json_decref(json);
        }
        if (fields.bad || fields.at != fields.end)
            abort();
        at += len;
        left -= len;
    }
}

static bool has(const char *data, size_t size, const char *word)
{
    return memmem(data, size, word, strlen(word)) != NULL;
}

static bool loops(const char *data, size_t size)
{
    return has(data, size, "while") || has(data, size, "repeat") || has(data, size, "for") ||
           has(data, size, "goto");
}

static void serve_stream(struct desk *desk, const char *data, size_t size)
{
    enum frame_kind kind;
    struct frame_reader fields;
    for (size_t len; (len = frame_next(data, size, &kind, &fields)) != 0 && len != SIZE_MAX;
         data += len, size -= len) {
        if (kind == FRAME_SIMULATE || kind == FRAME_REPLAY || kind == FRAME_TEST ||
            !desk_serve(desk, kind, &fields))
            return;
        must_be_answers(&desk->out);
    }
}

/* A simulation takes two hours of its time: what happens in 14 days takes seconds here. */
static void put_short(struct buffer *frame, struct frame_reader *in)
{
    struct frame_reader start = *in;
    struct policy_text request = frame_take_text(in);
    json_t *json = in->bad ? NULL : json_loadb(request.text, request.len, JSON_REJECT_DUPLICATES, NULL);
    if (json_is_object(json)) {
        json_object_set_new(json, "days", json_real(0.1));
        char *text = json_dumps(json, JSON_COMPACT);
        frame_put_text(frame, (struct policy_text){text, strlen(text)});
        free(text);
    } else {
        *in = start;
    }
    json_decref(json);
}

/* The source, then the bytes. */
static void serve_work(struct desk *desk, enum frame_kind kind, const char *data, size_t size)
{
    struct policy_source source = {.name = "fuzz", .source = {sound, sizeof(sound) - 1}};
    struct buffer frame = {0};
    struct frame_reader fields;
    size_t begin = frame_begin(&frame, kind);
    frame_put_source(&frame, &source);
    struct frame_reader in = {data, data + size, false};
    if (kind == FRAME_SIMULATE)
        put_short(&frame, &in);
    buffer_put(&frame, in.at, (size_t)(in.end - in.at));
    frame_end(&frame, begin);
    if (frame_next(frame.data, frame.len, &kind, &fields) != frame.len)
        abort();
    if (desk_serve(desk, kind, &fields))
        must_be_answers(&desk->out);
    buffer_free(&frame);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enum frame_kind works[] = {[1] = FRAME_SIMULATE, FRAME_REPLAY, FRAME_TEST};
    static struct desk desk;
    if (size == 0)
        return 0;
    char *text = x_memdup(data + 1, size - 1);
    size_t len = size - 1;
    if (desk.checker == NULL) {
        desk.policies.zones = zones_new(zones_load_file, NULL);
        desk.checker = checker_new(NULL);
    }
    if (has(text, len, "find") || has(text, len, "match") || has(text, len, "gsub") ||
        has(text, len, "fleet"))
        ;
    else if (data[0] % 4 == 0)
        serve_stream(&desk, text, len);
    else if (data[0] % 4 != 3 || !loops(text, len))
        serve_work(&desk, works[data[0] % 4], text, len);
    desk_clear(&desk);
    free(text);
    return 0;
}
