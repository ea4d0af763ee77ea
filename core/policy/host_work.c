#include "base/mem.h"
#include "policy/host_private.h"
#include "policy/report.h"
#include "policy/test_run.h"
#include <string.h>

enum {
    MOST_WORK = 20000,                             /* ms of processor time for a simulation or replay, */
    MOST_WAIT = 300000,                            /* and in all, on a busy machine */
    MOST_TEST = TEST_RUN_TIME + CHECK_TIME + 1000, /* ms of processor time for one test, and coverage */
    MOST_TESTS = 10000                             /* ms after which no other process begins with them */
};

#define NO_TEST UINT64_MAX

static const char late[] = "the server stops, or the machine is too busy",
                  gone[] = "nobody waits for it any more";

void host_heed(struct host *host, const atomic_bool *unwanted)
{
    host->unwanted = unwanted;
}

static void put_texts(struct buffer *request, const struct policy_text *texts, size_t count)
{
    frame_put_number(request, count);
    for (size_t i = 0; i < count; i++)
        frame_put_text(request, texts[i]);
}

/* Sends the request and appends the answer, which comes within `most_busy` ms of processor time since the
 * last word. */
static enum end attempt(struct host *host, const struct buffer *request, int most_busy, struct buffer *json)
{
    enum end end = CRASHED;
    bool idled = host->pid != 0;
    if (host_is_unwanted(host))
        return UNWANTED;
    for (int i = 0; i < (idled ? 2 : 1) && end == CRASHED; i++) { /* one that idled may be gone */
        struct frame_reader fields;
        int64_t until = host_clock(CLOCK_MONOTONIC) + MOST_WAIT;
        host->most_busy = most_busy;
        host->test = NO_TEST;
        if (host->closed)
            end = LATE;
        else if (host_start(host) && host_send(host, request))
            end = host_next(host, FRAME_JSON, until, &fields);
        host->most_busy = MOST_BUSY;
        if (end != ANSWERED) {
            host_count_end(host, end);
        } else {
            struct policy_text answer = frame_take_text(&fields);
            buffer_put(json, answer.text, answer.len);
        }
    }
    return end;
}

/* Whether what was appended from `begin` on is an answer, and not problems. */
static bool is_answer(const struct buffer *json, size_t begin)
{
    static const char problems[] = "{\"problems\":";
    size_t len = json->len - begin;
    return len > sizeof(problems) && memcmp(json->data + begin, problems, sizeof(problems) - 1) != 0;
}

static bool is_too_large(const struct buffer *request, struct buffer *json)
{
    if (request->len - FRAME_HEADER <= FRAME_LARGEST)
        return false;
    report_error(json, "that is too much data at once: at most 60 MiB");
    return true;
}

/* A simulation or replay. False: the answer has problems. Frees the request. */
static bool work(struct host *host, struct buffer *request, struct buffer *json)
{
    static const char *const failures[] = {
        [OVERRAN] = "a call of the policy ran longer than 10 ms, or all of them together longer than 20 s",
        [CRASHED] = "the process that ran the policy ended, probably for want of memory",
        [LATE] = late,
        [UNWANTED] = gone,
    };
    size_t begin = json->len;
    if (is_too_large(request, json)) {
        buffer_free(request);
        return false;
    }
    pthread_mutex_lock(&host->lock);
    enum end end = attempt(host, request, MOST_WORK, json);
    if (end != ANSWERED)
        report_error(json, failures[end]);
    pthread_mutex_unlock(&host->lock);
    buffer_free(request);
    return is_answer(json, begin);
}

bool host_simulate(struct host *host, const struct policy_source *source, struct policy_text request,
                   const struct policy_text *devices, size_t count, struct buffer *json)
{
    struct buffer frame = {0};
    size_t begin = frame_begin(&frame, FRAME_SIMULATE);
    frame_put_source(&frame, source);
    frame_put_text(&frame, request);
    frame_put_number(&frame, devices != NULL);
    put_texts(&frame, devices, devices == NULL ? 0 : count);
    frame_end(&frame, begin);
    return work(host, &frame, json);
}

bool host_replay(struct host *host, const struct policy_source *source, const struct policy_source *other,
                 struct policy_text request, const struct policy_text *decisions, size_t count,
                 struct buffer *json)
{
    struct buffer frame = {0};
    size_t begin = frame_begin(&frame, FRAME_REPLAY);
    frame_put_source(&frame, source);
    frame_put_number(&frame, other != NULL);
    if (other != NULL)
        frame_put_source(&frame, other);
    frame_put_text(&frame, request);
    put_texts(&frame, decisions, count);
    frame_end(&frame, begin);
    return work(host, &frame, json);
}

static void put_run(struct buffer *frame, const struct test_run *run)
{
    size_t begin = frame_begin(frame, FRAME_TEST);
    frame_put_source(frame, run->source);
    frame_put_number(frame, run->tests != NULL);
    frame_put_text(frame, run->tests != NULL ? *run->tests : (struct policy_text){"", 0});
    frame_put_number(frame, run->left_out_count);
    for (size_t i = 0; i < run->left_out_count; i++)
        frame_put_number(frame, run->left_out[i]);
    frame_end(frame, begin);
}

bool host_test(struct host *host, const struct policy_source *source, const struct policy_text *tests,
               struct buffer *json)
{
    static const char *const failures[] = {
        [OVERRAN] = "the tests ran too long",
        [CRASHED] = "the process that ran the tests ended, probably for want of memory",
        [LATE] = late,
        [UNWANTED] = gone,
    };
    struct test_run run = {.source = source, .tests = tests};
    struct buffer frame = {0};
    size_t begin = json->len;
    enum end end = ANSWERED;
    pthread_mutex_lock(&host->lock);
    int64_t until = host_clock(CLOCK_MONOTONIC) + MOST_TESTS;
    for (;;) {
        frame.len = 0;
        put_run(&frame, &run);
        if (is_too_large(&frame, json))
            break;
        end = attempt(host, &frame, MOST_TEST, json);
        if (end == ANSWERED || end == LATE || end == UNWANTED || host->test == NO_TEST ||
            run.left_out_count == TEST_RUN_LEFT_OUT || host_clock(CLOCK_MONOTONIC) > until)
            break;
        run.left_out[run.left_out_count++] = host->test;
    }
    buffer_free(&frame);
    if (end != ANSWERED)
        report_error(json, failures[end]);
    pthread_mutex_unlock(&host->lock);
    return is_answer(json, begin);
}
