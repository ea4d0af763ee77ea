/* Logs: one JSON object a line on standard error, from any thread.
 *
 *   log_info("device offline", LOG_INT("device", id), LOG_STR("reason", why));
 *   {"at":"2026-01-02T03:04:05.678Z","level":"info","msg":"device offline","device":7,"reason":"will"}
 *
 * A line is written with one write(2) and is at most 4 KiB: longer values are cut. Strings need not be UTF-8
 * (bad bytes are escaped). Never pass a password, token or key. */
#pragma once
#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR, LOG_FATAL };

struct log_field {
    const char *name; /* NULL ends the list */
    enum { LOG_FIELD_STR, LOG_FIELD_INT, LOG_FIELD_NUM } kind;
    const char *str;
    size_t len;
    int64_t integer;
    double number;
};

#define LOG_STR(n, s) ((struct log_field){.name = (n), .kind = LOG_FIELD_STR, .str = (s), .len = (size_t)-1})
#define LOG_STRN(n, s, l) ((struct log_field){.name = (n), .kind = LOG_FIELD_STR, .str = (s), .len = (l)})
#define LOG_INT(n, i) ((struct log_field){.name = (n), .kind = LOG_FIELD_INT, .integer = (int64_t)(i)})
#define LOG_NUM(n, d) ((struct log_field){.name = (n), .kind = LOG_FIELD_NUM, .number = (d)})

void log_set_level(enum log_level least);
int log_level_parse(const char *name); /* -1: unknown */
void log_write(enum log_level level, const char *msg, const struct log_field *fields);

#define log_at(level, msg, ...)                                                                              \
    log_write(level, msg, (const struct log_field[]){__VA_ARGS__ __VA_OPT__(, ){0}})
#define log_debug(...) log_at(LOG_DEBUG, __VA_ARGS__)
#define log_info(...) log_at(LOG_INFO, __VA_ARGS__)
#define log_warn(...) log_at(LOG_WARN, __VA_ARGS__)
#define log_error(...) log_at(LOG_ERROR, __VA_ARGS__)
#define log_fatal(...) log_at(LOG_FATAL, __VA_ARGS__)
