#include "policy/lines.h"
#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { LONGEST_PATH = 256, DEEPEST = 16 };

struct frame {
    size_t path_len; /* of the table's own path */
    int commas, named;
    int block; /* depth of functions and statements where it was opened */
};

struct scan {
    const char *at, *end, *wanted;
    int line, found, last_return;
    char path[LONGEST_PATH];
    struct frame frames[DEEPEST];
    int depth, block; /* tables open; functions and statements open */
    char name[64];    /* of the field whose value comes next; "": none */
};

/* At a `[`: how many bytes the opening of a long bracket takes; 0: none. */
static size_t long_bracket(const char *at, const char *end)
{
    const char *p = at + 1;
    while (p < end && *p == '=')
        p++;
    return p < end && *p == '[' ? (size_t)(p + 1 - at) : 0;
}

static void skip_to(struct scan *scan, const char *to)
{
    for (; scan->at < to && scan->at < scan->end; scan->at++)
        scan->line += *scan->at == '\n';
}

static void skip_long(struct scan *scan, size_t opening)
{
    const char *p = scan->at + opening;
    for (; p < scan->end; p++) {
        if (*p != ']')
            continue;
        const char *q = p + 1;
        while (q < scan->end && *q == '=')
            q++;
        if (q < scan->end && *q == ']' && (size_t)(q + 1 - p) == opening) {
            p = q + 1;
            break;
        }
    }
    skip_to(scan, p);
}

static void skip_comment(struct scan *scan)
{
    scan->at += 2;
    size_t opening = scan->at < scan->end && *scan->at == '[' ? long_bracket(scan->at, scan->end) : 0;
    if (opening != 0) {
        skip_long(scan, opening);
        return;
    }
    while (scan->at < scan->end && *scan->at != '\n')
        scan->at++;
}

static void skip_text(struct scan *scan)
{
    const char *p = scan->at + 1;
    while (p < scan->end && *p != *scan->at && *p != '\n')
        p += *p == '\\' && p + 1 < scan->end ? 2 : 1;
    skip_to(scan, p + 1);
}

/* Whether a single `=` comes next on this side of anything else. */
static bool assigns(const struct scan *scan)
{
    const char *p = scan->at;
    while (p < scan->end && isspace((unsigned char)*p))
        p++;
    return p < scan->end && *p == '=' && !(p + 1 < scan->end && p[1] == '=');
}

static bool is_word(const char *at, size_t len, const char *word)
{
    return strlen(word) == len && memcmp(at, word, len) == 0;
}

static size_t here(const struct scan *scan)
{
    return scan->depth == 0 ? 0 : scan->frames[scan->depth - 1].path_len;
}

static void take_name(struct scan *scan, const char *name, size_t len)
{
    struct frame *frame = scan->depth == 0 ? NULL : &scan->frames[scan->depth - 1];
    if (!assigns(scan) || (frame != NULL && frame->block != scan->block))
        return;
    snprintf(scan->name, sizeof(scan->name), "%.*s", (int)len, name);
    if (frame == NULL)
        return;
    frame->named++;
    int n = snprintf(scan->path + frame->path_len, sizeof(scan->path) - frame->path_len, "%s%s",
                     frame->path_len == 0 ? "" : ".", scan->name);
    if (n > 0 && scan->found == 0 && strcmp(scan->path, scan->wanted) == 0)
        scan->found = scan->line;
    scan->path[frame->path_len] = '\0';
}

static void take_identifier(struct scan *scan)
{
    static const char *const opening[] = {"function", "do", "if", "repeat"};
    const char *start = scan->at;
    while (scan->at < scan->end && (isalnum((unsigned char)*scan->at) || *scan->at == '_'))
        scan->at++;
    size_t len = (size_t)(scan->at - start);
    for (size_t i = 0; i < sizeof(opening) / sizeof(opening[0]); i++) {
        if (is_word(start, len, opening[i])) {
            scan->block++;
            return;
        }
    }
    if (is_word(start, len, "end") || is_word(start, len, "until")) {
        scan->block--;
    } else if (is_word(start, len, "return") && scan->block == 0) {
        scan->last_return = scan->line;
        *scan->name = '\0'; /* of a local before, which was no table */
    } else {
        take_name(scan, start, len);
    }
}

static void open_table(struct scan *scan)
{
    char name[80] = "";
    size_t len = here(scan);
    if (*scan->name != '\0') {
        snprintf(name, sizeof(name), "%s", scan->name);
    } else if (scan->depth > 0) {
        const struct frame *frame = &scan->frames[scan->depth - 1];
        snprintf(name, sizeof(name), "%d", frame->commas - frame->named + 1);
    }
    int n = *name == '\0'
                ? 0
                : snprintf(scan->path + len, sizeof(scan->path) - len, "%s%s", len == 0 ? "" : ".", name);
    if (scan->depth == DEEPEST || n < 0 || len + (size_t)n >= sizeof(scan->path)) {
        scan->at = scan->end; /* nobody writes declarations like this */
        return;
    }
    scan->frames[scan->depth++] = (struct frame){.path_len = len + (size_t)n, .block = scan->block};
    *scan->name = '\0';
    if (scan->found == 0 && *scan->path != '\0' && strcmp(scan->path, scan->wanted) == 0)
        scan->found = scan->line;
}

static void take_sign(struct scan *scan)
{
    char sign = *scan->at;
    struct frame *frame = scan->depth == 0 ? NULL : &scan->frames[scan->depth - 1];
    bool mine = frame != NULL && frame->block == scan->block;
    if (sign == '{') {
        open_table(scan);
    } else if (sign == '}' && frame != NULL) {
        scan->depth--;
        scan->path[here(scan)] = '\0';
        *scan->name = '\0';
    } else if ((sign == ',' || sign == ';') && mine) {
        frame->commas++;
        *scan->name = '\0';
    }
    if (scan->at < scan->end) {
        scan->line += sign == '\n';
        scan->at++;
    }
}

static void run(struct scan *scan)
{
    while (scan->at < scan->end) {
        unsigned char c = (unsigned char)*scan->at;
        size_t opening = c == '[' ? long_bracket(scan->at, scan->end) : 0;
        if (c == '-' && scan->at + 1 < scan->end && scan->at[1] == '-')
            skip_comment(scan);
        else if (c == '"' || c == '\'')
            skip_text(scan);
        else if (opening != 0)
            skip_long(scan, opening);
        else if (isalpha(c) || c == '_')
            take_identifier(scan);
        else
            take_sign(scan);
    }
}

int lines_find(const char *source, size_t len, const char *path)
{
    char wanted[LONGEST_PATH];
    snprintf(wanted, sizeof(wanted), "%s", path);
    for (;;) {
        struct scan scan = {.at = source, .end = source + len, .wanted = wanted, .line = 1};
        run(&scan);
        if (scan.found != 0 || *wanted == '\0')
            return scan.found != 0 ? scan.found : scan.last_return;
        char *dot = strrchr(wanted, '.');
        *(dot == NULL ? wanted : dot) = '\0';
    }
}
