/* PostgreSQL for subcommands, which may block: one connection and the named statements of sql/queries/. */
#pragma once
#include "base/config.h"
#include "io/pg.h"

struct database {
    struct config *config;
    struct pg_statements *statements;
    PGconn *conn;
};

/* False: not to be had; the reason has been printed, after `command`. */
bool database_open(struct database *database, const char *command) __attribute__((warn_unused_result));
void database_close(struct database *database);

/* Runs a named statement with text parameters. NULL: failed; *error (the caller's) tells why. The caller
 * clears the result. */
PGresult *database_run(struct database *database, const char *name, size_t count, const char *const *values,
                       char **error);
/* One whose result nobody needs. False: failed. */
bool database_do(struct database *database, const char *name, size_t count, const char *const *values,
                 char **error);
/* As database_run, in a transaction of its own, and the audit log learns which user of the system did it. */
PGresult *database_change(struct database *database, const char *name, size_t count,
                          const char *const *values, char **error);
