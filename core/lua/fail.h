/* Problems: the errors by which a script, or what it calls, ends a request with a status of its choice. */
#pragma once
#include <lua.h>
#include <stdbool.h>

/* Registers the global fail(status, detail?, extra?). */
void mod_fail_open(lua_State *L);

/* Raise one; they never return. `detail` may be NULL. */
int fail_raise(lua_State *L, int status, const char *detail);
/* A 422: `errors` is the index of its list of fields, `name` that of the only one's name. */
void fail_raise_fields(lua_State *L, int errors);
void fail_raise_field(lua_State *L, int name, const char *message);

bool fail_is_problem(lua_State *L, int index);

/* Raises "... is not available here" where a service is missing: on the command line, without a server. */
void fail_unless_there(lua_State *L, const void *service, const char *name);
