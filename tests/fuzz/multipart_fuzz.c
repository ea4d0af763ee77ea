/* multipart/form-data: the first line of the input is the Content-Type, the rest is the body. What is
 * accepted must point into the body, in order, and be found by its name. */
#include "net/multipart.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *checked_within(const char *base, size_t len, const char *from, const char *to)
{
    if (base < from || base > to || len > (size_t)(to - base))
        abort();
    return base + len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *line = memchr(data, '\n', size);
    if (!line)
        return 0;
    struct multipart_part parts[MULTIPART_PARTS_MAX];
    const char *error, *body = (const char *)line + 1, *end = (const char *)data + size;
    int count = multipart_parse((const char *)data, (size_t)(line - data), body, (size_t)(end - body), parts,
                                MULTIPART_PARTS_MAX, &error);
    if (count < 0 ? !error : count > MULTIPART_PARTS_MAX || error)
        abort();
    const char *at = body;
    for (int i = 0; i < count; i++) {
        const struct multipart_part *part = &parts[i];
        if (part->name.len == 0)
            abort();
        checked_within(part->name.base, part->name.len, at, part->data);
        if (part->filename.base)
            checked_within(part->filename.base, part->filename.len, at, part->data);
        if (part->content_type.base)
            checked_within(part->content_type.base, part->content_type.len, at, part->data);
        at = checked_within(part->data, part->len, at, end);
        char *name = strndup(part->name.base, part->name.len);
        if (multipart_find(parts, (size_t)count, name) != part)
            abort();
        free(name);
    }
    return 0;
}
