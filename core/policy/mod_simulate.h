/* policies.simulate and policies.replay: what takes seconds, on a host and a thread of its own. */
#pragma once
#include <lua.h>

/* Adds them to the table on top. */
void mod_simulate_add(lua_State *L);
