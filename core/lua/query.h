/* Query strings as tables of scripts: application/x-www-form-urlencoded, strictly. */
#pragma once
#include <h2o.h>
#include <lua.h>
#include <stdbool.h>

/* Pushes {name = value}, all UTF-8 without NUL, or raises 400 or 422: more than 32 fields, a broken escape, a
 * name given twice. */
void query_push(lua_State *L, h2o_iovec_t query);

/* Whether a text on the stack is UTF-8 without NUL: neither PostgreSQL nor an answer could take anything
 * else. */
bool query_is_text(lua_State *L, int index);
