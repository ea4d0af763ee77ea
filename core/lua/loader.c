#include "lua/loader.h"
#include "lua/routes.h"
#include "lua/sandbox.h"
#include "lua/tasks.h"
#include <stdlib.h>
#include <string.h>

static int open_state(lua_State *L)
{
    sandbox_open(L);
    sandbox_close(L);
    return 0;
}

static int load_file(lua_State *L)
{
    const struct bundle_file *file = lua_touserdata(L, 1);
    struct generation *generation = coroutine_of(L)->generation;
    generation_require(L, file->name);
    if (strncmp(file->name, "routes/", 7) == 0)
        routes_add(generation->routes, L, file->path);
    else if (strncmp(file->name, "tasks/", 6) == 0)
        tasks_add(generation, L, file);
    else if (strcmp(file->name, "topics/status") == 0)
        tasks_set_handler(&generation->status_handler, L, file);
    else if (strcmp(file->name, "topics/feed") == 0)
        tasks_set_handler(&generation->feed_handler, L, file);
    return 0;
}

static void drop(struct generation *generation)
{
    routes_free(generation->routes);
    free(generation->tasks);
}

struct generation *loader_open(struct runtime *runtime, struct bundle *bundle, struct problems *problems)
{
    struct generation *generation = generation_new(runtime, bundle);
    generation->routes = routes_new();
    generation->drop = drop;
    if (generation_call(generation, open_state, NULL, "", problems))
        return generation;
    generation_release(generation);
    return NULL;
}

struct generation *loader_load(struct runtime *runtime, struct bundle *bundle, struct problems *problems)
{
    struct generation *generation = loader_open(runtime, bundle, problems);
    for (size_t i = 0; generation != NULL && i < bundle->count; i++) {
        /* After one broken file the others are still looked at: all problems show at once. Policies are none
         * of ours: they run confined, and one that is broken stops no other script (policy/shelf). */
        if (!bundle_is_test(&bundle->files[i]) && strncmp(bundle->files[i].name, "policies/", 9) != 0)
            generation_call(generation, load_file, &bundle->files[i], bundle->files[i].path, problems);
    }
    if (generation == NULL || problems->count != 0) {
        if (generation != NULL)
            generation_release(generation);
        return NULL;
    }
    lua_gc(generation->L, LUA_GCCOLLECT);
    return generation;
}
