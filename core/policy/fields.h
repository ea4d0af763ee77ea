/* The names that policies are written with, their types and what they mean: one table for the checker, for
 * editors and for whoever compares the documentation. */
#pragma once
#include <lua.h>

/* Pushes {policy, device, rollout, stats, ctx = lists of {name, type, text, fields?}, verdicts = {admit,
 * advance}}. Protected call only. */
void fields_push(lua_State *L);
