/* Loads sql/queries/: every .sql file, statements behind `-- name: NAME [read [anew]]` lines. */
#include "base/mem.h"
#include "io/pg_connection.h"
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct pg_statements {
    struct pg_statement *list;
    unsigned count;
};

static bool add(struct pg_statements *statements, const char *file, char *head, char *error, size_t size)
{
    char name[64], mode[16] = "";
    bool named = sscanf(head, "%63[a-z0-9_] %15[a-z ]", name, mode) >= 1;
    bool anew = strcmp(mode, "read anew") == 0, read = anew || strcmp(mode, "read") == 0;
    if (!named || (*mode != '\0' && !read)) {
        snprintf(error, size,
                 "%s: expected `-- name: NAME`, with `read` or `read anew` behind it, found `%.40s`", file,
                 head);
        return false;
    }
    if (pg_statement(statements, name) != NULL) {
        snprintf(error, size, "%s: statement %s is there already", file, name);
        return false;
    }
    statements->list = x_realloc(statements->list, (statements->count + 1) * sizeof(*statements->list));
    statements->list[statements->count] =
        (struct pg_statement){x_strdup(name), NULL, read, anew, statements->count};
    statements->count++;
    return true;
}

/* Appends a line to the text of the newest statement. */
static void append(struct pg_statements *statements, const char *line)
{
    struct pg_statement *last = &statements->list[statements->count - 1];
    char *text = x_printf("%s%s", last->text == NULL ? "" : last->text, line);
    free((char *)last->text);
    last->text = text;
}

static bool load_file(struct pg_statements *statements, const char *path, char *error, size_t size)
{
    static const char mark[] = "-- name: ";
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        snprintf(error, size, "%s: %s", path, strerror(errno));
        return false;
    }
    char *line = NULL;
    size_t room = 0;
    bool ok = true, inside = false;
    while (ok && getline(&line, &room, file) >= 0) {
        if (strncmp(line, mark, sizeof(mark) - 1) == 0) {
            ok = add(statements, path, line + sizeof(mark) - 1, error, size);
            inside = true;
        } else if (inside && strncmp(line, "--", 2) != 0) {
            append(statements, line);
        }
    }
    free(line);
    fclose(file);
    return ok;
}

static int is_sql(const struct dirent *entry)
{
    size_t len = strlen(entry->d_name);
    return len > 4 && strcmp(entry->d_name + len - 4, ".sql") == 0;
}

struct pg_statements *pg_statements_load(const char *directory, char **error)
{
    char problem[512] = "";
    struct pg_statements *statements = x_new(struct pg_statements);
    struct dirent **files;
    int count = scandir(directory, &files, is_sql, alphasort);
    bool ok = count >= 0;
    if (!ok)
        snprintf(problem, sizeof(problem), "%s: %s", directory, strerror(errno));
    for (int i = 0; i < count; i++) {
        char *path = x_printf("%s/%s", directory, files[i]->d_name);
        ok = ok && load_file(statements, path, problem, sizeof(problem));
        free(path);
        free(files[i]);
    }
    if (count >= 0)
        free(files);
    for (unsigned i = 0; ok && i < statements->count; i++) {
        ok = statements->list[i].text != NULL;
        if (!ok)
            snprintf(problem, sizeof(problem), "%s: statement %s is empty", directory,
                     statements->list[i].name);
    }
    if (!ok) {
        *error = x_strdup(problem);
        pg_statements_free(statements);
        return NULL;
    }
    return statements;
}

void pg_statements_free(struct pg_statements *statements)
{
    for (unsigned i = 0; i < statements->count; i++) {
        free((char *)statements->list[i].name);
        free((char *)statements->list[i].text);
    }
    free(statements->list);
    free(statements);
}

const struct pg_statement *pg_statement(const struct pg_statements *statements, const char *name)
{
    for (unsigned i = 0; i < statements->count; i++) {
        if (strcmp(statements->list[i].name, name) == 0)
            return &statements->list[i];
    }
    return NULL;
}

unsigned pg_statements_count(const struct pg_statements *statements)
{
    return statements->count;
}
