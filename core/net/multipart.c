#include "net/multipart.h"
#include <string.h>
#include <strings.h>

static bool is_boundary(unsigned char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           (c && strchr("'()+_,-./:=? ", c));
}

/* The delimiter, "\r\n--" and the boundary, into out; its length, or 0 and *error. */
static size_t make_delimiter(struct content_cursor type, char out[4 + 70], const char **error)
{
    static const char media[] = "multipart/form-data";
    struct content_text name, value, boundary = {NULL, 0};
    int got;
    *error = "The content type is not multipart/form-data.";
    content_skip_blanks(&type);
    if ((size_t)(type.end - type.at) < sizeof(media) - 1 ||
        strncasecmp(type.at, media, sizeof(media) - 1) != 0)
        return 0;
    type.at += sizeof(media) - 1;
    while ((got = content_take_parameter(&type, &name, &value)) == 1) {
        if (!content_equals(name, "boundary"))
            continue;
        *error = "The content type has two boundaries.";
        if (boundary.base)
            return 0;
        boundary = value;
    }
    *error = "The content type is malformed.";
    if (got < 0)
        return 0;
    *error = "The content type has no boundary of 1 to 70 legal characters.";
    if (boundary.len < 1 || boundary.len > 70 || boundary.base[boundary.len - 1] == ' ')
        return 0;
    for (size_t i = 0; i < boundary.len; i++)
        if (!is_boundary((unsigned char)boundary.base[i]))
            return 0;
    memcpy(out, "\r\n--", 4);
    memcpy(out + 4, boundary.base, boundary.len);
    return 4 + boundary.len;
}

static const char *read_disposition(struct content_cursor in, struct multipart_part *part)
{
    struct content_text name, value;
    int got;
    if (part->name.base)
        return "A part has two Content-Disposition headers.";
    if (!content_equals(content_take_token(&in), "form-data"))
        return "A part is not form-data.";
    while ((got = content_take_parameter(&in, &name, &value)) == 1) {
        struct content_text *to = content_equals(name, "name")       ? &part->name
                                  : content_equals(name, "filename") ? &part->filename
                                                                     : NULL;
        if (to && to->base)
            return "A part has two names.";
        if (to)
            *to = value;
    }
    if (got < 0)
        return "A Content-Disposition header is malformed.";
    return part->name.len ? NULL : "A part has no name.";
}

static const char *read_header(struct content_cursor line, struct multipart_part *part)
{
    for (const char *c = line.at; c < line.end; c++)
        if (((unsigned char)*c < ' ' && *c != '\t') || *c == 0x7F)
            return "A part's header has a control character.";
    struct content_text name = content_take_token(&line);
    if (name.len == 0 || !content_take(&line, ":", 1))
        return "A part's header is malformed.";
    content_skip_blanks(&line);
    while (line.end > line.at && (line.end[-1] == ' ' || line.end[-1] == '\t'))
        line.end--;
    struct content_text value = {line.at, (size_t)(line.end - line.at)};
    if (content_equals(name, "Content-Disposition"))
        return read_disposition(line, part);
    if (content_equals(name, "Content-Type")) {
        if (part->content_type.base)
            return "A part has two Content-Type headers.";
        part->content_type = value;
    }
    if (content_equals(name, "Content-Transfer-Encoding") && !content_equals(value, "binary") &&
        !content_equals(value, "8bit") && !content_equals(value, "7bit"))
        return "A part has a Content-Transfer-Encoding.";
    return NULL;
}

/* From behind a delimiter's CRLF to behind the empty line. */
static const char *read_headers(struct content_cursor *in, struct multipart_part *part)
{
    const char *start = in->at, *why = NULL;
    while (!why && !content_take(in, "\r\n", 2)) {
        size_t left = MULTIPART_HEADER_MAX - (size_t)(in->at - start), have = (size_t)(in->end - in->at);
        const char *stop = memmem(in->at, have < left ? have : left, "\r\n", 2);
        if (!stop)
            return have < left ? "A part ends within its headers." : "A part's headers are too long.";
        why = read_header((struct content_cursor){in->at, stop}, part);
        in->at = stop + 2;
    }
    return why ? why : part->name.base ? NULL : "A part has no Content-Disposition header.";
}

int multipart_parse(const char *content_type, size_t content_type_len, const char *body, size_t body_len,
                    struct multipart_part *parts, size_t max, const char **error)
{
    char delimiter[4 + 70];
    size_t delimiter_len =
        make_delimiter((struct content_cursor){content_type, content_type + content_type_len}, delimiter,
                       error);
    if (!delimiter_len)
        return -1;
    struct content_cursor in = {body, body + body_len};
    content_take(&in, "\r\n", 2);
    *error = "The body does not start with its boundary.";
    if (!content_take(&in, delimiter + 2, delimiter_len - 2))
        return -1;
    size_t count = 0;
    while (!content_take(&in, "--", 2)) {
        content_skip_blanks(&in);
        *error = "A boundary is followed by something else than a line's end.";
        if (!content_take(&in, "\r\n", 2))
            return -1;
        *error = "There are too many parts.";
        if (count == max || count == MULTIPART_PARTS_MAX)
            return -1;
        struct multipart_part *part = &parts[count];
        memset(part, 0, sizeof(*part));
        *error = read_headers(&in, part);
        if (*error)
            return -1;
        *error = "Two parts have the same name.";
        for (size_t i = 0; i < count; i++)
            if (parts[i].name.len == part->name.len &&
                memcmp(parts[i].name.base, part->name.base, part->name.len) == 0)
                return -1;
        const char *stop = memmem(in.at, (size_t)(in.end - in.at), delimiter, delimiter_len);
        *error = "The closing boundary is missing.";
        if (!stop)
            return -1;
        part->data = in.at;
        part->len = (size_t)(stop - in.at);
        in.at = stop + delimiter_len;
        count++;
    }
    content_skip_blanks(&in);
    content_take(&in, "\r\n", 2);
    *error = "Something follows the closing boundary.";
    if (in.at != in.end)
        return -1;
    *error = NULL;
    return (int)count;
}

const struct multipart_part *multipart_find(const struct multipart_part *parts, size_t count,
                                            const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (parts[i].name.len == strlen(name) && memcmp(parts[i].name.base, name, parts[i].name.len) == 0)
            return &parts[i];
    return NULL;
}
