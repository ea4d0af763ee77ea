#include "lua/problems.h"
#include "base/mem.h"
#include <stdlib.h>
#include <string.h>

enum { LONGEST = 500 }; /* bytes of a message: what it quotes may be all of a source */

/* On one line, and not longer than somebody reads. */
static char *mended(const char *message)
{
    size_t len = strlen(message), most = len > LONGEST ? LONGEST : len;
    while (most < len && most > 0 && ((unsigned char)message[most] & 0xc0) == 0x80)
        most--; /* whole characters */
    char *copy = most == len ? x_strdup(message) : x_printf("%.*s...", (int)most, message);
    for (char *c = copy; *c != '\0'; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = ' ';
    }
    return copy;
}

void problems_add(struct problems *problems, const char *file, int line, const char *message)
{
    problems->list = x_realloc(problems->list, (problems->count + 1) * sizeof(*problems->list));
    problems->list[problems->count++] =
        (struct problem){.file = x_strdup(file), .line = line, .message = x_strdup(message)};
}

void problems_add_copy(struct problems *problems, const struct problem *problem)
{
    problems_add(problems, problem->file, problem->line, problem->message);
    struct problem *added = &problems->list[problems->count - 1];
    added->column = problem->column;
    added->warning = problem->warning;
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

void problems_shorten(struct problems *problems, size_t first)
{
    for (size_t i = first; i < problems->count; i++) {
        char *message = mended(problems->list[i].message);
        free(problems->list[i].message);
        problems->list[i].message = message;
    }
}

void problems_copy(struct problems *into, const struct problems *from)
{
    for (size_t i = 0; i < from->count; i++)
        problems_add_copy(into, &from->list[i]);
}

static int by_place(const void *a, const void *b)
{
    const struct problem *first = a, *second = b;
    int order = strcmp(first->file, second->file);
    if (order == 0)
        order = (first->line > second->line) - (first->line < second->line);
    if (order == 0)
        order = first->warning - second->warning;
    return order == 0 ? strcmp(first->message, second->message) : order;
}

/* Sorted before: what another continues comes right before it. */
static bool says_the_same(const struct problem *first, const struct problem *second)
{
    return first->line == second->line && strcmp(first->file, second->file) == 0 &&
           strncmp(second->message, first->message, strlen(first->message)) == 0;
}

static void forget(struct problem *problem)
{
    free(problem->file);
    free(problem->message);
}

void problems_sort(struct problems *problems)
{
    size_t kept = 0;
    if (problems->count != 0)
        qsort(problems->list, problems->count, sizeof(*problems->list), by_place);
    for (size_t i = 0; i < problems->count; i++) {
        if (kept != 0 && says_the_same(&problems->list[kept - 1], &problems->list[i]))
            forget(&problems->list[--kept]);
        problems->list[kept++] = problems->list[i];
    }
    problems->count = kept;
}

size_t problems_errors(const struct problems *problems)
{
    size_t errors = 0;
    for (size_t i = 0; i < problems->count; i++)
        errors += !problems->list[i].warning;
    return errors;
}

void problems_put_json(const struct problems *problems, struct buffer *out)
{
    buffer_putc(out, '[');
    for (size_t i = 0; i < problems->count; i++) {
        const struct problem *problem = &problems->list[i];
        buffer_puts(out, i == 0 ? "{\"file\":" : ",{\"file\":");
        buffer_put_json(out, problem->file, strlen(problem->file));
        buffer_printf(out, ",\"line\":%d", problem->line);
        if (problem->column > 0)
            buffer_printf(out, ",\"column\":%d", problem->column);
        buffer_printf(out, ",\"severity\":\"%s\",\"message\":", problem->warning ? "warning" : "error");
        buffer_put_json(out, problem->message, strlen(problem->message));
        buffer_putc(out, '}');
    }
    buffer_putc(out, ']');
}

void problems_free(struct problems *problems)
{
    for (size_t i = 0; i < problems->count; i++)
        forget(&problems->list[i]);
    free(problems->list);
    *problems = (struct problems){0};
}
