/* Redis from a worker's loop (hiredis, asynchronous). Redis holds only what can be lost: counters of failed
 * logins, caches. Without it everything works on, slower.
 *
 * Worker thread. A callback comes exactly once, never inline; `reply` is valid during it and NULL with an
 * err. Commands wait for nothing: while the connection is down they fail with redis_unavailable. */
#pragma once
#include "net/worker.h"
#include <hiredis/hiredis.h>
#include <stdbool.h>

struct redis;

extern const char redis_unavailable[];
extern const char redis_failed[]; /* Redis answered with an error */

typedef void (*redis_cb)(void *arg, const char *err, const redisReply *reply);

/* url: redis://[[user]:password@]host[:port][/database], user and password with %-escapes. NULL: not such a
 * URL. */
struct redis *redis_new(struct worker *worker, const char *url);
/* A connection that only listens to channels, a list with spaces in between: `on_message` for each message,
 * on the worker's thread. A connection on which nothing came for some seconds is made anew, so that somebody
 * has to say something each second. What is said meanwhile is lost. NULL as above; `channels` is copied. */
typedef void (*redis_message_cb)(void *arg, const char *channel, const char *data, size_t len);
struct redis *redis_listen(struct worker *worker, const char *url, const char *channels,
                           redis_message_cb on_message, void *arg);
void redis_free(struct redis *redis); /* what waits fails, now */
/* Connected, and Redis answers: where nothing else is asked, a PING asks each second. */
bool redis_ready(const struct redis *redis);
void redis_command(struct redis *redis, size_t count, const char *const *args, const size_t *lengths,
                   redis_cb cb, void *arg);
