#include "shared.h"
#include "base/mem.h"
#include "base/url.h"
#include "report.h"
#include <hiredis/hiredis.h>
#include <mosquitto.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum {
    PAUSE_FIRST_MS = 1000,
    PAUSE_MOST_MS = 30000,
    MARGIN_MS = 5000,
    REVOKE_MS = 500, /* that revocations may take between two ticks */
    HEX_BYTES = 2 * HASH_BYTES
};

struct shared {
    char *host; /* a name, or a socket's path if port is 0; NULL: no Redis */
    char *user, *password;
    int port, database, timeout, ttl;
    redisContext *redis; /* NULL: not connected */
    uint64_t trusted_at; /* ms */
    uint64_t retry_at, pause;
    uint64_t revoking; /* ms spent on it since the last tick */
    struct report trouble, news;
};

static struct timeval timeout_of(const struct shared *s)
{
    return (struct timeval){.tv_sec = s->timeout / 1000, .tv_usec = s->timeout % 1000 * 1000};
}

/* A number up to `most`, followed by `end` or the text's end. */
static bool read_number(const char *text, long most, char end, int *out)
{
    char *stop;
    long n = strtol(text, &stop, 10);
    if (stop == text || (*stop != end && *stop != '\0') || n < 0 || n > most)
        return false;
    *out = (int)n;
    return true;
}

/* host[:port][/database] */
static bool read_place(struct shared *s, const char *place)
{
    size_t len = strcspn(place, ":/");
    s->host = x_memdup(place, len);
    s->port = 6379;
    const char *rest = place + len;
    if (*rest == ':' && (!read_number(rest + 1, 65535, '/', &s->port) || s->port == 0))
        return false;
    rest += strcspn(rest, "/");
    if (rest[0] == '/' && rest[1] != '\0' && !read_number(rest + 1, 65535, '\0', &s->database))
        return false;
    return len > 0;
}

/* redis://[[user]:password@]host..., as otad's own redis.url, or unix:/path */
static bool read_url(struct shared *s, const char *url)
{
    static const char tcp[] = "redis://", local[] = "unix:";
    if (strncmp(url, local, sizeof(local) - 1) == 0) {
        s->host = x_strdup(url + sizeof(local) - 1);
        return s->host[0] == '/';
    }
    char *rest = url_split(url, &s->user, &s->password);
    if (s->user != NULL && s->password == NULL) { /* only a password */
        s->password = s->user;
        s->user = x_strdup("default");
    } else if (s->user != NULL && *s->user == '\0') {
        free(s->user);
        s->user = x_strdup("default");
    }
    bool sound =
        rest != NULL && strncmp(rest, tcp, sizeof(tcp) - 1) == 0 && read_place(s, rest + sizeof(tcp) - 1);
    free(rest);
    return sound;
}

struct shared *shared_new(const char *url, int timeout, int ttl)
{
    struct shared *s = x_new(struct shared);
    s->timeout = timeout;
    s->ttl = ttl;
    s->pause = PAUSE_FIRST_MS;
    if (url != NULL && !read_url(s, url)) {
        shared_free(s);
        return NULL;
    }
    return s;
}

void shared_free(struct shared *s)
{
    if (s->redis != NULL)
        redisFree(s->redis);
    if (s->password != NULL)
        sodium_memzero(s->password, strlen(s->password));
    free(s->password);
    free(s->user);
    free(s->host);
    free(s);
}

static void lose(struct shared *s, const char *why)
{
    report(&s->trouble, MOSQ_LOG_WARNING, "Redis: %s; PostgreSQL is asked instead", why);
    if (s->redis != NULL)
        redisFree(s->redis);
    s->redis = NULL;
    s->retry_at = report_clock() + s->pause;
    s->pause = s->pause * 2 < PAUSE_MOST_MS ? s->pause * 2 : PAUSE_MOST_MS;
}

/* Runs a command; NULL: the connection is lost. Whoever gets a reply frees it. */
static redisReply *command(struct shared *s, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    redisReply *reply = redisvCommand(s->redis, format, args);
    va_end(args);
    if (reply != NULL && reply->type != REDIS_REPLY_ERROR)
        return reply;
    lose(s, reply != NULL ? reply->str : s->redis->errstr);
    if (reply != NULL)
        freeReplyObject(reply);
    return NULL;
}

static bool succeeds(struct shared *s, redisReply *reply)
{
    if (reply != NULL)
        freeReplyObject(reply);
    return s->redis != NULL;
}

void shared_tick(struct shared *s, uint64_t now)
{
    s->revoking = 0;
    if (s->host == NULL || s->redis != NULL || now < s->retry_at)
        return;
    struct timeval timeout = timeout_of(s);
    s->redis = s->port == 0 ? redisConnectUnixWithTimeout(s->host, timeout)
                            : redisConnectWithTimeout(s->host, s->port, timeout);
    if (s->redis == NULL || s->redis->err != 0 || redisSetTimeout(s->redis, timeout) != REDIS_OK) {
        lose(s, s->redis != NULL ? s->redis->errstr : "out of memory");
        return;
    }
    if (s->password != NULL && !succeeds(s, command(s, "AUTH %s %s", s->user, s->password)))
        return;
    if (succeeds(s, command(s, "SELECT %d", s->database))) {
        s->pause = PAUSE_FIRST_MS;
        shared_distrust(s, report_clock());
        report(&s->news, MOSQ_LOG_NOTICE, "Redis connected");
    }
}

void shared_distrust(struct shared *s, uint64_t now)
{
    s->trusted_at = now + (uint64_t)s->ttl * 1000 + MARGIN_MS;
}

bool shared_has(struct shared *s, int32_t id, const uint8_t hash[HASH_BYTES], uint64_t now)
{
    if (s->redis == NULL || now < s->trusted_at)
        return false;
    redisReply *reply = command(s, "GET otad:mqtt:%d", id);
    if (reply == NULL)
        return false;
    char hex[HEX_BYTES + 1];
    sodium_bin2hex(hex, sizeof(hex), hash, HASH_BYTES);
    bool has = reply->type == REDIS_REPLY_STRING && reply->len == HEX_BYTES &&
               sodium_memcmp(reply->str, hex, HEX_BYTES) == 0;
    freeReplyObject(reply);
    return has;
}

void shared_fill(struct shared *s, int32_t id, const uint8_t hash[HASH_BYTES])
{
    if (s->redis == NULL)
        return;
    char hex[HEX_BYTES + 1];
    sodium_bin2hex(hex, sizeof(hex), hash, HASH_BYTES);
    redisReply *reply = command(s, "SET otad:mqtt:%d %s EX %d NX", id, hex, s->ttl);
    if (reply != NULL)
        freeReplyObject(reply);
}

void shared_revoke(struct shared *s, int32_t id)
{
    if (s->redis == NULL)
        return;
    if (s->revoking >= REVOKE_MS) {
        lose(s, "too slow for so many revocations");
        return;
    }
    uint64_t start = report_clock();
    redisReply *reply = command(s, "SET otad:mqtt:%d - EX %d", id, s->ttl);
    if (reply != NULL)
        freeReplyObject(reply);
    s->revoking += report_clock() - start;
}
