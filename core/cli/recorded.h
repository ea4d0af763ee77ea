/* Decisions that rollouts made, read from the database to be repeated (policy/replay.h). */
#pragma once
#include "cli/database.h"
#include "cli/source.h"
#include <jansson.h>

struct recorded {
    PGresult *rows;
    struct policy_text *decisions;
    size_t count;
    bool cut; /* there are more, older ones */
    char *request;
};

/* Those of the rollouts of `policy`, or of one of them (`rollout`: its id, or NULL). False: said why, after
 * `command`. */
bool recorded_read(struct recorded *recorded, struct database *database, const char *command,
                   const char *policy, const char *rollout) __attribute__((warn_unused_result));
void recorded_free(struct recorded *recorded);

/* The revision of the source's policy that begins with `id`, or (NULL) that is in force, becomes its source.
 * False: said why. */
bool recorded_revision(struct cli_source *source, struct database *database, const char *command,
                       const char *id) __attribute__((warn_unused_result));

/* Prints an answer of replay_run(). `before`, `after`: what is compared, in a few words. */
void recorded_print(const struct recorded *recorded, json_t *answer, const char *before, const char *after);
