#include "io/redis.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/url.h"
#include <hiredis/async.h>
#include <stdlib.h>
#include <string.h>

enum {
    COMMAND_TIMEOUT = 1000,
    CHECK_INTERVAL = 250,
    PING_INTERVAL = 1000,
    CONNECT_TIMEOUT = 2000,
    LAST_BACKOFF = 1000,
    LISTENER_SILENCE = 4000,
    MOST_IN_FLIGHT = 4096
};

const char redis_unavailable[] = "redis unavailable";
const char redis_failed[] = "redis refused the command";

struct redis_command {
    struct redis *redis;
    redis_cb cb;
    void *arg;
    uint64_t started;
    struct timer timer; /* for one that cannot be sent: answered on the next turn */
    struct redis_command *next;
};

struct redis {
    struct worker *worker;
    char *host, *user, *password, *database;
    int port;
    redisAsyncContext *context; /* NULL: down */
    h2o_socket_t *watch;
    struct timer timer;                        /* down: next try; else looks at the oldest command */
    uint64_t backoff, connecting_since, heard; /* ms; heard: the last answer */
    bool ready, closing, reading, writing;
    struct redis_command *head, **tail;
    size_t in_flight;
    char *channels; /* NULL: it does not listen */
    redis_message_cb on_message;
    void *arg;
};

static void start_connect(struct redis *redis);

static void on_watch_read(h2o_socket_t *watch, const char *err)
{
    struct redis *redis = watch->data;
    redisAsyncHandleRead(redis->context);
}

static void on_watch_write(h2o_socket_t *watch, const char *err)
{
    struct redis *redis = watch->data;
    redis->writing = false;
    redisAsyncHandleWrite(redis->context);
}

/* hiredis tells through these what it waits for. */
static void add_read(void *arg)
{
    struct redis *redis = arg;
    if (!redis->reading)
        h2o_socket_read_start(redis->watch, on_watch_read);
    redis->reading = true;
}

static void del_read(void *arg)
{
    struct redis *redis = arg;
    if (redis->reading)
        h2o_socket_read_stop(redis->watch);
    redis->reading = false;
}

static void add_write(void *arg)
{
    struct redis *redis = arg;
    if (!redis->writing)
        h2o_socket_notify_write(redis->watch, on_watch_write);
    redis->writing = true;
}

static void del_write(void *arg)
{
    /* h2o's notification comes once; hiredis has no need to take it back. */
}

static void cleanup(void *arg)
{
    struct redis *redis = arg;
    if (redis->watch != NULL)
        h2o_socket_close(redis->watch);
    redis->watch = NULL;
    redis->reading = redis->writing = false;
}

/* The context is gone (freed by hiredis); it has answered every command with NULL already. */
static void went_down(struct redis *redis, const char *reason)
{
    if (redis->ready && !redis->closing)
        log_warn("redis connection lost", LOG_STR("reason", reason));
    redis->context = NULL;
    redis->ready = false;
    if (redis->closing)
        return;
    timer_set(redis->worker->timers, &redis->timer, redis->backoff);
    redis->backoff = redis->backoff * 2 > LAST_BACKOFF ? LAST_BACKOFF : redis->backoff * 2;
}

static void on_disconnect(const redisAsyncContext *context, int status)
{
    went_down(context->data, status == REDIS_OK ? "closed" : context->errstr);
}

static bool refuses(const redisReply *answer)
{
    if (answer != NULL && answer->type == REDIS_REPLY_ERROR)
        log_warn("redis refuses us", LOG_STRN("detail", answer->str, answer->len));
    return answer == NULL || answer->type == REDIS_REPLY_ERROR;
}

/* One that wants no password says no to it, and takes us all the same. */
static void on_auth(redisAsyncContext *context, void *reply, void *arg)
{
    refuses(reply);
}

