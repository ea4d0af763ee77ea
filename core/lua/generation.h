/* One lua_State of one worker with the scripts of one bundle: what the bundle's files returned, checked.
 *
 * Owned by its worker. Every running coroutine and the runtime that has it in force hold a reference; the
 * last release closes the state on the loop's next turn, never inside a resume. Memory is capped: inside Lua
 * an allocation may fail, so Lua is entered only through coroutine_resume() and generation_call(). */
#pragma once
#include "lua/bundle.h"
#include "lua/runtime.h"
#include <lua.h>
#include <stdbool.h>

struct coroutine;
struct route_table;

struct problem {
    char *file; /* "scripts/routes/devices.lua", or "" */
    int line;   /* 0: not known */
    char *message;
};

struct problems {
    struct problem *list;
    size_t count;
};

void problems_add(struct problems *problems, const char *file, int line, const char *message);
/* Takes "FILE:LINE: MESSAGE", as Lua words it, apart. */
void problems_add_error(struct problems *problems, const char *file, const char *error);
void problems_copy(struct problems *into, const struct problems *from);
void problems_free(struct problems *problems);

struct task {
    uint64_t every; /* ms */
    int handler;    /* in the registry */
    const char *name;
};

struct generation {
    lua_State *L;
    struct runtime *runtime;
    struct bundle *bundle;
    unsigned refs;
    size_t memory, limit;
    struct coroutine *idle, *main; /* main: stands for the state itself */
    size_t idle_count;
    struct route_table *routes;
    int status_handler; /* scripts/topics/status.lua; LUA_NOREF: none */
    struct task *tasks;
    size_t task_count;
};

/* Loads all files but tests. NULL when anything is wrong; `problems` then says what. Holds the bundle. */
struct generation *generation_load(struct runtime *runtime, struct bundle *bundle, struct problems *problems);
struct generation *generation_hold(struct generation *generation);
void generation_release(struct generation *generation);

/* Runs `call` on the state, protected and watched; false with the error's text in `problems`. */
bool generation_call(struct generation *generation, lua_CFunction call, void *arg, const char *file,
                     struct problems *problems);

/* Pushes what a file of the bundle returns; runs it once. Inside a protected call only. */
void generation_require(lua_State *L, const char *name);
