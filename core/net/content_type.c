#include "net/content_type.h"
#include <string.h>
#include <strings.h>

static bool is_token(unsigned char c)
{
    return c > ' ' && c < 0x7F && !strchr("()<>@,;:\\\"/[]?={}", c);
}

bool content_equals(struct content_text text, const char *word)
{
    return text.len == strlen(word) && strncasecmp(text.base, word, text.len) == 0;
}

bool content_take(struct content_cursor *in, const char *bytes, size_t len)
{
    if ((size_t)(in->end - in->at) < len || memcmp(in->at, bytes, len) != 0)
        return false;
    in->at += len;
    return true;
}

void content_skip_blanks(struct content_cursor *in)
{
    while (in->at < in->end && (*in->at == ' ' || *in->at == '\t'))
        in->at++;
}

struct content_text content_take_token(struct content_cursor *in)
{
    struct content_text token = {in->at, 0};
    while (in->at < in->end && is_token((unsigned char)*in->at))
        in->at++;
    token.len = (size_t)(in->at - token.base);
    return token;
}

/* What stands between quotes, escapes left in it. Only \" and \\ are escapes: browsers send a lone backslash
 * as it is. */
static bool take_quoted(struct content_cursor *in, struct content_text *out)
{
    if (!content_take(in, "\"", 1))
        return false;
    out->base = in->at;
    for (; in->at < in->end && *in->at != '"'; in->at++)
        if (*in->at == '\\' && in->end - in->at > 1 && (in->at[1] == '"' || in->at[1] == '\\'))
            in->at++;
    out->len = (size_t)(in->at - out->base);
    return content_take(in, "\"", 1);
}

int content_take_parameter(struct content_cursor *in, struct content_text *name, struct content_text *value)
{
    content_skip_blanks(in);
    if (in->at == in->end)
        return 0;
    if (!content_take(in, ";", 1))
        return -1;
    content_skip_blanks(in);
    *name = content_take_token(in);
    if (name->len == 0 || !content_take(in, "=", 1))
        return -1;
    if (in->at < in->end && *in->at == '"')
        return take_quoted(in, value) ? 1 : -1;
    *value = content_take_token(in);
    return value->len ? 1 : -1;
}

bool content_type_is(const char *header, size_t len, const char *type)
{
    size_t n = strlen(type);
    return len >= n && strncasecmp(header, type, n) == 0 &&
           (len == n || header[n] == ';' || header[n] == ' ' || header[n] == '\t');
}

bool content_type_is_json(const char *header, size_t len)
{
    static const char json[] = "application/json";
    if (!content_type_is(header, len, json))
        return false;
    struct content_cursor in = {header + sizeof(json) - 1, header + len};
    struct content_text name, value;
    int got;
    while (in.end > in.at && strchr("; \t", in.end[-1]) != NULL)
        in.end--; /* empty parameters are allowed */
    while ((got = content_take_parameter(&in, &name, &value)) == 1) {
        if (content_equals(name, "charset") && !content_equals(value, "utf-8"))
            return false;
    }
    return got == 0;
}
