/* Ends calls into Lua that compute for too long.
 *
 * A count hook that is always set makes Lua several times slower, so none is set while all is well: a thread
 * looks at every worker some 20 times a second and signals one that has computed in the same call for too
 * long; the handler, on the worker's own thread, sets a hook that raises an error at each further
 * instruction, so that no pcall can swallow it for good. This is how lua.c itself stops on Ctrl-C. Handler
 * and hook look again which call runs, for the one meant may have ended. What counts is the processor time of
 * the worker's thread: on a busy machine a script that waits for its turn is not to blame.
 *
 * A C function that loops without returning to Lua is out of reach: those that could are bounded (bounded.h).
 */
#pragma once
#include <lua.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <time.h>

struct watchdog;

struct watch {                /* one per worker */
    _Atomic uint64_t calls;   /* entries plus exits: odd while Lua runs, and then the name of that call */
    _Atomic uint64_t overrun; /* the call that has to end */
    lua_State *_Atomic running;
    uint64_t limit; /* ms of processor time */
    pthread_t thread;
    clockid_t clock;    /* of that thread; this and what follows is the watchdog's */
    uint64_t seen;      /* the call it saw last, */
    uint64_t seen_time; /* and the clock then, in ms */
};

struct watchdog *watchdog_new(void);
void watchdog_free(struct watchdog *watchdog);
/* From the worker's own thread, once; unwatch before the watch's memory goes. */
void watchdog_watch(struct watchdog *watchdog, struct watch *watch);
void watchdog_unwatch(struct watchdog *watchdog, struct watch *watch);

/* Around each entry into Lua. Entries do not nest. */
void watch_enter(struct watch *watch, lua_State *L);
void watch_leave(struct watch *watch);
