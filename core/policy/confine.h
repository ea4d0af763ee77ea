/* The globals of policies: pure functions only, and nothing that a script could change for the next call.
 *
 * What a policy sees of Lua: assert error ipairs pairs pcall require select tonumber tostring type, string
 * (without dump, pack, packsize, unpack), table, math (without random, randomseed), utf8. Globals and these
 * libraries are behind tables that can be read only. Deterministic where Lua is not: pairs goes through keys
 * in order (numbers, then texts bytewise, then booleans), table.sort is stable, and no function shows an
 * address. There are no metatables, so no finalizers, no to-be-closed values and no false lengths.
 *
 * What may still compute without end in C is pattern matching (backtracking) and work on tables as large as
 * the memory allows: the process of policies (policy/host) ends those. */
#pragma once
#include <lua.h>

/* Fills the globals of a new state; `require` becomes the global of that name. Protected call only. */
void confine_open(lua_State *L, lua_CFunction require);
