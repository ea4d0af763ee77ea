#include "lua/problems.h"
#include "base/mem.h"
#include <stdlib.h>
#include <string.h>

void problems_add(struct problems *problems, const char *file, int line, const char *message)
{
    problems->list = x_realloc(problems->list, (problems->count + 1) * sizeof(*problems->list));
    problems->list[problems->count++] = (struct problem){x_strdup(file), line, x_strdup(message)};
}

void problems_add_error(struct problems *problems, const char *file, const char *error)
{
    const char *colon = strchr(error, ':');
    char *end;
    if (colon != NULL) {
        long line = strtol(colon + 1, &end, 10);
        if (end > colon + 1 && *end == ':' && end[1] == ' ') {
            char *name = x_memdup(error, (size_t)(colon - error));
            problems_add(problems, name, (int)line, end + 2);
            free(name);
            return;
        }
    }
    problems_add(problems, file, 0, error);
}

void problems_copy(struct problems *into, const struct problems *from)
{
    for (size_t i = 0; i < from->count; i++)
        problems_add(into, from->list[i].file, from->list[i].line, from->list[i].message);
}

void problems_free(struct problems *problems)
{
    for (size_t i = 0; i < problems->count; i++) {
        free(problems->list[i].file);
        free(problems->list[i].message);
    }
    free(problems->list);
    *problems = (struct problems){0};
}
