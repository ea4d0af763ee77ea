/* concurrently(function, ...): runs functions beside each other, each in a coroutine of its own that belongs
 * to no request, and returns when all have ended. Raises then what the first that failed had raised. It is
 * for what waits, for the database above all: Lua itself runs one at a time.
 *
 * meanwhile(function): the same for one that nobody waits for. What it raises is logged. A worker that stops
 * lets it end. */
#include "base/log.h"
#include "base/mem.h"
#include "lua/modules.h"
#include "net/worker.h"
#include <stdlib.h>

enum { MOST_FUNCTIONS = 16 };

struct join {
    struct coroutine *parent, *children[MOST_FUNCTIONS];
    struct worker *worker;
    int count, running;
    bool failed, starved; /* an error is on top of the parent's stack; there was no memory for all children */
};

static int after_all(lua_State *L, int status, lua_KContext context)
{
    const struct join *join = lua_touserdata(L, -1);
    if (join->starved)
        return luaL_error(L, "not enough memory");
    lua_pop(L, 1);
    return join->failed ? lua_error(L) : 0;
}

static void on_all_ended(void *arg)
{
    struct join *join = arg;
    coroutine_resume_with(join->parent, join);
    free(join);
}

static void on_child_end(struct coroutine *child, bool ok, int results)
{
    struct join *join = child->arg;
    if (!ok && !join->failed) {
        join->failed = true;
        lua_pushvalue(child->L, -1);
        lua_xmove(child->L, join->parent->L, 1);
    }
    if (--join->running == 0)
        worker_defer(join->worker, on_all_ended, join); /* a coroutine is not resumed within another */
}

static void on_parent_waits(void *arg)
{
    struct join *join = arg;
    int count = join->running = join->count;
    if (count == 0)
        on_all_ended(join);
    for (int i = 0; i < count; i++)
        coroutine_resume(join->children[i], 0);
}

static int concurrently(lua_State *L)
{
    int count = lua_gettop(L);
    luaL_argcheck(L, count <= MOST_FUNCTIONS, MOST_FUNCTIONS + 1, "too many functions");
    for (int i = 1; i <= count; i++)
        luaL_checktype(L, i, LUA_TFUNCTION);
    struct coroutine *parent = coroutine_to_wait(L);
    struct join *join = x_new(struct join);
    join->parent = parent;
    join->worker = runtime_of(L)->worker;
    for (int i = 1; i <= count && !join->starved; i++) {
        struct coroutine *child = coroutine_new(parent->generation);
        join->starved = child == NULL;
        if (child == NULL)
            continue;
        child->arg = join;
        child->parent = parent;
        child->on_end = on_child_end;
        lua_pushvalue(L, i);
        lua_xmove(L, child->L, 1);
        join->children[join->count++] = child;
    }
    worker_defer(join->worker, on_parent_waits, join);
    return lua_yieldk(L, 0, 0, after_all);
}

static void on_detached_end(struct coroutine *coroutine, bool ok, int results)
{
    coroutine->generation->runtime->detached--;
    if (ok)
        return;
    char *text = coroutine_error_text(coroutine);
    log_warn("script failed", LOG_STR("script", "meanwhile"), LOG_STR("error", text));
    free(text);
}

static void on_caller_went_on(void *arg)
{
    coroutine_resume(arg, 0);
}

static int meanwhile(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TFUNCTION);
    struct coroutine *coroutine = coroutine_new(coroutine_to_wait(L)->generation);
    if (coroutine == NULL)
        return luaL_error(L, "not enough memory");
    coroutine->on_end = on_detached_end;
    lua_pushvalue(L, 1);
    lua_xmove(L, coroutine->L, 1);
    runtime_of(L)->detached++;
    worker_defer(runtime_of(L)->worker, on_caller_went_on, coroutine);
    return 0;
}

void mod_concurrently_open(lua_State *L)
{
    lua_pushcfunction(L, concurrently);
    lua_setglobal(L, "concurrently");
    lua_pushcfunction(L, meanwhile);
    lua_setglobal(L, "meanwhile");
}
