#include "policy/plan.h"
#include <stdio.h>
#include <string.h>

static double number(json_t *object, const char *name, double otherwise)
{
    json_t *value = json_object_get(object, name);
    return json_is_number(value) ? json_number_value(value) : otherwise;
}

void plan_read(json_t *declaration, const struct plan_defaults *defaults, struct plan *plan)
{
    json_t *rate = json_object_get(declaration, "rate"), *retry = json_object_get(declaration, "retry"),
           *spread = json_object_get(declaration, "spread"), *stages = json_object_get(declaration, "stages"),
           *stage;
    struct rollout_plan *rollout = &plan->rollout;
    size_t i;
    memset(plan, 0, sizeof(*plan));
    json_array_foreach(stages, i, stage)
    {
        if (i == ROLLOUT_MOST_STAGES)
            break;
        struct rollout_stage *into = &rollout->stages[rollout->stage_count++];
        const char *name = json_string_value(json_object_get(stage, "name"));
        snprintf(into->name, sizeof(into->name), "%s", name == NULL ? "" : name);
        into->share = number(stage, "share", 1);
        into->soak = number(stage, "soak", 0);
    }
    rollout->per_minute = number(rate, "per_minute", 0);
    rollout->growth = number(rate, "growth", 1);
    rollout->concurrency = (int)number(declaration, "concurrency", 0);
    rollout->timeout = number(declaration, "timeout", defaults->timeout);
    rollout->wait = number(declaration, "wait", defaults->wait);
    rollout->retry_max = (int)number(retry, "max", 0);
    rollout->retry_after = number(retry, "after", 600);
    rollout->max_failure = number(declaration, "max_failure", 0.05);
    rollout->vanish_after = number(declaration, "vanish_after", defaults->vanish_after);
    if (json_is_object(spread)) {
        const char *tag = json_string_value(json_object_get(spread, "tag"));
        snprintf(plan->spread_tag, sizeof(plan->spread_tag), "%s", tag == NULL ? "" : tag);
        plan->spread = (int)number(spread, "concurrency", 0);
    }
    plan->downgrade = json_is_true(json_object_get(declaration, "downgrade"));
    plan->from = json_object_get(declaration, "from");
}

/* * stands for anything. */
static bool matches(const char *pattern, const char *text)
{
    const char *star = NULL, *resume = NULL;
    while (*text != '\0') {
        if (*pattern == '*') {
            star = ++pattern;
            resume = text;
        } else if (*pattern == *text) {
            pattern++;
            text++;
        } else if (star != NULL) {
            pattern = star;
            text = ++resume;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return *pattern == '\0';
}

bool plan_updates_from(const struct plan *plan, const char *version)
{
    json_t *pattern;
    size_t i;
    json_array_foreach(plan->from, i, pattern)
    {
        if (json_is_string(pattern) && matches(json_string_value(pattern), version))
            return true;
    }
    return json_array_size(plan->from) == 0;
}
