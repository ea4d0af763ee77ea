/* Array literals for unnest(): one set-based statement instead of a thousand. Built once, used again. */
#pragma once
#include <stddef.h>
#include <stdint.h>

/* Zero-initialized is empty; text is NUL-terminated after pg_array_end(). */
struct pg_array {
    char *text;
    size_t len, room;
};

void pg_array_begin(struct pg_array *array); /* forgets what it held, keeps its memory */
void pg_array_end(struct pg_array *array);
void pg_array_free(struct pg_array *array);

void pg_array_null(struct pg_array *array);
void pg_array_int(struct pg_array *array, int64_t value);
void pg_array_time(struct pg_array *array, double seconds); /* Unix seconds, to the microsecond */
void pg_array_bool(struct pg_array *array, int value);
void pg_array_text(struct pg_array *array, const char *s, size_t len);

/* One element in pieces: open, any number of pieces, close. */
void pg_array_open(struct pg_array *array);
void pg_array_piece(struct pg_array *array, const char *s, size_t len);
void pg_array_close(struct pg_array *array);
