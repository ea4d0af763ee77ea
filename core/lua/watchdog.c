#include "lua/watchdog.h"
#include "base/mem.h"
#include <lauxlib.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

enum { LOOK_EVERY = 50, MOST_WATCHES = 64 };

/* The signal handler has no argument: the worker's watch must be found from its thread. */
static _Thread_local struct watch *watch_of_thread;

struct watchdog {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_t thread;
    bool stopping;
    size_t count;
    struct watch *watches[MOST_WATCHES];
};

static bool must_end(const struct watch *watch, const lua_State *L)
{
    return watch->running == L && watch->calls == watch->overrun;
}

static void on_hook(lua_State *L, lua_Debug *activation)
{
    const struct watch *watch = watch_of_thread;
    if (!must_end(watch, L)) {
        lua_sethook(L, NULL, 0, 0); /* that call ended, this is another */
        return;
    }
    luaL_where(L, 0); /* a hook is no level: the function that runs is 0 */
    lua_pushfstring(L, "ran longer than %I ms", (LUAI_UACINT)watch->limit);
    lua_concat(L, 2);
    lua_error(L);
}

static void on_signal(int number)
{
    lua_State *L = watch_of_thread == NULL ? NULL : watch_of_thread->running;
    if (L != NULL && must_end(watch_of_thread, L))
        lua_sethook(L, on_hook, LUA_MASKCOUNT, 1);
}

static uint64_t time_used_ms(clockid_t clock)
{
    struct timespec used;
    clock_gettime(clock, &used);
    return (uint64_t)used.tv_sec * 1000 + (uint64_t)used.tv_nsec / 1000000;
}

static void look(struct watchdog *watchdog)
{
    for (size_t i = 0; i < watchdog->count; i++) {
        struct watch *watch = watchdog->watches[i];
        uint64_t call = watch->calls;
        if (call % 2 == 0)
            continue;
        uint64_t used = time_used_ms(watch->clock);
        if (call != watch->seen) {
            watch->seen = call;
            watch->seen_time = used;
        } else if (used - watch->seen_time >= watch->limit) {
            watch->overrun = call;
            pthread_kill(watch->thread, SIGURG);
        }
    }
}

static void *run(void *arg)
{
    struct watchdog *watchdog = arg;
    pthread_mutex_lock(&watchdog->lock);
    while (!watchdog->stopping) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += LOOK_EVERY * 1000000;
        if (until.tv_nsec >= 1000000000) {
            until.tv_sec++;
            until.tv_nsec -= 1000000000;
        }
        pthread_cond_timedwait(&watchdog->wake, &watchdog->lock, &until);
        look(watchdog);
    }
    pthread_mutex_unlock(&watchdog->lock);
    return NULL;
}

struct watchdog *watchdog_new(void)
{
    struct watchdog *watchdog = x_new(struct watchdog);
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigaction(SIGURG, &action, NULL);
    pthread_mutex_init(&watchdog->lock, NULL);
    pthread_condattr_t monotonic; /* a wall clock set back must not stop the looks */
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&watchdog->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    if (pthread_create(&watchdog->thread, NULL, run, watchdog) != 0)
        abort();
    return watchdog;
}

void watchdog_free(struct watchdog *watchdog)
{
    pthread_mutex_lock(&watchdog->lock);
    watchdog->stopping = true;
    pthread_cond_signal(&watchdog->wake);
    pthread_mutex_unlock(&watchdog->lock);
    pthread_join(watchdog->thread, NULL);
    pthread_cond_destroy(&watchdog->wake);
    pthread_mutex_destroy(&watchdog->lock);
    free(watchdog);
}

void watchdog_watch(struct watchdog *watchdog, struct watch *watch)
{
    watch->thread = pthread_self();
    pthread_getcpuclockid(watch->thread, &watch->clock);
    watch_of_thread = watch;
    pthread_mutex_lock(&watchdog->lock);
    if (watchdog->count == MOST_WATCHES)
        abort();
    watchdog->watches[watchdog->count++] = watch;
    pthread_mutex_unlock(&watchdog->lock);
}

void watchdog_unwatch(struct watchdog *watchdog, struct watch *watch)
{
    pthread_mutex_lock(&watchdog->lock);
    for (size_t i = 0; i < watchdog->count; i++) {
        if (watchdog->watches[i] == watch)
            watchdog->watches[i] = watchdog->watches[--watchdog->count];
    }
    pthread_mutex_unlock(&watchdog->lock);
    watch_of_thread = NULL;
}

void watch_enter(struct watch *watch, lua_State *L)
{
    watch->running = L;
    watch->calls++;
}

void watch_leave(struct watch *watch)
{
    watch->calls++;
    watch->running = NULL;
}
