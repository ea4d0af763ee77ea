#include "policy/desk.h"
#include "base/mem.h"
#include "policy/check.h"
#include "policy/replay.h"
#include "policy/simulate.h"
#include "policy/test_run.h"
#include <stdlib.h>

static void answer_json(struct desk *desk, const char *json, size_t len)
{
    size_t begin = frame_begin(&desk->out, FRAME_JSON);
    frame_put_text(&desk->out, (struct policy_text){json, len});
    frame_end(&desk->out, begin);
}

static bool load(struct desk *desk, struct frame_reader *fields)
{
    struct problems problems = {0};
    struct buffer json = {0};
    size_t slot = frame_take_number(fields) % HOST_SLOTS;
    struct policy_source source = frame_take_source(fields);
    if (fields->bad) {
        free((void *)source.libraries);
        return false;
    }
    policy_free(desk->slots[slot]);
    desk->slots[slot] = NULL; /* policy_load may not come back */
    desk->slots[slot] = policy_load(&desk->policies, &source, &problems);
    buffer_puts(&json, "{\"problems\":");
    problems_put_json(&problems, &json);
    buffer_printf(&json, ",\"declaration\":%s}",
                  desk->slots[slot] == NULL ? "null" : policy_declaration(desk->slots[slot]));
    answer_json(desk, json.data, json.len);
    buffer_free(&json);
    problems_free(&problems);
    free((void *)source.libraries);
    return true;
}

/* A library is checked as the source, under its own name. */
static bool check(struct desk *desk, struct frame_reader *fields)
{
    struct problems problems = {0};
    struct buffer json = {0};
    enum check_kind kind = (enum check_kind)(frame_take_number(fields) % CHECK_KINDS);
    struct policy_source source = frame_take_source(fields);
    if (fields->bad) {
        free((void *)source.libraries);
        return false;
    }
    if (kind == CHECK_POLICY) {
        checker_policy(desk->checker, &desk->policies, &source, &problems);
    } else {
        char *file = x_printf("scripts/%s.lua", source.name);
        checker_run(desk->checker, file, kind, source.source, &problems);
        problems_sort(&problems);
        free(file);
    }
    if (checker_missing(desk->checker) != NULL)
        problems_add_copy(&problems, &(struct problem){.file = "",
                                                       .message = (char *)checker_missing(desk->checker),
                                                       .warning = true});
    buffer_puts(&json, "{\"problems\":");
    problems_put_json(&problems, &json);
    buffer_putc(&json, '}');
    answer_json(desk, json.data, json.len);
    buffer_free(&json);
    problems_free(&problems);
    free((void *)source.libraries);
    return true;
}

static void answer_verdict(struct desk *desk, const struct policy_verdict *verdict)
{
    size_t begin = frame_begin(&desk->out, FRAME_VERDICT);
    frame_put_verdict(&desk->out, verdict);
    frame_end(&desk->out, begin);
    if (desk->on_answer != NULL)
        desk->on_answer(desk->arg);
}

static bool ask(struct desk *desk, enum frame_kind kind, struct frame_reader *fields)
{
    struct policy *policy = desk->slots[frame_take_number(fields) % HOST_SLOTS];
    struct policy_moment moment = frame_take_moment(fields);
    size_t count = kind == FRAME_ADMIT ? frame_take_number(fields) : 1;
    for (size_t i = 0; i < count; i++) {
        struct policy_verdict verdict;
        struct policy_text argument = frame_take_text(fields);
        if (fields->bad || policy == NULL)
            return false;
        if (kind == FRAME_ADMIT)
            policy_admit(policy, &moment, argument, &verdict);
        else
            policy_advance(policy, &moment, argument, &verdict);
        answer_verdict(desk, &verdict);
    }
    return true;
}

/* The texts at the end of a frame; the list is the caller's. */
static struct policy_text *take_texts(struct frame_reader *fields, size_t *count)
{
    *count = frame_take_number(fields);
    if (*count > (size_t)(fields->end - fields->at)) {
        fields->bad = true;
        *count = 0;
    }
    struct policy_text *texts = x_alloc((*count + 1) * sizeof(*texts));
    for (size_t i = 0; i < *count; i++)
        texts[i] = frame_take_text(fields);
    return texts;
}

static bool simulate(struct desk *desk, struct frame_reader *fields)
{
    struct buffer json = {0};
    size_t count;
    struct policy_source source = frame_take_source(fields);
    struct policy_text request = frame_take_text(fields);
    bool given = frame_take_number(fields) != 0;
    struct policy_text *devices = take_texts(fields, &count);
    if (!fields->bad) {
        simulate_run(&desk->policies, &source, request, given ? devices : NULL, count, &json);
        answer_json(desk, json.data, json.len);
    }
    buffer_free(&json);
    free(devices);
    free((void *)source.libraries);
    return !fields->bad;
}

static bool replay(struct desk *desk, struct frame_reader *fields)
{
    struct buffer json = {0};
    struct policy_source other = {0};
    size_t count;
    struct policy_source source = frame_take_source(fields);
    bool compared = frame_take_number(fields) != 0;
    if (compared)
        other = frame_take_source(fields);
    struct policy_text request = frame_take_text(fields);
    struct policy_text *decisions = take_texts(fields, &count);
    if (!fields->bad) {
        replay_run(&desk->policies, &source, compared ? &other : NULL, request, decisions, count, &json);
        answer_json(desk, json.data, json.len);
    }
    buffer_free(&json);
    free(decisions);
    free((void *)source.libraries);
    free((void *)other.libraries);
    return !fields->bad;
}

static void on_test(void *arg, size_t number)
{
    struct desk *desk = arg;
    size_t begin = frame_begin(&desk->out, FRAME_TEST_BEGINS);
    frame_put_number(&desk->out, number);
    frame_end(&desk->out, begin);
    if (desk->on_news != NULL)
        desk->on_news(desk->arg);
}

static bool test(struct desk *desk, struct frame_reader *fields)
{
    struct buffer json = {0};
    struct policy_source source = frame_take_source(fields);
    struct test_run run = {.source = &source, .on_test = on_test, .arg = desk};
    bool given = frame_take_number(fields) != 0;
    struct policy_text tests = frame_take_text(fields);
    run.tests = given ? &tests : NULL;
    run.left_out_count = frame_take_number(fields);
    fields->bad = fields->bad || run.left_out_count > TEST_RUN_LEFT_OUT;
    for (size_t i = 0; !fields->bad && i < run.left_out_count; i++)
        run.left_out[i] = frame_take_number(fields);
    if (!fields->bad) {
        test_run(&desk->policies, desk->checker, &run, &json);
        answer_json(desk, json.data, json.len);
    }
    buffer_free(&json);
    free((void *)source.libraries);
    return !fields->bad;
}

bool desk_serve(struct desk *desk, enum frame_kind kind, struct frame_reader *fields)
{
    switch (kind) {
    case FRAME_LOAD:
        return load(desk, fields);
    case FRAME_CHECK:
        return check(desk, fields);
    case FRAME_ADMIT:
    case FRAME_ADVANCE:
        return ask(desk, kind, fields);
    case FRAME_SIMULATE:
        return simulate(desk, fields);
    case FRAME_REPLAY:
        return replay(desk, fields);
    case FRAME_TEST:
        return test(desk, fields);
    default:
        return false;
    }
}

void desk_clear(struct desk *desk)
{
    for (int i = 0; i < HOST_SLOTS; i++) {
        policy_free(desk->slots[i]);
        desk->slots[i] = NULL;
    }
    desk->out.len = 0;
}
