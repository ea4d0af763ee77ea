#include "cli/database.h"
#include "base/buffer.h"
#include "base/mem.h"
#include "cli/cli.h"
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void ignore_notice(void *arg, const PGresult *result)
{
}

bool database_open(struct database *database, const char *command)
{
    char *error = NULL;
    *database = (struct database){.config = cli_load_config(&error)};
    if (database->config != NULL && cli_find_directory("sql", database->config->sql, "/queries", &error)) {
        char *queries = x_printf("%s/queries", database->config->sql);
        database->statements = pg_statements_load(queries, &error);
        free(queries);
    }
    if (database->statements != NULL) {
        setenv("PGTZ", "UTC", 1); /* times as the server shows them */
        database->conn = PQconnectdb(database->config->database_url);
        if (PQstatus(database->conn) != CONNECTION_OK)
            error = x_printf("cannot reach the database: %s"
                             "  Its address is the key database.url (DATABASE_URL); without one, it is what\n"
                             "  conf/up left in %s/keys.",
                             PQerrorMessage(database->conn), database->config->var);
        PQsetNoticeReceiver(database->conn, ignore_notice, NULL);
    }
    if (error == NULL)
        return true;
    fprintf(stderr, "otad %s: %s%s", command, error, error[strlen(error) - 1] == '\n' ? "" : "\n");
    free(error);
    database_close(database);
    return false;
}

void database_close(struct database *database)
{
    PQfinish(database->conn);
    if (database->statements != NULL)
        pg_statements_free(database->statements);
    config_free(database->config);
}

PGresult *database_run(struct database *database, const char *name, size_t count, const char *const *values,
                       char **error)
{
    const struct pg_statement *statement = pg_statement(database->statements, name);
    if (statement == NULL) {
        *error = x_printf("there is no statement %s in %s/queries", name, database->config->sql);
        return NULL;
    }
    PGresult *result = PQexecParams(database->conn, statement->text, (int)count, NULL, values, NULL, NULL, 0);
    ExecStatusType status = PQresultStatus(result);
    if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK)
        return result;
    *error = x_strdup(PQresultErrorMessage(result));
    PQclear(result);
    return NULL;
}

bool database_do(struct database *database, const char *name, size_t count, const char *const *values,
                 char **error)
{
    PGresult *result = database_run(database, name, count, values, error);
    PQclear(result);
    return result != NULL;
}

PGresult *database_change(struct database *database, const char *name, size_t count,
                          const char *const *values, char **error)
{
    struct buffer actor = {0};
    const struct passwd *user = getpwuid(getuid());
    char *number = x_printf("%lu", (unsigned long)getuid());
    const char *who = user != NULL ? user->pw_name : number;
    buffer_puts(&actor, "{\"via\":\"command line\",\"address\":");
    buffer_put_json(&actor, who, strlen(who));
    buffer_putc(&actor, '}');
    const char *text = buffer_text(&actor);

    PGresult *result = NULL;
    if (database_do(database, "transaction_begin", 0, NULL, error) &&
        database_do(database, "actor", 1, &text, error))
        result = database_run(database, name, count, values, error); /* what fails ends with the connection */
    if (result != NULL && !database_do(database, "transaction_commit", 0, NULL, error)) {
        PQclear(result);
        result = NULL;
    }
    buffer_free(&actor);
    free(number);
    return result;
}
