#include "base/mem.h"
#include "policy/report.h"
#include "policy/simulate_private.h"
#include "policy/wishes.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MONDAY 1767603600.0 /* 2026-01-05 9:00 UTC */

/* --- Requests ------------------------------------------------------------------------------------------- */

static const char *text_of(json_t *object, const char *name, const char *otherwise)
{
    json_t *value = json_object_get(object, name);
    return json_is_string(value) ? json_string_value(value) : otherwise;
}

static void put_dumped(struct buffer *out, json_t *value, const char *otherwise)
{
    char *text = value == NULL ? NULL : json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    buffer_puts(out, text == NULL ? otherwise : text);
    free(text);
}

static bool read_numbers(struct sim *sim, struct plan_defaults *defaults, char **error)
{
    json_t *request = sim->request, *seconds = json_object_get(request, "defaults"),
           *rollout = json_object_get(request, "rollout");
    double seed, days, id, resumes;
    if (!wishes_number(request, "", "seed", 0, 9007199254740991.0, 1, &seed, error) ||
        !wishes_number(request, "", "start", 0, 1e11, MONDAY, &sim->start, error) ||
        !wishes_number(request, "", "days", 0.01, 366, 14, &days, error) ||
        !wishes_number(request, "", "resumes", 0, 1000, 0, &resumes, error) ||
        !wishes_number(rollout, "rollout.", "id", 1, 9007199254740991.0, fmax(seed, 1), &id, error) ||
        !wishes_number(seconds, "defaults.", "timeout", 1, 1e8, 900, &defaults->timeout, error) ||
        !wishes_number(seconds, "defaults.", "wait", 1, 1e8, 604800, &defaults->wait, error) ||
        !wishes_number(seconds, "defaults.", "vanish_after", 1, 1e8, 120, &defaults->vanish_after, error))
        return false;
    sim->seed = (uint64_t)seed;
    sim->resumes = (int)resumes;
    sim->rollout = (int64_t)id;
    sim->until = (int32_t)(days * 86400);
    return true;
}

/* What policies see of the rollout, but for its stage and age. */
static void read_rollout(struct sim *sim)
{
    json_t *rollout = json_object_get(sim->request, "rollout"), *params = json_object_get(rollout, "params");
    const char *name = text_of(rollout, "name", "simulation");
    buffer_printf(&sim->head, "{\"id\":%lld,\"name\":", (long long)sim->rollout);
    buffer_put_json(&sim->head, name, strlen(name));
    buffer_puts(&sim->head, ",\"firmware\":");
    put_dumped(&sim->head, json_object_get(rollout, "firmware"),
               "{\"id\":1,\"version\":\"2.0.0\",\"chip\":\"esp32\",\"size\":1048576}");
    buffer_puts(&sim->head, ",\"params\":");
    put_dumped(&sim->head, json_is_object(params) ? params : NULL, "{}");
}

static void enlist(struct sim *sim)
{
    sim->count = world_count(sim->world);
    sim->devices = x_alloc((sim->count + 1) * sizeof(*sim->devices));
    sim->order = x_alloc((sim->count + 1) * sizeof(*sim->order));
    struct heap sorted = {0};
    for (uint32_t i = 0; i < sim->count; i++) {
        struct sim_device *device = &sim->devices[i];
        bool excluded = world_excluded(sim->world, i) != NULL;
        device->bucket = rollout_bucket(sim->rollout, world_id(sim->world, i));
        device->state = excluded ? ROLLOUT_EXCLUDED : ROLLOUT_WAITING;
        device->next = -1;
        rollout_count(&sim->tally, (enum rollout_device_state)device->state, false, false, false, 1);
        if (!excluded)
            heap_push(&sorted, device->bucket, i);
    }
    while (sorted.count > 0)
        sim->order[sim->members++] = heap_pop(&sorted);
    heap_free(&sorted);
    if (sim->plan.spread > 0) {
        sim->groups = x_alloc((size_t)(world_groups(sim->world) + 1) * sizeof(*sim->groups));
        for (int g = 0; g < world_groups(sim->world); g++)
            sim->groups[g].first = sim->groups[g].last = -1;
    }
}

