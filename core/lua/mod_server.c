/* server.*: what admin and health routes show. */
#include "lua/json.h"
#include "lua/modules.h"
#include "lua/reload.h"
#include "lua/routes.h"
#include <stdlib.h>

static void push_problems(lua_State *L, const struct problems *problems)
{
    lua_createtable(L, (int)problems->count, 0);
    for (size_t i = 0; i < problems->count; i++) {
        const struct problem *problem = &problems->list[i];
        lua_createtable(L, 0, 4);
        lua_pushstring(L, problem->file);
        lua_setfield(L, -2, "file");
        lua_pushinteger(L, problem->line);
        lua_setfield(L, -2, "line");
        lua_pushstring(L, problem->warning ? "warning" : "error");
        lua_setfield(L, -2, "severity");
        lua_pushstring(L, problem->message);
        lua_setfield(L, -2, "message");
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    json_mark_list(L);
}

static const char state_type[] = "reload state";

static int free_state(lua_State *L)
{
    reload_state_free(luaL_checkudata(L, 1, state_type));
    return 0;
}

/* server.scripts(): {revision, files, loaded_at (seconds), problems} */
static int scripts(lua_State *L)
{
    struct reload *reload = runtime_of(L)->services->reload;
    fail_unless_there(L, reload, "server.scripts");
    struct reload_state *state = lua_newuserdatauv(L, sizeof(*state), 0);
    *state = (struct reload_state){0};
    luaL_setmetatable(L, state_type);
    reload_state(reload, state);
    lua_createtable(L, 0, 4);
    lua_pushstring(L, state->revision);
    lua_setfield(L, -2, "revision");
    lua_pushinteger(L, (lua_Integer)state->files);
    lua_setfield(L, -2, "files");
    lua_pushnumber(L, state->loaded_at);
    lua_setfield(L, -2, "loaded_at");
    push_problems(L, &state->problems);
    lua_setfield(L, -2, "problems");
    reload_state_free(state); /* or the collector does, should memory run out above */
    return 1;
}

static int reload_done(lua_State *L, int status, lua_KContext context)
{
    return scripts(L);
}

static void on_reloaded(void *arg)
{
    coroutine_resume_with(arg, NULL);
}

/* server.reload(): as server.scripts(), after the load */
static int reload_now(lua_State *L)
{
    struct runtime *runtime = runtime_of(L);
    fail_unless_there(L, runtime->services->reload, "server.reload");
    reload_request(runtime->services->reload, runtime->worker, on_reloaded, coroutine_to_wait(L));
    return lua_yieldk(L, 0, 0, reload_done);
}

/* server.ready(): {postgresql = true, redis = ..., mqtt = ..., scripts = ...} as this worker sees them */
static int ready(lua_State *L)
{
    struct runtime *runtime = runtime_of(L);
    fail_unless_there(L, runtime->services->app, "server.ready");
    lua_createtable(L, 0, 4);
    lua_pushboolean(L, runtime->pg != NULL && pg_ready(runtime->pg) && runtime->revocations_known);
    lua_setfield(L, -2, "postgresql");
    lua_pushboolean(L, runtime->redis != NULL && redis_ready(runtime->redis));
    lua_setfield(L, -2, "redis");
    lua_pushboolean(L, mqtt_ready(runtime->services->mqtt));
    lua_setfield(L, -2, "mqtt");
    lua_pushboolean(L, runtime->current != NULL);
    lua_setfield(L, -2, "scripts");
    return 1;
}

struct scrape {
    char *text;
    size_t len;
};

static int scrape_done(lua_State *L, int status, lua_KContext context)
{
    const struct scrape *scrape = lua_touserdata(L, -1);
    lua_pushlstring(L, scrape->text, scrape->len);
    return 1;
}

static void on_scraped(void *arg, char *text, size_t len)
{
    struct scrape scrape = {text, len};
    coroutine_resume_with(arg, &scrape);
    free(text);
}

/* server.metrics(): Prometheus text of the whole process */
static int metrics(lua_State *L)
{
    struct runtime *runtime = runtime_of(L);
    fail_unless_there(L, runtime->services->app, "server.metrics");
    runtime->services->scrape(runtime->services, runtime->worker, on_scraped, coroutine_to_wait(L));
    return lua_yieldk(L, 0, 0, scrape_done);
}

static void push_route(void *arg, const struct route *route)
{
    static const char *const who[] = {"anyone", "guest", "user", "operator"};
    lua_State *L = arg;
    lua_createtable(L, 0, 4);
    lua_pushstring(L, route->method);
    lua_setfield(L, -2, "method");
    lua_pushstring(L, route->path);
    lua_setfield(L, -2, "path");
    lua_pushstring(L, who[route->who]);
    lua_setfield(L, -2, "who");
    lua_pushstring(L, route->source);
    lua_setfield(L, -2, "source");
    lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
}

/* server.routes(): list of {method, path, who, source} */
static int list_routes(lua_State *L)
{
    lua_newtable(L);
    routes_each(coroutine_of(L)->generation->routes, push_route, L);
    json_mark_list(L);
    return 1;
}

/* server.first_scripts(): whether the scripts in force are those that the process started with */
static int first_scripts(lua_State *L)
{
    lua_pushboolean(L, runtime_of(L)->reloads == 0);
    return 1;
}

/* server.instance(): what tells this process from all others on the same database, the same for every
 * generation of scripts */
static int instance(lua_State *L)
{
    lua_pushstring(L, runtime_of(L)->services->instance);
    return 1;
}

/* server.ca(): the CA certificate that devices need for MQTT, PEM, or nil */
static int ca(lua_State *L)
{
    lua_pushstring(L, runtime_of(L)->services->mqtt_ca);
    return 1;
}

void mod_server_open(lua_State *L)
{
    static const luaL_Reg functions[] = {{"scripts", scripts},
                                         {"reload", reload_now},
                                         {"ready", ready},
                                         {"metrics", metrics},
                                         {"routes", list_routes},
                                         {"ca", ca},
                                         {"first_scripts", first_scripts},
                                         {"instance", instance},
                                         {"settings", mod_config_list},
                                         {NULL, NULL}};
    luaL_newmetatable(L, state_type);
    lua_pushcfunction(L, free_state);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
    luaL_newlib(L, functions);
    lua_pushliteral(L, OTAD_VERSION);
    lua_setfield(L, -2, "version");
    lua_setglobal(L, "server");
}
