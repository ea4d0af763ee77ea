/* redis(command, ...): the reply, or nil and an error's text. */
#include "lua/modules.h"

enum { MOST_ARGUMENTS = 16 };

struct answer {
    const char *err;
    const redisReply *reply;
};

static void push_reply(lua_State *L, const redisReply *reply)
{
    luaL_checkstack(L, 4, NULL);
    switch (reply->type) {
    case REDIS_REPLY_INTEGER:
        lua_pushinteger(L, reply->integer);
        break;
    case REDIS_REPLY_STRING:
    case REDIS_REPLY_STATUS:
        lua_pushlstring(L, reply->str, reply->len);
        break;
    case REDIS_REPLY_ARRAY:
        lua_createtable(L, (int)reply->elements, 0);
        for (size_t i = 0; i < reply->elements; i++) {
            push_reply(L, reply->element[i]);
            lua_rawseti(L, -2, (lua_Integer)i + 1);
        }
        break;
    default:
        lua_pushnil(L);
    }
}

static int on_answer(lua_State *L, int status, lua_KContext context)
{
    const struct answer *answer = lua_touserdata(L, -1);
    if (answer->err != NULL) {
        lua_pushnil(L);
        lua_pushstring(L, answer->err);
        return 2;
    }
    push_reply(L, answer->reply);
    return 1;
}

static void on_reply(void *arg, const char *err, const redisReply *reply)
{
    struct answer answer = {err, reply};
    coroutine_resume_with(arg, &answer);
}

static int command(lua_State *L)
{
    const char *args[MOST_ARGUMENTS];
    size_t lengths[MOST_ARGUMENTS];
    int count = lua_gettop(L);
    struct runtime *runtime = runtime_of(L);
    fail_unless_there(L, runtime->redis, "redis");
    luaL_argcheck(L, count >= 1 && count <= MOST_ARGUMENTS, count, "1 to 16 arguments");
    for (int i = 0; i < count; i++)
        args[i] = luaL_checklstring(L, i + 1, &lengths[i]);
    redis_command(runtime->redis, (size_t)count, args, lengths, on_reply, coroutine_to_wait(L));
    return lua_yieldk(L, 0, 0, on_answer);
}

void mod_redis_open(lua_State *L)
{
    lua_register(L, "redis", command);
}