/* *error stays NULL where the policy has problems: those were written. */
static bool open_all(struct sim *sim, struct policies *policies, const struct policy_source *source,
                     struct policy_text request, const struct policy_text *devices, size_t count,
                     struct buffer *json, char **error)
{
    struct problems problems = {0};
    struct plan_defaults defaults;
    sim->policy = policy_load(policies, source, &problems);
    if (sim->policy == NULL) {
        report_problems(json, &problems);
        problems_free(&problems);
        return false;
    }
    json_error_t where;
    sim->request = json_loadb(request.text, request.len, JSON_REJECT_DUPLICATES, &where);
    if (!json_is_object(sim->request)) {
        *error = x_printf("the request is not a JSON object: %s", where.text);
        return false;
    }
    sim->declaration = json_loads(policy_declaration(sim->policy), 0, NULL);
    if (!read_numbers(sim, &defaults, error))
        return false;
    plan_read(sim->declaration, &defaults, &sim->plan);
    read_rollout(sim);
    json_t *firmware = json_object_get(json_object_get(sim->request, "rollout"), "firmware");
    struct world_firmware image = {text_of(firmware, "version", "2.0.0"), text_of(firmware, "chip", "esp32")};
    sim->world =
        world_new(sim->seed, json_object_get(sim->request, "fleet"), json_object_get(sim->request, "assume"),
                  devices, count, &sim->plan, &image, error);
    return sim->world != NULL;
}

bool sim_open(struct sim *sim, struct policies *policies, const struct policy_source *source,
              struct policy_text request, const struct policy_text *devices, size_t count,
              struct buffer *json)
{
    char *error = NULL;
    if (!open_all(sim, policies, source, request, devices, count, json, &error)) {
        if (error != NULL)
            report_error(json, error);
        free(error);
        return false;
    }
    enlist(sim);
    sim->stage = -1;
    sim->reason_count = 1;
    for (int i = 0; i < ROLLOUT_MOST_STAGES; i++)
        sim->stages[i].until = WORLD_NEVER;
    return true;
}

void sim_close(struct sim *sim)
{
    policy_free(sim->policy);
    if (sim->world != NULL)
        world_free(sim->world);
    json_decref(sim->request);
    json_decref(sim->declaration);
    buffer_free(&sim->head);
    buffer_free(&sim->rollout_text);
    buffer_free(&sim->text);
    free(sim->devices);
    free(sim->order);
    free(sim->groups);
    heap_free(&sim->asks);
    heap_free(&sim->events);
    for (int i = 1; i < sim->reason_count; i++)
        free(sim->reasons[i].text);
    for (size_t i = 0; i < sim->timeline_count; i++) {
        free(sim->timeline[i].reason);
        free(sim->timeline[i].file);
    }
    free(sim->timeline);
    free(sim->reason);
    free(sim->file);
}

/* --- As policies see it --------------------------------------------------------------------------------- */

struct policy_text sim_rollout(struct sim *sim)
{
    const struct rollout_stage *stage = &sim->plan.rollout.stages[sim->stage < 0 ? 0 : sim->stage];
    struct buffer *out = &sim->rollout_text;
    out->len = 0;
    buffer_put(out, sim->head.data, sim->head.len);
    buffer_puts(out, ",\"stage\":");
    buffer_put_json(out, stage->name, strlen(stage->name));
    buffer_printf(out, ",\"soak\":%.15g,\"age\":%d,\"resumed\":%s}", stage->soak, (int)sim->now,
                  sim->resumed ? "true" : "false");
    return (struct policy_text){buffer_text(out), out->len};
}

static void put_stats(struct buffer *out, const struct rollout_stats *stats)
{
    buffer_printf(
        out,
        "\"targeted\":%d,\"offered\":%d,\"under_way\":%d,\"ended\":%d,\"succeeded\":%d,\"failed\":%d,"
        "\"vanished\":%d,\"failure_rate\":%.6g,\"failure_low\":%.6g,\"failure_high\":%.6g",
        stats->targeted, stats->offered, stats->under_way, stats->ended, stats->succeeded, stats->failed,
        stats->vanished, stats->failure_rate, stats->failure_low, stats->failure_high);
}

struct policy_text sim_stats(struct sim *sim, const struct rollout_stats *stats)
{
    struct buffer *out = &sim->text;
    out->len = 0;
    buffer_putc(out, '{');
    put_stats(out, stats);
    buffer_printf(out,
                  ",\"since_resume\":{\"ended\":%d,\"succeeded\":%d,\"failed\":%d,\"failure_rate\":%.6g,"
                  "\"failure_low\":%.6g,\"failure_high\":%.6g}",
                  stats->since_resume.ended, stats->since_resume.succeeded, stats->since_resume.failed,
                  stats->since_resume.failure_rate, stats->since_resume.failure_low,
                  stats->since_resume.failure_high);
    buffer_printf(
        out,
        ",\"stage_done\":%s,\"stage_age\":%d,\"control\":{\"devices\":%d,\"vanished\":%d,\"crashed\":0},"
        "\"updated\":{\"devices\":%d,\"vanished\":%d,\"crashed\":0}}",
        stats->stage_done ? "true" : "false", (int)(sim->now - sim->stage_entered), sim->control.devices,
        sim->control.vanished, sim->updated.devices, sim->updated.vanished);
    return (struct policy_text){buffer_text(out), out->len};
}

