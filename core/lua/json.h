/* JSON between Lua and bytes, strict both ways. Reading is jansson's (RFC 8259; no duplicates, no NUL, valid
 * UTF-8, integers stay integers); writing is ours, since rows keep their columns' order and empty lists stay
 * lists. Both raise Lua errors: protected calls only. */
#pragma once
#include "base/buffer.h"
#include <lua.h>
#include <stdbool.h>

/* Pushes the value. False: not JSON; pushes nothing, `message` says what and where, without the text itself.
 */
bool json_read(lua_State *L, const char *text, size_t len, char *message, size_t size);

/* Appends the value at `index`. Raises for functions, NaN, infinities, mixed keys and depth over 64. */
void json_write(lua_State *L, int index, struct buffer *out);

/* Marks the table on top as a list, so that an empty one is written []. */
void json_mark_list(lua_State *L);
bool json_is_list(lua_State *L, int index);

/* Pushes a metatable for rows of these columns: written in this order, absent ones as null, then others. */
void json_push_row_metatable(lua_State *L, int columns, const char *(*name)(const void *arg, int i),
                             const void *arg);

/* Makes the marks; once a state. */
void json_open(lua_State *L);
