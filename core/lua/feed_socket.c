#include "lua/feed_socket.h"
#include "base/log.h"
#include "base/mem.h"
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void feed_socket_open(lua_State *L, int index)
{
    struct coroutine *coroutine = coroutine_of(L);
    struct http_request *request = coroutine->request;
    struct runtime *runtime = runtime_of(L);
    struct feed_account account = {0};
    luaL_checktype(L, index, LUA_TTABLE);
    lua_getfield(L, index, "id");
    lua_getfield(L, index, "operator");
    lua_getfield(L, index, "sid");
    lua_getfield(L, index, "expires");
    account.id = (int32_t)luaL_checkinteger(L, -4);
    account.operator= lua_toboolean(L, -3);
    snprintf(account.sid, sizeof(account.sid), "%s", luaL_checkstring(L, -2));
    account.expires = luaL_checkinteger(L, -1);

    coroutine->request = NULL;
    if (!runtime->revocations_known)
        http_problem(request, 503, "The database does not answer.", "", NULL, 0);
    else if (revocations_has(runtime->revocations, account.sid) || account.expires <= time(NULL))
        http_problem(request, 401, "The session has ended.", "", NULL, 0);
    else
        feed_connect(runtime->feed, request, &account);
}

struct message {
    struct feed_client *client; /* NULL: gone */
    const char *text;           /* until the coroutine has begun */
    size_t len;
};

void feed_socket_gone(void *asking)
{
    ((struct message *)asking)->client = NULL;
}

/* Calls `change` with each text of the list `name` of the answer at 2. */
static void each_name(lua_State *L, struct feed_client *client, const char *name,
                      bool (*change)(struct feed_client *client, const char *name, size_t len),
                      const char *otherwise)
{
    if (lua_getfield(L, 2, name) == LUA_TTABLE) {
        for (lua_Integer i = 1; lua_rawgeti(L, 3, i) == LUA_TSTRING; i++, lua_settop(L, 3)) {
            size_t len;
            const char *topic = lua_tolstring(L, 4, &len);
            if (!change(client, topic, len))
                feed_complain(client, topic, len, otherwise);
        }
    }
    lua_settop(L, 2);
}

static void complain(lua_State *L, struct feed_client *client)
{
    if (lua_getfield(L, 2, "problems") == LUA_TTABLE) {
        for (lua_Integer i = 1; lua_rawgeti(L, 3, i) == LUA_TTABLE; i++, lua_settop(L, 3)) {
            size_t len = 0;
            lua_getfield(L, 4, "topic");
            lua_getfield(L, 4, "detail");
            const char *topic = lua_type(L, 5) == LUA_TSTRING ? lua_tolstring(L, 5, &len) : NULL;
            feed_complain(client, topic, len, luaL_checkstring(L, 6));
        }
    }
    lua_settop(L, 2);
}

/* Stack: the message, the handler's answer. */
static int take_answer(lua_State *L, int status, lua_KContext context)
{
    struct message *message = lua_touserdata(L, 1);
    if (message->client == NULL)
        return 0;
    luaL_checktype(L, 2, LUA_TTABLE);
    each_name(L, message->client, "unsubscribe", feed_unsubscribe, "there is no such topic");
    each_name(L, message->client, "subscribe", feed_subscribe,
              "there is no such topic, or the connection has as many as it may have");
    complain(L, message->client);
    if (lua_getfield(L, 2, "id") != LUA_TNIL)
        feed_done(message->client, luaL_checkinteger(L, 3));
    return 0;
}

static int run_handler(lua_State *L)
{
    struct message *message = lua_touserdata(L, 1);
    const struct feed_account *account = feed_client_account(message->client);
    lua_rawgeti(L, LUA_REGISTRYINDEX, coroutine_of(L)->generation->feed_handler);
    lua_createtable(L, 0, 2);
    lua_pushinteger(L, account->id);
    lua_setfield(L, -2, "id");
    lua_pushboolean(L, account->operator);
    lua_setfield(L, -2, "operator");
    lua_pushlstring(L, message->text, message->len);
    lua_callk(L, 2, 1, 0, take_answer);
    return take_answer(L, LUA_OK, 0);
}

static void on_end(struct coroutine *coroutine, bool ok, int results)
{
    struct message *message = coroutine->arg;
    if (!ok) {
        char *text = coroutine_error_text(coroutine);
        log_warn("script failed", LOG_STR("script", "topics/feed"), LOG_STR("error", text));
        free(text);
    }
    if (!ok && message->client != NULL)
        feed_complain(message->client, NULL, 0, "The server could not do that now; try again.");
    if (message->client != NULL)
        feed_answered(message->client);
    free(message);
}

void feed_socket_text(void *arg, struct feed_client *client, const char *text, size_t len, void **asking)
{
    struct runtime *runtime = arg;
    struct generation *generation = runtime->current;
    struct coroutine *coroutine = generation->feed_handler == LUA_NOREF ? NULL : coroutine_new(generation);
    if (coroutine == NULL) {
        feed_complain(client, NULL, 0, "The server takes no messages now.");
        feed_answered(client);
        return;
    }
    struct message *message = x_new(struct message);
    *message = (struct message){client, text, len};
    *asking = message;
    coroutine->arg = message;
    coroutine->on_end = on_end;
    lua_pushcfunction(coroutine->L, run_handler);
    lua_pushlightuserdata(coroutine->L, message);
    coroutine_resume(coroutine, 1);
}
