/* The globals that scripts see: what is safe of Lua's own, then the bound modules. */
#pragma once
#include <lua.h>

/* Fills the globals of a new state. Protected call only. */
void sandbox_open(lua_State *L);
/* Only what has no effect outside the state, and asks nothing of the system: Lua's own, json, rollouts,
 * time. */
void sandbox_open_pure(lua_State *L);
/* After loading: undefined globals are errors, and none can be made. */
void sandbox_close(lua_State *L);
