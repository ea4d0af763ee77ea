/* Content-Type (RFC 9110, 8.3), and the reading of tokens and parameters that it shares with the headers of
 * multipart bodies. Pure functions, any thread; texts point into what was given. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

/* Whether it is this type, whatever its case and parameters. `type` is in lower case. */
bool content_type_is(const char *header, size_t len, const char *type);
/* application/json, in UTF-8 where it names a charset: JSON in another is none (RFC 8259, 8.1). */
bool content_type_is_json(const char *header, size_t len);

struct content_text {
    const char *base; /* NULL: there was none; not NUL-terminated */
    size_t len;
};
/* What is still to be read of a body, a header line or a header value. */
struct content_cursor {
    const char *at, *end;
};

bool content_equals(struct content_text text, const char *word); /* whatever its case */
void content_skip_blanks(struct content_cursor *in);
/* False: these bytes do not come next, and nothing was read. */
bool content_take(struct content_cursor *in, const char *bytes, size_t len);
struct content_text content_take_token(struct content_cursor *in); /* empty: none */
/* Reads `; name=value`. 1: read; 0: nothing is left; -1: malformed. Of a value in quotes the escapes stay in
 * it: only \" and \\, since browsers send a lone backslash as it is. */
int content_take_parameter(struct content_cursor *in, struct content_text *name, struct content_text *value);
