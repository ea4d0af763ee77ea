/* What a policy declares (policy/declare.h), taken from its JSON for the arithmetic of rollouts. */
#pragma once
#include "fleet/rollout.h"
#include <jansson.h>
#include <stdbool.h>

struct plan {
    struct rollout_plan rollout;
    char spread_tag[80]; /* "": not spread */
    int spread;          /* most updates under way for each of its values */
    bool downgrade;
    json_t *from; /* patterns of versions; borrowed from the declaration */
};

struct plan_defaults { /* of the configuration: what a policy leaves out; seconds */
    double timeout, wait, vanish_after;
};

void plan_read(json_t *declaration, const struct plan_defaults *defaults, struct plan *plan);

/* Whether a version is one that the plan updates from. */
bool plan_updates_from(const struct plan *plan, const char *version);
