/* policies.save: the files of policies that were put in force over HTTP. */
#pragma once
#include <lua.h>

/* Adds it to the table on top. */
void mod_save_add(lua_State *L);
