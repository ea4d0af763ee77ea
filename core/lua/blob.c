#include "lua/blob.h"
#include "base/mem.h"
#include "lua/modules.h"
#include <stdlib.h>
#include <string.h>

static const char blob_type[] = "blob";

struct bytes *bytes_hold(struct bytes *bytes)
{
    atomic_fetch_add(&bytes->refs, 1);
    return bytes;
}

void bytes_release(struct bytes *bytes)
{
    if (atomic_fetch_sub(&bytes->refs, 1) != 1)
        return;
    bytes->release(bytes->owner);
    free(bytes);
}

/* The userdata first, empty: if making it fails nothing has been taken. The collector sees a few bytes of
 * what may be many megabytes, so it is called when those that nobody may use any more add up. */
static struct blob_view *push_view(lua_State *L, size_t outside)
{
    struct generation *generation = coroutine_of(L)->generation;
    if (generation->outside != 0 && generation->outside + outside > generation->limit)
        lua_gc(L, LUA_GCCOLLECT);
    struct blob_view *view = lua_newuserdatauv(L, sizeof(*view), 0);
    *view = (struct blob_view){0};
    luaL_setmetatable(L, blob_type);
    view->counted = outside;
    generation->outside += outside;
    return view;
}

static void fill_view(struct blob_view *view, const uint8_t *data, size_t len, void (*release)(void *owner),
                      void *owner)
{
    struct bytes *bytes = x_new(struct bytes);
    atomic_init(&bytes->refs, 1);
    bytes->data = data;
    bytes->len = len;
    bytes->release = release;
    bytes->owner = owner;
    view->bytes = bytes;
    view->data = data;
    view->len = len;
}

struct bytes *blob_push_copy(lua_State *L, const void *data, size_t len)
{
    struct blob_view *view = push_view(L, len);
    char *copy = x_memdup(data, len);
    fill_view(view, (uint8_t *)copy, len, free, copy);
    return view->bytes;
}

void blob_push(lua_State *L, struct bytes *bytes, const uint8_t *data, size_t len)
{
    struct blob_view *view = push_view(L, 0);
    *view = (struct blob_view){.bytes = bytes_hold(bytes), .data = data, .len = len};
}

void blob_push_foreign(lua_State *L, const uint8_t *data, size_t len, void (*release)(void *owner),
                       void *owner)
{
    fill_view(push_view(L, len), data, len, release, owner);
}

const struct blob_view *blob_test(lua_State *L, int index)
{
    return luaL_testudata(L, index, blob_type);
}

const struct blob_view *blob_check(lua_State *L, int index)
{
    return luaL_checkudata(L, index, blob_type);
}

static int blob_gc(lua_State *L)
{
    struct blob_view *view = luaL_checkudata(L, 1, blob_type);
    if (view->bytes != NULL)
        bytes_release(view->bytes);
    coroutine_of(L)->generation->outside -= view->counted;
    *view = (struct blob_view){0};
    return 0;
}

static int blob_len(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)blob_check(L, 1)->len);
    return 1;
}

static int blob_tostring(lua_State *L)
{
    const struct blob_view *view = blob_check(L, 1);
    lua_pushlstring(L, (const char *)view->data, view->len);
    return 1;
}

/* blob:sub(i, j), as string.sub */
static int blob_sub(lua_State *L)
{
    const struct blob_view *view = blob_check(L, 1);
    lua_Integer len = (lua_Integer)view->len, first = luaL_checkinteger(L, 2),
                last = luaL_optinteger(L, 3, -1);
    first = first < 0 ? (len + first + 1 < 1 ? 1 : len + first + 1) : first < 1 ? 1 : first;
    last = last < 0 ? len + last + 1 : last > len ? len : last;
    lua_pushlstring(L, first > last ? "" : (const char *)view->data + first - 1,
                    first > last ? 0 : (size_t)(last - first + 1));
    return 1;
}

void mod_blob_open(lua_State *L)
{
    static const luaL_Reg methods[] = {{"sub", blob_sub}, {NULL, NULL}};
    static const luaL_Reg meta[] = {{"__gc", blob_gc},
                                    {"__len", blob_len},
                                    {"__tostring", blob_tostring},
                                    {NULL, NULL}};
    luaL_newmetatable(L, blob_type);
    luaL_setfuncs(L, meta, 0);
    luaL_newlib(L, methods);
    lua_setfield(L, -2, "__index");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
}
