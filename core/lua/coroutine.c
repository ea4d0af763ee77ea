#include "lua/coroutine.h"
#include "base/mem.h"
#include "lua/fail.h"
#include <lauxlib.h>
#include <stdlib.h>

enum { MOST_IDLE = 512, MOST_OUT = 1 << 20 /* bytes kept for the next answer */ };

static int make_thread(lua_State *L)
{
    struct coroutine *coroutine = lua_touserdata(L, 1);
    coroutine->L = lua_newthread(L);
    coroutine->anchor = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

struct coroutine *coroutine_new(struct generation *generation)
{
    struct coroutine *coroutine = generation->idle;
    if (coroutine != NULL) {
        generation->idle = coroutine->next;
        generation->idle_count--;
    } else {
        coroutine = x_new(struct coroutine);
        coroutine->generation = generation;
        lua_State *L = generation->L;
        lua_pushcfunction(L, make_thread); /* light: pushing it allocates nothing */
        lua_pushlightuserdata(L, coroutine);
        if (lua_pcall(L, 1, 0, 0) != LUA_OK) {
            lua_pop(L, 1);
            free(coroutine);
            return NULL;
        }
        *(struct coroutine **)lua_getextraspace(coroutine->L) = coroutine;
    }
    coroutine->request = NULL;
    coroutine->user = 0;
    coroutine->parent = NULL;
    coroutine->arg = NULL;
    generation_hold(generation);
    return coroutine;
}

static void drop(struct coroutine *coroutine)
{
    luaL_unref(coroutine->generation->L, LUA_REGISTRYINDEX, coroutine->anchor);
    free(coroutine);
}

static void recycle(struct coroutine *coroutine, bool ok)
{
    struct generation *generation = coroutine->generation;
    lua_State *L = coroutine->L;
    /* An error raised by a hook leaves hooks switched off in its thread, for good: the watchdog could not
     * stop what ran there next, nor what is to be closed. */
    bool stopped = !ok && lua_gethook(L) != NULL;
    if (!ok && !stopped) {
        watch_enter(&generation->runtime->watch, L); /* runs what is to be closed */
        lua_resetthread(L);
        watch_leave(&generation->runtime->watch);
    }
    if (stopped || generation->idle_count >= MOST_IDLE) {
        drop(coroutine);
        if (stopped) /* a transaction it had open goes back now, and not some day */
            lua_gc(generation->L, LUA_GCCOLLECT);
    } else {
        lua_settop(L, 0);
        if (lua_gethook(L) != NULL)
            lua_sethook(L, NULL, 0, 0);
        coroutine->next = generation->idle;
        generation->idle = coroutine;
        generation->idle_count++;
    }
    generation_release(generation);
}

static void trim(struct runtime *runtime)
{
    if (runtime->out.room > MOST_OUT)
        buffer_free(&runtime->out);
}

void coroutine_resume(struct coroutine *coroutine, int arguments)
{
    struct runtime *runtime = coroutine->generation->runtime;
    int results = 0;
    watch_enter(&runtime->watch, coroutine->L);
    int status = lua_resume(coroutine->L, NULL, arguments, &results);
    watch_leave(&runtime->watch);
    if (status == LUA_YIELD) {
        lua_pop(coroutine->L, results);
        trim(runtime);
        return;
    }
    coroutine->on_end(coroutine, status == LUA_OK, results);
    recycle(coroutine, status == LUA_OK);
    trim(runtime);
}

struct coroutine *coroutine_to_wait(lua_State *L)
{
    if (!lua_isyieldable(L))
        luaL_error(L, "this cannot wait here: scripts are being loaded, or a function such as string.gsub, "
                      "table.sort or a schema's check has called back");
    return coroutine_of(L);
}

void coroutine_resume_with(struct coroutine *coroutine, void *result)
{
    lua_pushlightuserdata(coroutine->L, result);
    coroutine_resume(coroutine, 1);
}

static int push_traceback(lua_State *L)
{
    lua_State *failed = lua_touserdata(L, 1);
    if (fail_is_problem(failed, -1)) { /* as db raises when PostgreSQL is away */
        lua_pushvalue(failed, -1);
        lua_xmove(failed, L, 1);
        lua_getfield(L, -1, "detail");
        if (lua_isnil(L, -1))
            lua_pushliteral(L, "problem");
        return 1;
    }
    luaL_traceback(L, failed, lua_tostring(failed, -1), 0);
    return 1;
}

char *coroutine_error_text(struct coroutine *coroutine)
{
    lua_State *L = coroutine->generation->L;
    char *text = NULL;
    lua_pushcfunction(L, push_traceback);
    lua_pushlightuserdata(L, coroutine->L);
    if (lua_pcall(L, 1, 1, 0) == LUA_OK && lua_type(L, -1) == LUA_TSTRING)
        text = x_strdup(lua_tostring(L, -1));
    lua_pop(L, 1);
    return text != NULL ? text : x_strdup("error without a text");
}
