#include "lua/generation.h"
#include "base/log.h"
#include "base/mem.h"
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

/* Registry key of the table of what files returned; a file being run is marked with `true`. */
static const char loaded_key[] = "otad.loaded";

static void *capped_alloc(void *arg, void *p, size_t old_size, size_t size)
{
    struct generation *generation = arg;
    size_t old = p == NULL ? 0 : old_size; /* for a new block old_size is a type */
    if (size == 0) {
        generation->memory -= old;
        free(p);
        return NULL;
    }
    if (size > old && generation->memory + (size - old) > generation->limit)
        return NULL;
    void *block = realloc(p, size);
    if (block != NULL)
        generation->memory += size - old;
    return block;
}

static int on_panic(lua_State *L)
{
    log_fatal("lua was entered unprotected", LOG_STR("error", lua_tostring(L, -1)));
    abort();
}

bool generation_call(struct generation *generation, lua_CFunction call, void *arg, const char *file,
                     struct problems *problems)
{
    lua_State *L = generation->L;
    lua_pushcfunction(L, call);
    lua_pushlightuserdata(L, arg);
    watch_enter(&generation->runtime->watch, L);
    int status = lua_pcall(L, 1, 0, 0);
    watch_leave(&generation->runtime->watch);
    if (lua_gethook(L) != NULL)
        lua_sethook(L, NULL, 0, 0);
    if (status == LUA_OK)
        return true;
    const char *error = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "error without a text";
    problems_add_error(problems, file, error);
    lua_pop(L, 1);
    return false;
}

static int run_file(lua_State *L)
{
    const struct bundle_file *file = lua_touserdata(L, 1);
    lua_pushfstring(L, "=%s", file->path);
    if (luaL_loadbufferx(L, file->text, file->len, lua_tostring(L, -1), "t") != LUA_OK)
        return lua_error(L);
    lua_call(L, 0, 1);
    if (lua_isnil(L, -1) || lua_isboolean(L, -1))
        luaL_error(L, "%s:1: returns nothing", file->path);
    return 1;
}

void generation_require(lua_State *L, const char *name)
{
    /* "lib.schema", as Lua programmers write it, is the file lib/schema. */
    const char *file_name = luaL_gsub(L, name, ".", "/");
    const struct bundle_file *file = bundle_find(coroutine_of(L)->generation->bundle, file_name);
    if (file == NULL)
        luaL_error(L, "there is no script '%s.lua'", file_name);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, loaded_key);
    if (lua_getfield(L, -1, file_name) == LUA_TBOOLEAN)
        luaL_error(L, lua_toboolean(L, -1) ? "'%s' requires itself" : "'%s' did not load", file_name);
    if (!lua_isnil(L, -1)) {
        lua_replace(L, -3);
        lua_pop(L, 1);
        return;
    }
    lua_pop(L, 1);
    lua_pushboolean(L, 1);
    lua_setfield(L, -2, file_name);
    lua_pushcfunction(L, run_file);
    lua_pushlightuserdata(L, (void *)file);
    bool ok = lua_pcall(L, 1, 1, 0) == LUA_OK;
    lua_pushvalue(L, -1);
    if (!ok) {
        lua_pop(L, 1);
        lua_pushboolean(L, 0); /* whoever requires it, too, is told so, and not that it requires itself */
    }
    lua_setfield(L, -3, file_name);
    if (!ok)
        lua_error(L);
    lua_replace(L, -3); /* over the file name */
    lua_pop(L, 1);
}

struct generation *generation_new(struct runtime *runtime, struct bundle *bundle)
{
    struct generation *generation = x_new(struct generation);
    generation->runtime = runtime;
    generation->bundle = bundle_hold(bundle);
    generation->refs = 1;
    generation->limit = (size_t)runtime->services->config->lua_memory;
    generation->status_handler = LUA_NOREF;
    generation->feed_handler = LUA_NOREF;
    generation->L = lua_newstate(capped_alloc, generation);
    if (generation->L == NULL)
        abort();
    lua_atpanic(generation->L, on_panic);
    generation->main.L = generation->L;
    generation->main.generation = generation;
    *(struct coroutine **)lua_getextraspace(generation->L) = &generation->main;
    return generation;
}

struct generation *generation_hold(struct generation *generation)
{
    generation->refs++;
    return generation;
}

static void close_generation(void *arg)
{
    struct generation *generation = arg;
    for (struct coroutine *coroutine = generation->idle, *next; coroutine != NULL; coroutine = next) {
        next = coroutine->next;
        free(coroutine); /* its thread goes with the state */
    }
    lua_close(generation->L);
    if (generation->drop != NULL)
        generation->drop(generation);
    bundle_release(generation->bundle);
    free(generation);
}

void generation_release(struct generation *generation)
{
    if (--generation->refs != 0)
        return;
    if (generation->runtime->worker == NULL) /* on the command line: no loop, nobody on the stack */
        close_generation(generation);
    else
        worker_defer(generation->runtime->worker, close_generation, generation);
}
