#include "policy/replay.h"
#include "base/mem.h"
#include "fleet/rollout.h"
#include "policy/heap.h"
#include "policy/plan.h"
#include "policy/report.h"
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_IDS = 200, MOST_LISTED = 1000, LISTED = 20, MOST_KINDS = 100, EXAMPLES = 10 };

struct side { /* one source */
    struct policy *policy;
    json_t *declaration;
    struct plan plan;
};

struct last { /* of a device */
    uint32_t device;
    bool was, is; /* offered */
};

struct replay {
    struct side now, before;
    bool recorded; /* compared with what was recorded */
    json_t *request, *differences, *changes;
    size_t asked, same, reworded, differing, failed, most;
    struct last *last; /* in order; then by device */
    size_t last_count;
};

struct said {
    char verdict[16], reason[POLICY_REASON + 1], file[64];
    int line;
    bool failed;
};

static bool open_side(struct policies *policies, const struct policy_source *source, struct side *side,
                      struct buffer *json)
{
    static const struct plan_defaults defaults = {900, 604800, 120};
    struct problems problems = {0};
    side->policy = policy_load(policies, source, &problems);
    if (side->policy == NULL) {
        report_problems(json, &problems);
        problems_free(&problems);
        return false;
    }
    side->declaration = json_loads(policy_declaration(side->policy), 0, NULL);
    plan_read(side->declaration, &defaults, &side->plan);
    return true;
}

static void close_side(struct side *side)
{
    policy_free(side->policy);
    json_decref(side->declaration);
}

static json_t *find_rollout(const struct replay *replay, json_int_t id)
{
    json_t *rollout;
    size_t i;
    json_array_foreach(json_object_get(replay->request, "rollouts"), i, rollout)
    {
        if (json_integer_value(json_object_get(rollout, "id")) == id)
            return rollout;
    }
    return NULL;
}

static void set_default(json_t *object, const char *name, json_t *value)
{
    if (json_object_get(object, name) == NULL && value != NULL)
        json_object_set(object, name, value);
}

/* The rollout as the policy saw it: what was kept of it, and what does not change. The caller's. */
static json_t *rollout_seen(const struct replay *replay, json_t *decision, json_t *inputs)
{
    json_t *rollout = find_rollout(replay, json_integer_value(json_object_get(decision, "rollout_id")));
    json_t *kept = json_object_get(inputs, "rollout");
    json_t *seen = json_is_object(kept) ? json_copy(kept) : json_object();
    json_t *stages = json_object_get(rollout, "stages"), *index = json_object_get(inputs, "stage"), *stage;
    const char *name = json_string_value(json_object_get(seen, "stage"));
    static const char *const fixed[] = {"id", "name", "firmware", "params"};
    for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++)
        set_default(seen, fixed[i], json_object_get(rollout, fixed[i]));
    size_t i;
    json_array_foreach(stages, i, stage)
    {
        const char *own = json_string_value(json_object_get(stage, "name"));
        if (name == NULL ? json_is_integer(index) && (size_t)json_integer_value(index) == i
                         : own != NULL && strcmp(own, name) == 0) {
            set_default(seen, "stage", json_object_get(stage, "name"));
            set_default(seen, "soak", json_object_get(stage, "soak"));
            break;
        }
    }
    double began = json_number_value(json_object_get(rollout, "created_at"));
    if (json_object_get(seen, "age") == NULL && began > 0)
        json_object_set_new(seen, "age",
                            json_real(json_number_value(json_object_get(inputs, "now")) - began));
    return seen;
}

static int stage_named(const struct rollout_plan *plan, const char *name)
{
    for (int i = 0; name != NULL && i < plan->stage_count; i++) {
        if (strcmp(plan->stages[i].name, name) == 0)
            return i;
    }
    return 0;
}

static int count_of(json_t *stats, const char *name)
{
    return (int)json_integer_value(json_object_get(stats, name));
}

/* The server's own advance, for a source that has none. */
static void decide_by_default(const struct side *side, json_t *stats, json_t *rollout, struct said *said)
{
    json_t *since = json_object_get(stats, "since_resume");
    struct rollout_stats in = {
        .succeeded = count_of(stats, "succeeded"),
        .failed = count_of(stats, "failed"),
        .since_resume = {.ended = count_of(since, "ended"),
                         .failed = count_of(since, "failed"),
                         .failure_low = json_number_value(json_object_get(since, "failure_low"))},
        .stage_done = json_is_true(json_object_get(stats, "stage_done")),
    };
    int stage = stage_named(&side->plan.rollout, json_string_value(json_object_get(rollout, "stage")));
    const char *verdict = rollout_default_advance(&side->plan.rollout, &in, stage,
                                                  json_number_value(json_object_get(stats, "stage_age")),
                                                  said->reason, sizeof(said->reason));
    snprintf(said->verdict, sizeof(said->verdict), "%s", verdict);
}

