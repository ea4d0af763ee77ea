/* Lua's own functions, made to end: some loop in C for as long as their arguments say, out of the watchdog's
 * reach. What would take longer than some tenths of a second raises an error instead. */
#pragma once
#include <lua.h>

/* Puts the bounded ones in the place of those in the globals `string` and `table`. */
void bounded_open(lua_State *L);
