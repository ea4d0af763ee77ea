/* multipart/form-data bodies (RFC 7578, RFC 2046) that are wholly in memory: a strict parser of foreign bytes
 * that copies nothing. Pure function, any thread; the parts point into the body and live as long as it does.
 *
 * Strict: the body starts with its first delimiter (a CRLF may precede it) and ends with the closing one (a
 * CRLF may follow); each part has exactly one Content-Disposition, form-data with a name; no two parts have
 * the same name; header lines are neither folded nor longer than the bounds below. Content-Transfer-Encoding
 * may only say that there is none (binary, 8bit, 7bit). */
#pragma once
#include "net/content_type.h"
#include <stdbool.h>
#include <stddef.h>

#define MULTIPART_PARTS_MAX 16
#define MULTIPART_FRAME (64 * 1024) /* bytes that a form may have around its file */
#define MULTIPART_HEADER_MAX 4096   /* bytes of all header lines of one part */

struct multipart_part {
    struct content_text name; /* at least one byte */
    /* As sent, between the quotes: \" and \\ are still escaped, browsers write %22 for a quote. It is what
     * somebody claims: never a path, and to be escaped where it is shown. */
    struct content_text filename;
    struct content_text content_type;
    const char *data;
    size_t len;
};

/* content_type: the request's header value, with its boundary. Fills at most `max` parts (and never more than
 * MULTIPART_PARTS_MAX) and returns their number, 0 for an empty form. -1: not acceptable, *error says why
 * (constant text, fit for the client). */
int multipart_parse(const char *content_type, size_t content_type_len, const char *body, size_t body_len,
                    struct multipart_part *parts, size_t max, const char **error)
    __attribute__((warn_unused_result));

/* The part of that name, or NULL. */
const struct multipart_part *multipart_find(const struct multipart_part *parts, size_t count,
                                            const char *name);
