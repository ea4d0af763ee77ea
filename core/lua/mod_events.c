/* events.*: the live feed. Nothing waits here, and where nobody listens nothing is made. */
#include "lua/json.h"
#include "lua/modules.h"

enum { MOST_TOPICS = 8 };

/* The list of names at `index`; with an owner the device lists of that account, too. */
static size_t read_topics(lua_State *L, int index, int32_t owner, uint64_t topics[MOST_TOPICS])
{
    size_t count = 0;
    luaL_checktype(L, index, LUA_TTABLE);
    for (lua_Integer i = 1; lua_rawgeti(L, index, i) == LUA_TSTRING; i++, lua_pop(L, 1)) {
        size_t len;
        const char *name = lua_tolstring(L, -1, &len);
        uint64_t topic = feed_topic_read(name, len);
        luaL_argcheck(L, topic != 0 && count < MOST_TOPICS - 1, index, "a list of up to 6 topics");
        topics[count++] = topic;
        if (topic == FEED_TOPIC(FEED_DEVICES, 0) && owner > 0)
            topics[count++] = FEED_TOPIC(FEED_DEVICES, owner);
    }
    lua_pop(L, 1);
    return count;
}

/* events.wanted(topics?, owner?): without topics, whether anybody listens to anything */
static int wanted(lua_State *L)
{
    uint64_t topics[MOST_TOPICS];
    const struct feed *feed = runtime_of(L)->feed;
    if (lua_isnoneornil(L, 1)) {
        lua_pushboolean(L, feed != NULL && feed_watched(feed));
        return 1;
    }
    size_t count = read_topics(L, 1, (int32_t)luaL_optinteger(L, 2, 0), topics);
    lua_pushboolean(L, feed != NULL && feed_wanted(feed, topics, count));
    return 1;
}

/* events.publish(event, topics, data, owner?) */
static int publish(lua_State *L)
{
    uint64_t topics[MOST_TOPICS];
    struct runtime *runtime = runtime_of(L);
    int event = luaL_checkoption(L, 1, NULL, feed_events);
    size_t count = read_topics(L, 2, (int32_t)luaL_optinteger(L, 4, 0), topics);
    if (runtime->feed == NULL || !feed_wanted(runtime->feed, topics, count))
        return 0;
    runtime->out.len = 0;
    json_write(L, 3, &runtime->out);
    feed_publish(runtime->feed, (enum feed_event)event, topics, count, runtime->out.data, runtime->out.len);
    return 0;
}

/* events.updates(list): ids, or rows that have an id */
static int updates(lua_State *L)
{
    struct runtime *runtime = runtime_of(L);
    luaL_checktype(L, 1, LUA_TTABLE);
    if (runtime->feed == NULL || !feed_watched(runtime->feed))
        return 0;
    for (lua_Integer i = 1; lua_geti(L, 1, i) != LUA_TNIL; i++, lua_settop(L, 1)) {
        if (lua_istable(L, 2))
            lua_getfield(L, 2, "id");
        update_news_tell(runtime->news, (int32_t)luaL_checkinteger(L, -1));
    }
    return 0;
}

void mod_events_open(lua_State *L)
{
    static const luaL_Reg functions[] = {{"wanted", wanted},
                                         {"publish", publish},
                                         {"updates", updates},
                                         {NULL, NULL}};
    luaL_newlib(L, functions);
    lua_setglobal(L, "events");
}
