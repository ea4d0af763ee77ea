/* Memory that cannot run out: these abort instead of returning NULL. Inside a capped Lua state memory does
 * run out; that is Lua's own allocator (lua/generation.c), never these. */
#pragma once
#include <stddef.h>

void *x_alloc(size_t size);            /* zeroed; owner frees with free() */
void *x_realloc(void *p, size_t size); /* grown part is not zeroed */
char *x_strdup(const char *s);
char *x_memdup(const void *p, size_t len); /* NUL-terminated copy of len bytes */
char *x_printf(const char *format, ...) __attribute__((format(printf, 1, 2)));

#define x_new(type) ((type *)x_alloc(sizeof(type)))
