/* A policy named on the command line: a name among the scripts, or the path of a Lua file. */
#pragma once
#include "base/config.h"
#include "lua/bundle.h"
#include "policy/shelf.h"

struct cli_source {
    struct config *config;
    struct bundle *bundle;
    struct shelf shelf;
    struct policy_source source; /* what to ask */
    char *name, *path;           /* of the policy; as people see the file */
    char *text;                  /* of a file outside of the scripts, or another revision */
};

/* False: said why, after `command`. `elsewhere`: a name that the scripts do not know may be one of the
 * database's; its source has no text yet. */
bool cli_source_open(struct cli_source *source, const char *command, const char *name, bool elsewhere)
    __attribute__((warn_unused_result));
void cli_source_close(struct cli_source *source);

/* Reads `path` as the source of the policy instead. False: said why. */
bool cli_source_file(struct cli_source *source, const char *command, const char *path)
    __attribute__((warn_unused_result));
/* Takes `text` as its source instead; `path` is how people know it. */
void cli_source_text(struct cli_source *source, const char *text, const char *path);

/* Prints the n-th line of the source, where there is one, without the space around it. */
void cli_source_line(const struct cli_source *source, int line, const char *before);

/* Prints {"problems": [...]} of an answer, or the answer itself with `json`; to standard error but for JSON.
 */
void cli_print_problems(const struct cli_source *source, const char *command, const char *answer, bool json);
