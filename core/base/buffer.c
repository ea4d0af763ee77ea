#include "base/buffer.h"
#include "base/flatjson.h"
#include "base/mem.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void reserve(struct buffer *buffer, size_t more)
{
    if (buffer->room - buffer->len >= more)
        return;
    size_t room = buffer->room == 0 ? 256 : buffer->room;
    while (room - buffer->len < more)
        room *= 2;
    buffer->data = x_realloc(buffer->data, room);
    buffer->room = room;
}

void buffer_put(struct buffer *buffer, const void *data, size_t len)
{
    if (len == 0)
        return;
    reserve(buffer, len);
    memcpy(buffer->data + buffer->len, data, len);
    buffer->len += len;
}

void buffer_puts(struct buffer *buffer, const char *text)
{
    buffer_put(buffer, text, strlen(text));
}

void buffer_printf(struct buffer *buffer, const char *format, ...)
{
    va_list args;
    reserve(buffer, 128);
    for (;;) {
        size_t room = buffer->room - buffer->len;
        va_start(args, format);
        int n = vsnprintf(buffer->data + buffer->len, room, format, args);
        va_end(args);
        if (n < 0)
            abort();
        if ((size_t)n < room) {
            buffer->len += (size_t)n;
            return;
        }
        reserve(buffer, (size_t)n + 1);
    }
}

void buffer_put_json(struct buffer *buffer, const char *text, size_t len)
{
    static const char hex[] = "0123456789abcdef";
    size_t plain = 0; /* start of what needs no escape */
    buffer_putc(buffer, '"');
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        size_t sequence = c < 0x80 ? 0 : flatjson_sequence(text + i, len - i);
        if (sequence > 0) {
            i += sequence - 1;
            continue;
        }
        if (c >= 0x20 && c < 0x7f && c != '"' && c != '\\')
            continue;
        buffer_put(buffer, text + plain, i - plain);
        plain = i + 1;
        if (c == '"' || c == '\\') {
            buffer_putc(buffer, '\\');
            buffer_putc(buffer, (char)c);
        } else if (c == '\n') {
            buffer_put(buffer, "\\n", 2);
        } else if (c >= 0x80) {
            buffer_put(buffer, "\\ufffd", 6);
        } else {
            char escape[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
            buffer_put(buffer, escape, 6);
        }
    }
    buffer_put(buffer, text + plain, len - plain);
    buffer_putc(buffer, '"');
}

char *buffer_text(struct buffer *buffer)
{
    reserve(buffer, 1);
    buffer->data[buffer->len] = '\0';
    return buffer->data;
}

void buffer_free(struct buffer *buffer)
{
    free(buffer->data);
    *buffer = (struct buffer){0};
}
