#include "cli/source.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "policy/nearest.h"
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char folder[] = "policies/";

static bool is_path(const char *name)
{
    size_t len = strlen(name);
    return strchr(name, '/') != NULL || (len > 4 && strcmp(name + len - 4, ".lua") == 0);
}

static void say_unknown(const struct cli_source *source, const char *command, const char *name)
{
    const char **names = x_alloc((source->bundle->count + 1) * sizeof(*names));
    size_t count = 0;
    for (size_t i = 0; i < source->bundle->count; i++) {
        const struct bundle_file *file = &source->bundle->files[i];
        if (strncmp(file->name, folder, sizeof(folder) - 1) == 0 && !bundle_is_test(file))
            names[count++] = file->name + sizeof(folder) - 1;
    }
    const char *near = nearest_name(name, names);
    fprintf(stderr, "otad %s: there is no policy %s in %s/policies", command, name, source->config->scripts);
    if (near != NULL)
        fprintf(stderr, " (did you mean %s?)", near);
    fputs(count == 0 ? "\n" : "\n  There are:", stderr);
    for (size_t i = 0; i < count; i++)
        fprintf(stderr, "%s %s", i == 0 ? "" : ",", names[i]);
    fputs(count == 0 ? "" : "\n", stderr);
    free(names);
}

static char *name_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *name = x_strdup(slash == NULL ? path : slash + 1);
    size_t len = strlen(name);
    if (len > 4 && strcmp(name + len - 4, ".lua") == 0)
        name[len - 4] = '\0';
    return name;
}

bool cli_source_open(struct cli_source *source, const char *command, const char *name, bool elsewhere)
{
    char *error = NULL;
    *source = (struct cli_source){.config = cli_load_config(&error)};
    if (source->config != NULL && cli_find_directory("scripts", source->config->scripts, "", &error))
        source->bundle = bundle_read(source->config->scripts, &error);
    if (source->bundle == NULL) {
        fprintf(stderr, "otad %s: %s\n", command, error);
        free(error);
        cli_source_close(source);
        return false;
    }
    source->shelf = shelf_of(source->bundle);
    source->source.libraries = source->shelf.libraries;
    source->source.library_count = source->shelf.library_count;
    if (is_path(name)) {
        source->name = name_of(name);
        source->source.name = source->name;
        if (cli_source_file(source, command, name))
            return true;
        cli_source_close(source);
        return false;
    }
    char *whole = x_printf("%s%s", folder, name);
    const struct bundle_file *file = bundle_find(source->bundle, whole);
    free(whole);
    if (file == NULL && elsewhere) {
        source->source.name = source->name = x_strdup(name);
        return true;
    }
    if (file == NULL || !shelf_policy(&source->shelf, file, &source->source)) {
        say_unknown(source, command, name);
        cli_source_close(source);
        return false;
    }
    source->name = x_strdup(name);
    source->path = x_strdup(file->path);
    return true;
}

void cli_source_close(struct cli_source *source)
{
    if (source->bundle != NULL) {
        shelf_free(&source->shelf);
        bundle_release(source->bundle);
    }
    config_free(source->config);
    free(source->name);
    free(source->path);
    free(source->text);
    *source = (struct cli_source){0};
}

void cli_source_text(struct cli_source *source, const char *text, const char *path)
{
    char *copy = x_strdup(text), *shown = x_strdup(path);
    free(source->text);
    free(source->path);
    source->text = copy;
    source->path = shown;
    source->source.source = (struct policy_text){copy, strlen(copy)};
}

bool cli_source_file(struct cli_source *source, const char *command, const char *path)
{
    FILE *file = fopen(path, "re");
    char *text = x_alloc(POLICY_LARGEST + 2); /* a byte more shows that it is larger */
    size_t len = file == NULL ? 0 : fread(text, 1, POLICY_LARGEST + 1, file);
    bool ok = file != NULL && !ferror(file) && strlen(text) == len;
    if (ok)
        cli_source_text(source, text, path);
    else
        fprintf(stderr, "otad %s: cannot read %s: %s\n", command, path,
                strlen(text) != len ? "it is no text" : strerror(errno));
    if (file != NULL)
        fclose(file);
    free(text);
    return ok;
}

void cli_source_line(const struct cli_source *source, int line, const char *before)
{
    const char *at = source->source.source.text, *end = at + source->source.source.len;
    for (; line > 1 && at != NULL && at < end; line--) {
        at = memchr(at, '\n', (size_t)(end - at));
        at = at == NULL ? end : at + 1;
    }
    size_t len = at < end ? strcspn(at, "\r\n") : 0, space = at < end ? strspn(at, " \t") : 0;
    if (line == 1 && len > space)
        printf("%s%.*s\n", before, (int)(len - space), at + space);
}

void cli_print_problems(const struct cli_source *source, const char *command, const char *answer, bool json)
{
    json_t *object = json_loads(answer, 0, NULL), *problem;
    size_t i;
    if (json)
        puts(answer);
    json_array_foreach(json_object_get(object, "problems"), i, problem)
    {
        const char *file = json_string_value(json_object_get(problem, "file")),
                   *message = json_string_value(json_object_get(problem, "message"));
        int line = (int)json_integer_value(json_object_get(problem, "line"));
        char *own = x_printf("scripts/policies/%s.lua", source->name);
        if (json || message == NULL)
            ; /* printed */
        else if (file == NULL || *file == '\0')
            fprintf(stderr, "otad %s: %s\n", command, message);
        else if (line > 0)
            fprintf(stderr, "%s:%d: %s\n", strcmp(file, own) == 0 ? source->path : file, line, message);
        else
            fprintf(stderr, "%s: %s\n", strcmp(file, own) == 0 ? source->path : file, message);
        free(own);
    }
    json_decref(object);
}
