/* What is wrong with scripts: file, line, message. Lists own their texts. */
#pragma once
#include "base/buffer.h"
#include <stdbool.h>
#include <stddef.h>

struct problem {
    char *file; /* "scripts/routes/devices.lua", or "" */
    int line;   /* 0: not known */
    char *message;
    int column;   /* in characters, from 1; 0: not known */
    bool warning; /* scripts load nevertheless */
};

struct problems {
    struct problem *list;
    size_t count;
};

void problems_add(struct problems *problems, const char *file, int line, const char *message);
/* Takes "FILE:LINE: MESSAGE", as Lua words it, apart. */
void problems_add_error(struct problems *problems, const char *file, const char *error);
/* Copies the texts. */
void problems_add_copy(struct problems *problems, const struct problem *problem);
/* Makes messages from `first` on single lines of 500 bytes at most: what they quote may be all of a source.
 */
void problems_shorten(struct problems *problems, size_t first);
void problems_copy(struct problems *into, const struct problems *from);
/* By file and line; of two that say the same of a line, one in more words, the longer stays. */
void problems_sort(struct problems *problems);
size_t problems_errors(const struct problems *problems); /* without warnings */
/* Appends [{"file", "line", "column"?, "severity", "message"}]. */
void problems_put_json(const struct problems *problems, struct buffer *out);
void problems_free(struct problems *problems);
