/* The subcommands of `otad`. Each gets its own name as argv[0] and returns the exit code of the process:
 * 0 fine, 1 problems found, 2 wrong usage. Results go to standard output, everything else to standard error.
 * They run alone in their process and use getopt's globals. */
#pragma once
#include "base/config.h"

enum { CLI_FINE, CLI_PROBLEM, CLI_USAGE };

int cli_serve(int argc, char **argv);
int cli_migrate(int argc, char **argv);
int cli_check(int argc, char **argv);  /* [--json] [DIRECTORY]: what is wrong with scripts */
int cli_test(int argc, char **argv);   /* [--json] [DIRECTORY]: runs *_test.lua */
int cli_user(int argc, char **argv);   /* add | role | password | list */
int cli_keygen(int argc, char **argv); /* --out NAME: writes NAME.key and NAME.pub */
int cli_sign(int argc, char **argv);   /* --key NAME.key [--version V] FILE: prints a release signature */

/* Where the configuration file is: OTAD_CONFIG, else conf/otad.lua. */
const char *cli_config_file(void);
/* Reads it; conf/otad.lua may be missing, a file that was named may not. NULL and *error (the caller's). */
struct config *cli_load_config(char **error) __attribute__((warn_unused_result));