/* --- Answers -------------------------------------------------------------------------------------------- */

static void put_text(struct buffer *out, const char *name, const char *text)
{
    buffer_printf(out, ",\"%s\":", name);
    if (text == NULL || *text == '\0')
        buffer_puts(out, "null");
    else
        buffer_put_json(out, text, strlen(text));
}

static void put_line(struct buffer *out, int line, const char *file)
{
    if (line > 0)
        buffer_printf(out, ",\"line\":%d", line);
    else
        buffer_puts(out, ",\"line\":null");
    put_text(out, "file", file);
}

static void put_timeline(struct sim *sim, struct buffer *out)
{
    buffer_puts(out, ",\"timeline\":[");
    for (size_t i = 0; i < sim->timeline_count; i++) {
        const struct sim_line *line = &sim->timeline[i];
        buffer_printf(out, "%s{\"at_s\":%d", i == 0 ? "" : ",", (int)line->at);
        put_text(out, "stage", line->stage < 0 ? NULL : sim->plan.rollout.stages[line->stage].name);
        buffer_putc(out, ',');
        put_stats(out, &line->stats);
        put_text(out, "verdict", policy_answer_name(line->answer));
        put_text(out, "reason", line->reason);
        put_line(out, line->line, line->file);
        buffer_putc(out, '}');
    }
    buffer_puts(out, "],\"stages\":[");
    for (int i = 0; i < sim->plan.rollout.stage_count; i++) {
        const struct rollout_stage *stage = &sim->plan.rollout.stages[i];
        bool entered = sim->stages[i].until != WORLD_NEVER;
        buffer_puts(out, i == 0 ? "{\"name\":" : ",{\"name\":");
        buffer_put_json(out, stage->name, strlen(stage->name));
        buffer_printf(out, ",\"share\":%.15g,\"soak_s\":%.15g,", stage->share, stage->soak);
        if (entered) {
            buffer_printf(out, "\"entered_s\":%d,\"until_s\":%d,", (int)sim->stages[i].entered,
                          (int)sim->stages[i].until);
            put_stats(out, &sim->stages[i].left);
        } else {
            buffer_puts(out, "\"entered_s\":null");
        }
        buffer_putc(out, '}');
    }
    buffer_putc(out, ']');
}

static void put_excluded(struct sim *sim, struct buffer *out)
{
    json_t *counts = json_object(), *count;
    const char *reason;
    for (size_t i = 0; i < sim->count; i++) {
        if ((reason = world_excluded(sim->world, i)) != NULL)
            json_object_set_new(counts, reason,
                                json_integer(json_integer_value(json_object_get(counts, reason)) + 1));
    }
    buffer_puts(out, ",\"excluded\":[");
    bool first = true;
    json_object_foreach(counts, reason, count)
    {
        buffer_puts(out, first ? "{\"reason\":" : ",{\"reason\":");
        buffer_put_json(out, reason, strlen(reason));
        buffer_printf(out, ",\"count\":%lld}", (long long)json_integer_value(count));
        first = false;
    }
    buffer_puts(out, "],\"held\":[");
    json_decref(counts);
    first = true;
    for (int i = 1; i < sim->reason_count; i++) {
        const struct sim_reason *held = &sim->reasons[i];
        if (held->count == 0)
            continue;
        buffer_printf(out, "%s{\"verdict\":\"%s\",\"count\":%d", first ? "" : ",",
                      policy_answer_name(held->answer), held->count);
        put_text(out, "reason", held->text);
        put_line(out, held->line, NULL);
        buffer_putc(out, '}');
        first = false;
    }
    buffer_putc(out, ']');
}

void sim_put_answer(struct sim *sim, struct buffer *out)
{
    buffer_printf(out, "{\"outcome\":\"%s\",\"at_s\":%d", sim->outcome, (int)sim->now);
    put_text(out, "stage", sim->stage < 0 ? NULL : sim->plan.rollout.stages[sim->stage].name);
    put_text(out, "reason", sim->reason);
    put_line(out, sim->line, sim->file);
    put_timeline(sim, out);
    buffer_printf(out, ",\"devices\":%zu,\"targeted\":%zu,\"counts\":{", sim->count, sim->members);
    for (int i = 0; i < ROLLOUT_DEVICE_STATES; i++)
        buffer_printf(out, "%s\"%s\":%d", i == 0 ? "" : ",", rollout_device_states[i], sim->tally.all[i]);
    buffer_putc(out, '}');
    put_excluded(sim, out);
    buffer_printf(out, ",\"calls\":{\"admit\":%llu,\"advance\":%llu},\"seed\":%llu}",
                  (unsigned long long)sim->admits, (unsigned long long)sim->advances,
                  (unsigned long long)sim->seed);
}
