#include "base/log.h"
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    LINE_MAX_BYTES = 4096,
    TAIL = 16, /* kept for a closing quote, brace and newline */
    LONGEST_NAME = 64,
    ONE_FIELD = 512 /* more than a name, all escaped, and a number take */
};

static const char *const level_names[] = {"debug", "info", "warn", "error", "fatal"};
static enum log_level least_level = LOG_INFO; /* set once, before threads start */

struct line {
    char text[LINE_MAX_BYTES];
    size_t len;
};

static void put(struct line *line, const char *text, size_t len)
{
    if (line->len + len <= LINE_MAX_BYTES - TAIL) {
        memcpy(line->text + line->len, text, len);
        line->len += len;
    }
}

static void put_quoted(struct line *line, const char *s, size_t len)
{
    put(line, "\"", 1);
    for (size_t i = 0; i < len && line->len < LINE_MAX_BYTES - TAIL - 8; i++) {
        unsigned char c = (unsigned char)s[i];
        char escape[8];
        if (c == '"' || c == '\\') {
            escape[0] = '\\';
            escape[1] = (char)c;
            put(line, escape, 2);
        } else if (c < 0x20 || c >= 0x7f) {
            /* Bytes beyond ASCII are escaped one by one: a line stays valid whatever was logged. */
            snprintf(escape, sizeof(escape), "\\u%04x", c);
            put(line, escape, 6);
        } else {
            put(line, (const char *)&s[i], 1);
        }
    }
    line->text[line->len++] = '"'; /* TAIL keeps room */
}

void log_set_level(enum log_level least)
{
    least_level = least;
}

int log_level_parse(const char *name)
{
    for (int i = LOG_DEBUG; i <= LOG_FATAL; i++) {
        if (strcmp(name, level_names[i]) == 0)
            return i;
    }
    return -1;
}

void log_write(enum log_level level, const char *msg, const struct log_field *fields)
{
    if (level < least_level)
        return;

    int saved = errno; /* callers log first and judge it then */
    struct line line = {.len = 0};
    struct timespec now;
    struct tm utc;
    char head[64];
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    size_t n = strftime(head, sizeof(head), "{\"at\":\"%Y-%m-%dT%H:%M:%S", &utc);
    n += (size_t)snprintf(head + n, sizeof(head) - n, ".%03ldZ\",\"level\":", now.tv_nsec / 1000000);
    put(&line, head, n);
    put_quoted(&line, level_names[level], strlen(level_names[level]));
    put(&line, ",\"msg\":", 7);
    put_quoted(&line, msg, strlen(msg));

    for (const struct log_field *f = fields; f->name != NULL; f++) {
        if (line.len > LINE_MAX_BYTES - ONE_FIELD)
            break;
        char number[40];
        put(&line, ",", 1);
        put_quoted(&line, f->name, strnlen(f->name, LONGEST_NAME));
        put(&line, ":", 1);
        if (f->kind == LOG_FIELD_STR && f->str != NULL)
            put_quoted(&line, f->str, f->len == (size_t)-1 ? strlen(f->str) : f->len);
        else if (f->kind == LOG_FIELD_INT)
            put(&line, number, (size_t)snprintf(number, sizeof(number), "%lld", (long long)f->integer));
        else if (f->kind == LOG_FIELD_NUM && isfinite(f->number))
            put(&line, number, (size_t)snprintf(number, sizeof(number), "%.6g", f->number));
        else
            put(&line, "null", 4);
    }
    memcpy(line.text + line.len, "}\n", 2);
    line.len += 2;
    (void)!write(STDERR_FILENO, line.text, line.len); /* failed: nowhere left to say so */
    errno = saved;
}