/* ["subscribe", channel, how many], ["message", channel, text] */
static void on_pushed(redisAsyncContext *context, void *reply, void *arg)
{
    struct redis *redis = context->data;
    const redisReply *pushed = reply;
    redis->heard = clock_ms();
    if (pushed == NULL || pushed->type != REDIS_REPLY_ARRAY || pushed->elements != 3)
        return;
    redisReply *const *part = pushed->element;
    if (part[1]->type == REDIS_REPLY_STRING && part[2]->type == REDIS_REPLY_STRING && !redis->closing)
        redis->on_message(redis->arg, part[1]->str, part[2]->str, part[2]->len);
}

static void subscribe(struct redis *redis)
{
    char *command = x_printf("SUBSCRIBE %s", redis->channels);
    redis->heard = clock_ms();
    redisAsyncCommand(redis->context, on_pushed, NULL, command);
    free(command);
}

static void on_select(redisAsyncContext *context, void *reply, void *arg)
{
    struct redis *redis = context->data;
    redis->ready = !refuses(reply);
    if (redis->ready && redis->channels != NULL)
        subscribe(redis);
    if (redis->ready)
        redis->backoff = 50;
}

static void on_connect(const redisAsyncContext *context, int status)
{
    if (status != REDIS_OK)
        went_down(context->data, context->errstr); /* hiredis frees the context itself */
}

static void start_connect(struct redis *redis)
{
    redis->context = redisAsyncConnect(redis->host, redis->port);
    if (redis->context == NULL || redis->context->err != 0) {
        if (redis->context != NULL)
            redisAsyncFree(redis->context);
        went_down(redis, "cannot connect");
        return;
    }
    redisAsyncContext *context = redis->context;
    context->data = redis;
    context->ev.data = redis;
    context->ev.addRead = add_read;
    context->ev.delRead = del_read;
    context->ev.addWrite = add_write;
    context->ev.delWrite = del_write;
    context->ev.cleanup = cleanup;
    redis->watch = worker_watch(redis->worker, context->c.fd);
    redis->watch->data = redis;
    redis->connecting_since = clock_ms();
    timer_set(redis->worker->timers, &redis->timer, CHECK_INTERVAL);
    redisAsyncSetConnectCallback(context, on_connect);
    redisAsyncSetDisconnectCallback(context, on_disconnect);
    if (redis->password != NULL && redis->user != NULL)
        redisAsyncCommand(context, on_auth, NULL, "AUTH %s %s", redis->user, redis->password);
    else if (redis->password != NULL)
        redisAsyncCommand(context, on_auth, NULL, "AUTH %s", redis->password);
    redisAsyncCommand(context, on_select, NULL, "SELECT %s", redis->database);
}

static void on_pong(void *arg, const char *err, const redisReply *reply)
{
}

static void on_timer(struct timer *timer)
{
    struct redis *redis = H2O_STRUCT_FROM_MEMBER(struct redis, timer, timer);
    uint64_t now = clock_ms();
    if (redis->context == NULL) {
        start_connect(redis);
    } else if ((redis->head != NULL && now - redis->head->started > COMMAND_TIMEOUT) ||
               (redis->channels != NULL && redis->ready && now - redis->heard > LISTENER_SILENCE) ||
               (!redis->ready && now - redis->connecting_since > CONNECT_TIMEOUT)) {
        redisAsyncContext *context = redis->context;
        bool connected = context->c.flags & REDIS_CONNECTED;
        redisAsyncFree(context); /* answers what waits; tells on_disconnect only if it was connected */
        if (!connected)
            went_down(redis, "no answer");
    } else {
        if (redis->ready && redis->channels == NULL && redis->head == NULL &&
            now - redis->heard >= PING_INTERVAL)
            redis_command(redis, 1, &(const char *){"PING"}, &(size_t){4}, on_pong, NULL);
        timer_set(redis->worker->timers, timer, CHECK_INTERVAL);
    }
}

