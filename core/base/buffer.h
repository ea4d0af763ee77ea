/* A growing run of bytes. Owner frees; never NUL-terminated unless asked for. */
#pragma once
#include <stddef.h>

struct buffer {
    char *data;
    size_t len, room;
};

void buffer_put(struct buffer *buffer, const void *data, size_t len);
void buffer_puts(struct buffer *buffer, const char *text);
void buffer_printf(struct buffer *buffer, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A JSON string, quoted; what is not UTF-8 in the text becomes U+FFFD. */
void buffer_put_json(struct buffer *buffer, const char *text, size_t len);
char *buffer_text(struct buffer *buffer); /* NUL-terminated view; the buffer keeps owning it */
void buffer_free(struct buffer *buffer);  /* may be used again */

static inline void buffer_putc(struct buffer *buffer, char c)
{
    if (buffer->len < buffer->room)
        buffer->data[buffer->len++] = c;
    else
        buffer_put(buffer, &c, 1);
}
