/* What is wrong with scripts: file, line, message. Lists own their texts. */
#pragma once
#include <stddef.h>

struct problem {
    char *file; /* "scripts/routes/devices.lua", or "" */
    int line;   /* 0: not known */
    char *message;
};

struct problems {
    struct problem *list;
    size_t count;
};

void problems_add(struct problems *problems, const char *file, int line, const char *message);
/* Takes "FILE:LINE: MESSAGE", as Lua words it, apart. */
void problems_add_error(struct problems *problems, const char *file, const char *error);
void problems_copy(struct problems *into, const struct problems *from);
void problems_free(struct problems *problems);
