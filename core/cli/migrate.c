/* otad migrate: applies sql/migrations/NNNN_name.sql in order, each in a transaction of its own, once, under
 * an advisory lock. A file that was applied must not change: its SHA-256 is kept and compared. Nor may one be
 * missing. */
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/database.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char usage[] =
    "usage: otad migrate\n"
    "\n"
    "Brings the tables of the database up to date with sql/migrations. Safe to run at any\n"
    "time and by several at once. Refused where a migration was changed after it was applied,\n"
    "and where the database is that of a newer otad.\n";

static int is_migration(const struct dirent *entry)
{
    size_t len = strlen(entry->d_name);
    return len > 9 && strspn(entry->d_name, "0123456789") == 4 && entry->d_name[4] == '_' &&
           strcmp(entry->d_name + len - 4, ".sql") == 0;
}

static char *read_text(const char *path, char **error)
{
    struct stat info;
    char *text = NULL;
    FILE *file = fopen(path, "re");
    if (file != NULL && fstat(fileno(file), &info) == 0) {
        text = x_alloc((size_t)info.st_size + 1);
        if (fread(text, 1, (size_t)info.st_size, file) != (size_t)info.st_size) {
            free(text);
            text = NULL;
        }
    }
    if (text == NULL)
        *error = x_printf("%s: %s", path, strerror(errno));
    if (file != NULL)
        fclose(file);
    return text;
}

/* The checksum under which `name` was applied, or NULL; owned by the caller. */
static char *applied_checksum(struct database *database, const char *name, char **error)
{
    char *checksum = NULL;
    PGresult *result = database_run(database, "migration_find", 1, &name, error);
    if (result != NULL && PQntuples(result) == 1)
        checksum = x_strdup(PQgetvalue(result, 0, 0));
    PQclear(result);
    return checksum;
}

static bool apply(struct database *database, const char *name, const char *text, const char *checksum,
                  char **error)
{
    const char *const values[] = {name, checksum};
    if (!database_do(database, "transaction_begin", 0, NULL, error))
        return false;
    PGresult *result = PQexec(database->conn, text);
    bool ok = PQresultStatus(result) == PGRES_COMMAND_OK || PQresultStatus(result) == PGRES_TUPLES_OK;
    if (!ok)
        *error = x_strdup(PQresultErrorMessage(result));
    PQclear(result);
    ok = ok && database_do(database, "migration_add", 2, values, error) &&
         database_do(database, "transaction_commit", 0, NULL, error);
    if (ok)
        printf("applied %s\n", name);
    return ok;
}

static bool migrate_file(struct database *database, const char *name, char **error)
{
    unsigned char hash[crypto_hash_sha256_BYTES];
    char checksum[2 * sizeof(hash) + 1];
    char *path = x_printf("%s/migrations/%s", database->config->sql, name);
    char *text = read_text(path, error);
    free(path);
    if (text == NULL)
        return false;
    crypto_hash_sha256(hash, (const unsigned char *)text, strlen(text));
    sodium_bin2hex(checksum, sizeof(checksum), hash, sizeof(hash));
    char *before = applied_checksum(database, name, error);
    bool ok = *error == NULL;
    if (ok && before == NULL) {
        ok = apply(database, name, text, checksum, error);
    } else if (ok && strcmp(before, checksum) != 0) {
        *error =
            x_printf("%s was applied with other content: write a new migration instead of changing it", name);
        ok = false;
    }
    free(before);
    free(text);
    return ok;
}

/* A later otad has been here: what this one would do to its tables nobody has tried. */
static bool knows_all(struct database *database, struct dirent **files, int count, char **error)
{
    PGresult *result = database_run(database, "migration_list", 0, NULL, error);
    for (int i = 0; result != NULL && *error == NULL && i < PQntuples(result); i++) {
        const char *name = PQgetvalue(result, i, 0);
        int found = 0;
        while (found < count && strcmp(files[found]->d_name, name) != 0)
            found++;
        if (found == count)
            *error = x_printf("the database has %s, which is not in %s/migrations: a newer otad made it",
                              name, database->config->sql);
    }
    PQclear(result);
    return *error == NULL;
}

int cli_migrate(int argc, char **argv)
{
    struct database database;
    struct dirent **files = NULL;
    char *error = NULL;

    if (argc != 1) {
        bool help = argc == 2 && strcmp(argv[1], "--help") == 0;
        fputs(usage, help ? stdout : stderr);
        return help ? CLI_FINE : CLI_USAGE;
    }
    if (!database_open(&database, "migrate"))
        return CLI_PROBLEM;
    char *directory = x_printf("%s/migrations", database.config->sql);
    int count = scandir(directory, &files, is_migration, alphasort);
    if (count < 0)
        error = x_printf("%s: %s", directory, strerror(errno));
    free(directory);

    /* The lock first: the table itself is made under it. The connection's end releases both lock and
     * transaction. */
    bool ok = error == NULL && database_do(&database, "migration_lock", 0, NULL, &error) &&
              database_do(&database, "migration_table", 0, NULL, &error) &&
              knows_all(&database, files, count, &error);
    for (int i = 0; i < count; i++) {
        ok = ok && migrate_file(&database, files[i]->d_name, &error);
        free(files[i]);
    }
    free(files);
    /* So that the first log line of the first device finds its day; later days are the server's to make. */
    char telemetry[24] = "", logs[24] = "", decisions[24] = "";
    snprintf(telemetry, sizeof(telemetry), "%lld", (long long)database.config->telemetry_keep_days);
    snprintf(logs, sizeof(logs), "%lld", (long long)database.config->logs_keep_days);
    snprintf(decisions, sizeof(decisions), "%lld", (long long)database.config->decisions_keep_days);
    const char *const days[] = {telemetry, logs, decisions};
    ok = ok && database_do(&database, "ingest_partitions", 3, days, &error);
    if (!ok)
        fprintf(stderr, "otad migrate: %s%s", error, error[strlen(error) - 1] == '\n' ? "" : "\n");
    free(error);
    database_close(&database);
    return ok ? CLI_FINE : CLI_PROBLEM;
}
