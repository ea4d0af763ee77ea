/* The subcommands of `otad`. Each gets its own name as argv[0] and returns the exit code of the process:
 * 0 fine, 1 problems found, 2 wrong usage. Results go to standard output, everything else to standard error.
 * They run alone in their process and use getopt's globals. */
#pragma once
#include "base/config.h"

enum { CLI_FINE, CLI_PROBLEM, CLI_USAGE };

int cli_serve(int argc, char **argv);
int cli_migrate(int argc, char **argv);
int cli_check(int argc, char **argv);    /* [--json] [DIRECTORY]: what is wrong with scripts */
int cli_test(int argc, char **argv);     /* [--json] [--coverage] [DIRECTORY]: runs *_test.lua */
int cli_explain(int argc, char **argv);  /* [--json] DEVICE */
int cli_simulate(int argc, char **argv); /* a rollout in virtual time */
int cli_replay(int argc, char **argv);   /* recorded decisions with another source */
int cli_diff(int argc, char **argv);     /* two revisions of a policy, in source and behaviour */
int cli_user(int argc, char **argv);     /* add | role | password | list */
int cli_keygen(int argc, char **argv);   /* --out NAME: writes NAME.key and NAME.pub */
int cli_sign(int argc, char **argv);     /* --key NAME.key [--version V] FILE: prints a release signature */

/* The configuration is the file that OTAD_CONFIG names, which must be there; else conf/otad.lua, which may be
 * missing. conf/otad.lua and the relative `var`, `scripts`, `sql` and `console.dir` of defaults and file are
 * looked for in the working directory, where that holds conf/otad.lua or sql/queries; else in the tree of
 * OTAD_CONFIG's file (the directory above its own), else in the tree this program was built in, where those
 * hold sql/queries. What arguments and variables name is relative to the working directory, always. */
char *cli_config_file(void); /* the caller's */
/* NULL and *error (the caller's). */
struct config *cli_load_config(char **error) __attribute__((warn_unused_result));
/* Whether `path`, the value of `key`, holds the directory `inside` ("/queries", or "": is one itself). If
 * not, *error (the caller's) says where that was looked for, why there, and what to do. */
bool cli_find_directory(const char *key, const char *path, const char *inside, char **error)
    __attribute__((warn_unused_result));
