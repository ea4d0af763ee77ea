/* One lua_State of one worker with the scripts of one bundle.
 *
 * Owned by its worker. Every running coroutine and the runtime that has it in force hold a reference; the
 * last release closes the state on the loop's next turn, never inside a resume. Memory is capped: inside Lua
 * an allocation may fail, so Lua is entered only through coroutine_resume() and generation_call(). */
#pragma once
#include "lua/bundle.h"
#include "lua/problems.h"
#include "lua/runtime.h"
#include <lua.h>
#include <stdbool.h>

struct route_table;

struct task {
    uint64_t every; /* ms */
    int handler;    /* in the registry */
    const char *name;
};

struct coroutine {
    lua_State *L;
    struct generation *generation;
    int anchor;                   /* keeps the thread from being collected */
    struct http_request *request; /* NULL: not for a request, or answered */
    int64_t user;                 /* the account whose token came with it; 0: none */
    struct coroutine *parent;     /* the one that waits for it (concurrently), whose request it is, too */
    void *arg;                    /* of on_end */
    void (*on_end)(struct coroutine *coroutine, bool ok, int results);
    struct coroutine *next;
};

struct generation {
    lua_State *L;
    struct runtime *runtime;
    struct bundle *bundle;
    unsigned refs;
    size_t memory, limit;
    size_t outside;         /* bytes that blobs keep outside Lua's memory */
    struct coroutine main;  /* stands for the state itself */
    struct coroutine *idle; /* pool of coroutine.c */
    size_t idle_count;
    /* What the files returned; filled and dropped by the loader. */
    struct route_table *routes;
    int status_handler; /* scripts/topics/status.lua; LUA_NOREF: none */
    int feed_handler;   /* scripts/topics/feed.lua; likewise */
    struct task *tasks;
    size_t task_count;
    void (*drop)(struct generation *generation);
};

/* A bare state; holds the bundle. */
struct generation *generation_new(struct runtime *runtime, struct bundle *bundle);
struct generation *generation_hold(struct generation *generation);
void generation_release(struct generation *generation);

/* Runs `call` on the state, protected and watched; false with the error's text in `problems`. */
bool generation_call(struct generation *generation, lua_CFunction call, void *arg, const char *file,
                     struct problems *problems);

/* Pushes what a file of the bundle returns; runs it once. Inside a protected call only. */
void generation_require(lua_State *L, const char *name);

/* What runs on a state, or on a thread of it. */
static inline struct coroutine *coroutine_of(lua_State *L)
{
    return *(struct coroutine **)lua_getextraspace(L);
}

static inline struct runtime *runtime_of(lua_State *L)
{
    return coroutine_of(L)->generation->runtime;
}
