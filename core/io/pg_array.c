/* Owned by whoever embeds it; no thread of its own. The comma stands behind each element, the last one is
 * overwritten by the closing brace. */
#include "io/pg_array.h"
#include "base/mem.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *grow(struct pg_array *array, size_t more)
{
    if (array->len + more > array->room) {
        array->room = (array->len + more) * 2;
        array->text = x_realloc(array->text, array->room);
    }
    return array->text + array->len;
}

static void put(struct pg_array *array, const char *s, size_t len)
{
    memcpy(grow(array, len), s, len);
    array->len += len;
}

void pg_array_begin(struct pg_array *array)
{
    array->len = 0;
    put(array, "{", 1);
}

void pg_array_end(struct pg_array *array)
{
    if (array->len > 1)
        array->len--;
    put(array, "}", 2);
    array->len--;
}

void pg_array_free(struct pg_array *array)
{
    free(array->text);
    *array = (struct pg_array){0};
}

void pg_array_null(struct pg_array *array)
{
    put(array, "NULL,", 5);
}

void pg_array_int(struct pg_array *array, int64_t value)
{
    char text[24];
    put(array, text, (size_t)snprintf(text, sizeof(text), "%lld,", (long long)value));
}

void pg_array_time(struct pg_array *array, double seconds)
{
    char text[40];
    put(array, text, (size_t)snprintf(text, sizeof(text), "%.6f,", seconds));
}

void pg_array_bool(struct pg_array *array, int value)
{
    put(array, value ? "t," : "f,", 2);
}

void pg_array_open(struct pg_array *array)
{
    put(array, "\"", 1);
}

void pg_array_piece(struct pg_array *array, const char *s, size_t len)
{
    char *out = grow(array, 2 * len);
    for (const char *end = s + len; s < end; s++) {
        if (*s == '"' || *s == '\\')
            *out++ = '\\';
        *out++ = *s;
    }
    array->len = (size_t)(out - array->text);
}

void pg_array_close(struct pg_array *array)
{
    put(array, "\",", 2);
}

void pg_array_text(struct pg_array *array, const char *s, size_t len)
{
    pg_array_open(array);
    pg_array_piece(array, s, len);
    pg_array_close(array);
}