static void ask(const struct side *side, json_t *inputs, json_t *rollout, struct said *said)
{
    json_t *device = json_object_get(inputs, "device"), *stats = json_object_get(inputs, "stats");
    char *argument = json_dumps(device != NULL ? device : stats, JSON_COMPACT),
         *seen = json_dumps(rollout, JSON_COMPACT);
    struct policy_text text = {argument, strlen(argument)};
    struct policy_moment moment = {.rollout = {seen, strlen(seen)},
                                   .now = json_number_value(json_object_get(inputs, "now"))};
    struct policy_verdict verdict;
    *said = (struct said){0};
    if (device != NULL)
        policy_admit(side->policy, &moment, text, &verdict);
    else
        policy_advance(side->policy, &moment, text, &verdict);
    if (verdict.answer == POLICY_DEFAULT) {
        decide_by_default(side, stats, rollout, said);
    } else {
        snprintf(said->verdict, sizeof(said->verdict), "%s", policy_answer_name(verdict.answer));
        memcpy(said->reason, verdict.reason, sizeof(said->reason));
        memcpy(said->file, verdict.file, sizeof(said->file));
        said->line = verdict.line;
        said->failed = verdict.failed;
    }
    free(argument);
    free(seen);
}

static void read_recorded(json_t *decision, struct said *said)
{
    const char *verdict = json_string_value(json_object_get(decision, "verdict")),
               *reason = json_string_value(json_object_get(decision, "reason")),
               *file = json_string_value(json_object_get(decision, "file"));
    *said = (struct said){.line = (int)json_integer_value(json_object_get(decision, "line"))};
    snprintf(said->verdict, sizeof(said->verdict), "%s", verdict == NULL ? "" : verdict);
    snprintf(said->reason, sizeof(said->reason), "%s", reason == NULL ? "" : reason);
    snprintf(said->file, sizeof(said->file), "%s", file == NULL ? "" : file);
}

static json_t *shown(const struct said *said)
{
    return json_pack("{s:s,s:o,s:o,s:o}", "verdict", said->verdict, "reason",
                     *said->reason == '\0' ? json_null() : json_string(said->reason), "line",
                     said->line > 0 ? json_integer(said->line) : json_null(), "file",
                     *said->file == '\0' ? json_null() : json_string(said->file));
}

static void list_difference(struct replay *replay, json_t *decision, const struct said *was,
                            const struct said *is)
{
    static const char *const kept[] = {"id", "at", "rollout_id", "device_id"};
    json_t *difference = json_object();
    for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
        json_t *value = json_object_get(decision, kept[i]);
        json_object_set(difference, kept[i], value == NULL ? json_null() : value);
    }
    json_object_set_new(difference, "was", shown(was));
    json_object_set_new(difference, "is", shown(is));
    json_array_append_new(replay->differences, difference);
}

static void add_one(json_t *object, const char *name)
{
    json_object_set_new(object, name, json_integer(json_integer_value(json_object_get(object, name)) + 1));
}

/* Counts it among those that are alike. */
static void note_change(struct replay *replay, json_t *device, const struct said *was, const struct said *is)
{
    json_t *before = shown(was), *now = shown(is), *found = NULL, *kind;
    size_t i;
    json_array_foreach(replay->changes, i, kind)
    {
        if (json_equal(json_object_get(kind, "was"), before) &&
            json_equal(json_object_get(kind, "is"), now)) {
            found = kind;
            break;
        }
    }
    if (found == NULL && json_array_size(replay->changes) < MOST_KINDS) {
        found = json_pack("{s:O,s:O,s:i,s:i,s:[]}", "was", before, "is", now, "count", 0, "stages", 0,
                          "device_ids");
        json_array_append_new(replay->changes, found);
    }
    json_decref(before);
    json_decref(now);
    if (found == NULL)
        return;
    json_t *ids = json_object_get(found, "device_ids");
    add_one(found, "count");
    if (!json_is_integer(device))
        add_one(found, "stages");
    else if (json_array_size(ids) < EXAMPLES)
        json_array_append(ids, device);
}

