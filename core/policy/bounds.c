#include "policy/bounds.h"
#include <lauxlib.h>
#include <stdlib.h>

enum { LOOK_EVERY = 1000 /* instructions between looks at the clock */ };

static struct bounds *bounds_of(lua_State *L)
{
    return *(struct bounds **)lua_getextraspace(L);
}

static void on_hook(lua_State *L, lua_Debug *activation);

/* Keeps which line of a script is running. Allocates nothing. */
static void note_fault(struct bounds *bounds)
{
    lua_Debug activation;
    for (int level = 0; lua_getstack(bounds->L, level, &activation) != 0; level++) {
        if (lua_getinfo(bounds->L, "Sl", &activation) != 0 && activation.currentline > 0) {
            bounds->fault = (struct bounds_place){activation.source, activation.currentline};
            return;
        }
    }
}

/* The message handler of calls: an error that is no text, or comes from C, does not tell its line. */
static int on_error(lua_State *L)
{
    note_fault(bounds_of(L));
    return 1;
}

/* Refusing makes Lua collect its garbage and ask again; refused twice the memory is at its end, and so is the
 * call: a pcall that swallowed this over and over would spend its time in the collector. */
static void *capped_alloc(void *arg, void *p, size_t old_size, size_t size)
{
    struct bounds *bounds = arg;
    size_t old = p == NULL ? 0 : old_size; /* for a new block old_size is a type */
    if (size == 0) {
        bounds->memory -= old;
        free(p);
        return NULL;
    }
    if (size > old && bounds->memory + (size - old) > POLICY_MEMORY) {
        if (++bounds->refusals > 1 && bounds->L != NULL) {
            lua_sethook(bounds->L, on_hook, LUA_MASKCOUNT, 1);
            note_fault(bounds);
        }
        return NULL;
    }
    void *block = realloc(p, size);
    if (block != NULL) {
        bounds->memory += size - old;
        bounds->refusals = size > old ? 0 : bounds->refusals;
    }
    return block;
}

static int on_panic(lua_State *L)
{
    abort(); /* entered unprotected: a mistake of ours */
}

static bool out_of_time(struct bounds *bounds)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    if (!bounds->timed) { /* short calls, that is nearly all, never read the clock */
        bounds->began = now;
        bounds->timed = true;
    }
    return (now.tv_sec - bounds->began.tv_sec) * 1000 + (now.tv_nsec - bounds->began.tv_nsec) / 1000000 >=
           POLICY_TIME;
}

/* A few nanoseconds, a few milliseconds off. */
static int64_t glance(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void watch(struct bounds *bounds, int every)
{
    int lines = bounds->policies->on_line == NULL ? 0 : LUA_MASKLINE;
    lua_sethook(bounds->L, on_hook, LUA_MASKRET | LUA_MASKCOUNT | lines, every);
}

static void on_hook(lua_State *L, lua_Debug *activation)
{
    struct bounds *bounds = bounds_of(L);
    if (activation->event == LUA_HOOKRET) {
        if (lua_getinfo(L, "Sl", activation) != 0 && activation->currentline > 0)
            bounds->last = (struct bounds_place){activation->source, activation->currentline};
        if (!bounds->hurried && glance() != bounds->glanced) { /* functions in C count as one instruction */
            bounds->hurried = true;
            watch(bounds, 1);
        }
        return;
    }
    if (activation->event == LUA_HOOKLINE) {
        if (lua_getinfo(L, "S", activation) != 0)
            bounds->policies->on_line(bounds->policies->arg, activation->source + 1, activation->currentline);
        return;
    }
    if (bounds->refusals > 1)
        luaL_error(L, "needed more than 16 MiB of memory");
    if (bounds->ended || out_of_time(bounds)) {
        bounds->ended = true;
        lua_sethook(L, on_hook, LUA_MASKCOUNT, 1); /* at every instruction: no pcall swallows it for good */
        luaL_where(L, 0);                          /* a hook is no level: the function that runs is 0 */
        lua_pushfstring(L, "ran longer than %d ms", POLICY_TIME);
        lua_concat(L, 2);
        lua_error(L);
    }
    if (bounds->hurried) {
        bounds->hurried = false;
        bounds->glanced = glance();
        watch(bounds, LOOK_EVERY);
    }
}

void bounds_open(struct bounds *bounds, struct policies *policies)
{
    *bounds = (struct bounds){.policies = policies};
    bounds->L = lua_newstate(capped_alloc, bounds);
    if (bounds->L == NULL)
        abort();
    *(struct bounds **)lua_getextraspace(bounds->L) = bounds;
    lua_atpanic(bounds->L, on_panic);
    lua_gc(bounds->L, LUA_GCSTOP);
}

int bounds_run(struct bounds *bounds, lua_CFunction call, void *arg)
{
    lua_State *L = bounds->L;
    bounds->timed = bounds->ended = bounds->hurried = false;
    bounds->refusals = 0;
    bounds->last = bounds->fault = (struct bounds_place){0};
    lua_pushcfunction(L, on_error);
    lua_pushcfunction(L, call);
    lua_pushlightuserdata(L, arg);
    bounds->glanced = glance();
    watch(bounds, LOOK_EVERY);
    bounds->policies->calls++;
    int status = lua_pcall(L, 1, 0, -3);
    bounds->policies->calls++;
    lua_sethook(L, NULL, 0, 0);
    return status;
}

const char *bounds_words(const struct bounds *bounds, int status)
{
    if (status == LUA_ERRMEM || bounds->refusals > 1)
        return "needed more than 16 MiB of memory";
    return lua_type(bounds->L, -1) == LUA_TSTRING ? lua_tostring(bounds->L, -1) : "an error without a text";
}