/* "redis://user:password@host:port/2"; the password may be all there is before the @. */
static bool parse_url(struct redis *redis, const char *url)
{
    static const char scheme[] = "redis://";
    char *rest = url_split(url, &redis->user, &redis->password);
    if (rest == NULL || strncmp(rest, scheme, sizeof(scheme) - 1) != 0) {
        free(rest);
        return false;
    }
    if (redis->password == NULL) {
        redis->password = redis->user;
        redis->user = NULL;
    } else if (*redis->user == '\0') {
        free(redis->user);
        redis->user = NULL;
    }
    char *host = rest + sizeof(scheme) - 1, *slash = strchr(host, '/');
    redis->database = x_strdup(slash != NULL && slash[1] != '\0' ? slash + 1 : "0");
    if (slash != NULL)
        *slash = '\0';
    char *port = strrchr(host, ':');
    long number = port != NULL ? strtol(port + 1, NULL, 10) : 6379;
    bool sound = strspn(redis->database, "0123456789") == strlen(redis->database) && number > 0 &&
                 number < 65536 && (port == NULL || strspn(port + 1, "0123456789") == strlen(port + 1));
    if (port != NULL)
        *port = '\0';
    redis->port = sound ? (int)number : 0;
    redis->host = x_strdup(*host == '\0' ? "127.0.0.1" : host);
    free(rest);
    return sound;
}

static void free_settings(struct redis *redis)
{
    free(redis->host);
    free(redis->user);
    free(redis->password);
    free(redis->database);
    free(redis->channels);
    free(redis);
}

struct redis *redis_new(struct worker *worker, const char *url)
{
    struct redis *redis = x_new(struct redis);
    if (!parse_url(redis, url)) {
        free_settings(redis);
        return NULL;
    }
    redis->worker = worker;
    redis->tail = &redis->head;
    redis->backoff = 50;
    redis->timer.fire = on_timer;
    timer_set(worker->timers, &redis->timer, 0);
    return redis;
}

struct redis *redis_listen(struct worker *worker, const char *url, const char *channels,
                           redis_message_cb on_message, void *arg)
{
    struct redis *redis = redis_new(worker, url);
    if (redis == NULL)
        return NULL;
    redis->channels = x_strdup(channels);
    redis->on_message = on_message;
    redis->arg = arg;
    return redis;
}

void redis_free(struct redis *redis)
{
    redis->closing = true;
    if (redis->context != NULL)
        redisAsyncFree(redis->context);
    timer_cancel(redis->worker->timers, &redis->timer);
    free_settings(redis);
}

bool redis_ready(const struct redis *redis)
{
    return redis->ready;
}

static void on_reply(redisAsyncContext *context, void *reply, void *arg)
{
    struct redis_command *command = arg;
    struct redis *redis = command->redis;
    const redisReply *answer = reply;
    const char *err = answer == NULL                      ? redis_unavailable
                      : answer->type == REDIS_REPLY_ERROR ? redis_failed
                                                          : NULL;
    redis->head = command->next; /* replies come in order */
    if (redis->head == NULL)
        redis->tail = &redis->head;
    redis->in_flight--;
    redis->heard = clock_ms();
    command->cb(command->arg, err, err == NULL ? answer : NULL);
    free(command);
}

static void on_refused(struct timer *timer)
{
    struct redis_command *command = H2O_STRUCT_FROM_MEMBER(struct redis_command, timer, timer);
    command->cb(command->arg, redis_unavailable, NULL);
    free(command);
}

void redis_command(struct redis *redis, size_t count, const char *const *args, const size_t *lengths,
                   redis_cb cb, void *arg)
{
    struct redis_command *command = x_new(struct redis_command);
    command->redis = redis;
    command->cb = cb;
    command->arg = arg;
    command->started = clock_ms();
    if (!redis->ready || redis->in_flight >= MOST_IN_FLIGHT ||
        redisAsyncCommandArgv(redis->context, on_reply, command, (int)count, (const char **)args, lengths) !=
            REDIS_OK) {
        command->timer.fire = on_refused;
        timer_set(redis->worker->timers, &command->timer, 0);
        return;
    }
    *redis->tail = command;
    redis->tail = &command->next;
    redis->in_flight++;
}