static void repeat(struct replay *replay, json_t *decision)
{
    json_t *inputs = json_object_get(decision, "inputs"), *device = json_object_get(decision, "device_id");
    bool on_device = json_is_object(json_object_get(inputs, "device"));
    if (!on_device && !json_is_object(json_object_get(inputs, "stats")))
        return;
    json_t *rollout = rollout_seen(replay, decision, inputs);
    struct said was, is;
    ask(&replay->now, inputs, rollout, &is);
    if (replay->recorded)
        read_recorded(decision, &was);
    else
        ask(&replay->before, inputs, rollout, &was);
    json_decref(rollout);
    replay->asked++;
    replay->failed += is.failed;
    if (strcmp(was.verdict, is.verdict) != 0) {
        note_change(replay, device, &was, &is);
        if (replay->differing++ < replay->most)
            list_difference(replay, decision, &was, &is);
    } else if (strcmp(was.reason, is.reason) != 0) {
        replay->reworded++;
    } else {
        replay->same++;
    }
    if (on_device && json_is_integer(device)) {
        replay->last[replay->last_count] =
            (struct last){(uint32_t)json_integer_value(device), strcmp(was.verdict, "offer") == 0,
                          strcmp(is.verdict, "offer") == 0};
        replay->last_count++;
    }
}

/* By device, the last decision on each; the others go. */
static void sort_devices(struct replay *replay)
{
    struct last *sorted = x_alloc((replay->last_count + 1) * sizeof(*sorted));
    struct heap heap = {0};
    size_t n = 0;
    for (uint32_t i = 0; i < replay->last_count; i++)
        heap_push(&heap, (uint64_t)replay->last[i].device << 32 | i, i);
    while (heap.count > 0) {
        const struct last *last = &replay->last[heap_pop(&heap)];
        n -= n > 0 && sorted[n - 1].device == last->device;
        sorted[n++] = *last;
    }
    heap_free(&heap);
    free(replay->last);
    replay->last = sorted;
    replay->last_count = n;
}

static json_t *list_devices(const struct replay *replay, bool now)
{
    json_t *ids = json_array();
    json_int_t count = 0;
    for (size_t i = 0; i < replay->last_count; i++) {
        const struct last *last = &replay->last[i];
        if (last->was != last->is && last->is == now && count++ < MOST_IDS)
            json_array_append_new(ids, json_integer(last->device));
    }
    return json_pack("{s:I,s:o}", "count", count, "device_ids", ids);
}

static void put_answer(struct replay *replay, size_t count, struct buffer *json)
{
    sort_devices(replay);
    json_t *answer = json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:O,s:O,s:o,s:o}", "decisions", (json_int_t)count,
                               "asked", (json_int_t)replay->asked, "same", (json_int_t)replay->same,
                               "reworded", (json_int_t)replay->reworded, "differing",
                               (json_int_t)replay->differing, "failed", (json_int_t)replay->failed,
                               "differences", replay->differences, "changes", replay->changes, "now_offered",
                               list_devices(replay, true), "no_longer_offered", list_devices(replay, false));
    char *text = json_dumps(answer, JSON_COMPACT);
    buffer_puts(json, text);
    free(text);
    json_decref(answer);
}

static bool repeat_all(struct replay *replay, const struct policy_text *decisions, size_t count,
                       struct buffer *json)
{
    for (size_t i = 0; i < count; i++) {
        json_t *decision = json_loadb(decisions[i].text, decisions[i].len, 0, NULL);
        if (!json_is_object(decision)) {
            char *error = x_printf("decision %zu of the list is not a JSON object", i + 1);
            report_error(json, error);
            free(error);
            json_decref(decision);
            return false;
        }
        repeat(replay, decision);
        json_decref(decision);
    }
    put_answer(replay, count, json);
    return true;
}

bool replay_run(struct policies *policies, const struct policy_source *source,
                const struct policy_source *other, struct policy_text request,
                const struct policy_text *decisions, size_t count, struct buffer *json)
{
    struct replay replay = {.recorded = other == NULL, .most = LISTED};
    bool ok = open_side(policies, source, &replay.now, json) &&
              (other == NULL || open_side(policies, other, &replay.before, json));
    if (ok) {
        replay.request = json_loadb(request.text, request.len, 0, NULL);
        json_t *most = json_object_get(replay.request, "most");
        if (json_is_integer(most) && json_integer_value(most) >= 0 && json_integer_value(most) <= MOST_LISTED)
            replay.most = (size_t)json_integer_value(most);
        replay.differences = json_array();
        replay.changes = json_array();
        replay.last = x_alloc((count + 1) * sizeof(*replay.last));
        ok = repeat_all(&replay, decisions, count, json);
    }
    close_side(&replay.now);
    close_side(&replay.before);
    json_decref(replay.request);
    json_decref(replay.differences);
    json_decref(replay.changes);
    free(replay.last);
    return ok;
}
