/* Bytes outside Lua's memory, shared and counted: uploads and images. What Lua sees is a view into them. */
#pragma once
#include <lua.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct bytes {
    atomic_uint refs;
    const uint8_t *data;
    size_t len;
    void (*release)(void *owner);
    void *owner;
};

struct blob_view {
    struct bytes *bytes;
    const uint8_t *data;
    size_t len;
    size_t counted; /* of the generation's `outside` */
};

struct bytes *bytes_hold(struct bytes *bytes);
void bytes_release(struct bytes *bytes); /* any thread */

/* Push a userdata. The first copies; the second shares (takes a reference of its own); the third takes over
 * foreign memory, which `release` ends. */
struct bytes *blob_push_copy(lua_State *L, const void *data, size_t len);
void blob_push(lua_State *L, struct bytes *bytes, const uint8_t *data, size_t len);
void blob_push_foreign(lua_State *L, const uint8_t *data, size_t len, void (*release)(void *owner),
                       void *owner);

const struct blob_view *blob_test(lua_State *L, int index); /* NULL: not a blob */
const struct blob_view *blob_check(lua_State *L, int index);
