/* JSON objects, as PostgreSQL writes them, into Lua values for policies. Unlike lua/json a null is nil, so
 * that `device.telemetry.battery or 100` means what it says, and nothing is built in between: this runs for
 * every device of every batch. Trusts that the text is JSON in UTF-8 as far as meaning goes, and nothing as
 * far as memory goes. */
#pragma once
#include <lua.h>
#include <stddef.h>

/* Pushes the object. Raises "NAME is not a JSON object" for anything else: protected calls only. The text, or
 * a larger one that it is part of, is NUL-terminated. Numbers beyond 64 bits become floats. */
void values_push(lua_State *L, const char *name, const char *text, size_t len);
