#include "options.h"
#include "base/mem.h"
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PASSWORD_MIN = 16, PASSWORD_MAX = 1024 };

/* A text option has no `most`. */
static const struct known {
    const char *name;
    size_t offset;
    int64_t fallback, least, most;
} known[] = {
    {"database_url", offsetof(struct options, database_url), 0, 0, 0},
    {"redis_url", offsetof(struct options, redis_url), 0, 0, 0},
    {"server_password_file", offsetof(struct options, server_password_file), 0, 0, 0},
    {"database_timeout", offsetof(struct options, database_timeout), 1000, 10, 10000},
    {"redis_timeout", offsetof(struct options, redis_timeout), 100, 1, 1000},
    {"redis_ttl", offsetof(struct options, redis_ttl), 60, 1, 3600},
    {"cache_size", offsetof(struct options, cache_size), 65536, 4, 1 << 22},
    {"cache_ttl", offsetof(struct options, cache_ttl), 300, 1, 86400},
    {"refused_size", offsetof(struct options, refused_size), 4096, 4, 1 << 20},
    {"refused_ttl", offsetof(struct options, refused_ttl), 5, 1, 60},
    {"recheck_interval", offsetof(struct options, recheck_interval), 2000, 100, 60000},
};
enum { KNOWN = sizeof(known) / sizeof(known[0]) };

static char **text_of(struct options *options, const struct known *k)
{
    return (char **)((char *)options + k->offset);
}

static int64_t *number_of(struct options *options, const struct known *k)
{
    return (int64_t *)((char *)options + k->offset);
}

static bool set(struct options *options, const char *name, const char *value, char *error, size_t error_size)
{
    for (size_t i = 0; i < KNOWN; i++) {
        const struct known *k = &known[i];
        if (strcmp(k->name, name) != 0)
            continue;
        if (k->most == 0) {
            free(*text_of(options, k));
            *text_of(options, k) = x_strdup(value);
            return true;
        }
        char *end;
        errno = 0;
        long long n = strtoll(value, &end, 10);
        if (errno != 0 || end == value || *end != '\0' || n < k->least || n > k->most) {
            snprintf(error, error_size, "plugin_opt_%s must be a number from %lld to %lld", name,
                     (long long)k->least, (long long)k->most);
            return false;
        }
        *number_of(options, k) = n;
        return true;
    }
    snprintf(error, error_size, "unknown option plugin_opt_%.60s", name);
    return false;
}

struct options *options_new(const struct mosquitto_opt *given, int count, char *error, size_t error_size)
{
    struct options *options = x_new(struct options);
    for (size_t i = 0; i < KNOWN; i++) {
        if (known[i].most != 0)
            *number_of(options, &known[i]) = known[i].fallback;
    }
    for (int i = 0; i < count; i++) {
        if (!set(options, given[i].key, given[i].value, error, error_size))
            goto wrong;
    }
    if (options->database_url == NULL || options->server_password_file == NULL) {
        snprintf(error, error_size,
                 "plugin_opt_database_url and plugin_opt_server_password_file are required");
        goto wrong;
    }
    return options;

wrong:
    options_free(options);
    return NULL;
}

void options_free(struct options *options)
{
    if (options == NULL)
        return;
    for (size_t i = 0; i < KNOWN; i++) {
        if (known[i].most == 0)
            free(*text_of(options, &known[i]));
    }
    free(options);
}

bool options_server_hash(const struct options *options, uint8_t hash[32], char *error, size_t error_size)
{
    char text[PASSWORD_MAX];
    const char *why = NULL;
    struct stat about;
    size_t len = 0;
    ssize_t n = 0;

    int fd = open(options->server_password_file, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &about) != 0) {
        why = strerror(errno);
    } else if ((about.st_mode & 07) != 0) {
        why = "it must not be readable by others (chmod o= it)";
    } else {
        while (len < sizeof(text) && (n = read(fd, text + len, sizeof(text) - len)) > 0)
            len += (size_t)n;
        if (n < 0)
            why = strerror(errno);
    }
    if (fd >= 0)
        close(fd);
    if (why == NULL) {
        const char *end = memchr(text, '\n', len);
        if (end != NULL)
            len = (size_t)(end - text);
        if (len < PASSWORD_MIN || len == sizeof(text))
            why = "its first line must have 16 to 1023 characters";
        else
            crypto_hash_sha256(hash, (const unsigned char *)text, len);
    }
    sodium_memzero(text, sizeof(text));
    if (why != NULL)
        snprintf(error, error_size, "server_password_file %s: %s", options->server_password_file, why);
    return why == NULL;
}
