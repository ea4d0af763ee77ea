#include "base/mem.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *checked(void *p)
{
    if (p == NULL) {
        fputs("{\"level\":\"fatal\",\"msg\":\"out of memory\"}\n", stderr);
        abort();
    }
    return p;
}

void *x_alloc(size_t size)
{
    return checked(calloc(1, size == 0 ? 1 : size));
}

void *x_realloc(void *p, size_t size)
{
    return checked(realloc(p, size == 0 ? 1 : size));
}

char *x_strdup(const char *s)
{
    return checked(strdup(s));
}

char *x_memdup(const void *p, size_t len)
{
    char *copy = checked(malloc(len + 1));
    if (len != 0)
        memcpy(copy, p, len);
    copy[len] = '\0';
    return copy;
}

char *x_printf(const char *format, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, format);
    if (vasprintf(&text, format, args) < 0)
        text = NULL;
    va_end(args);
    return checked(text);
}
