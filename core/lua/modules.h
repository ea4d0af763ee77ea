/* What C gives to scripts, one file a module. Each opener leaves its globals in place; scripts/README.md says
 * what they do. */
#pragma once
#include "lua/coroutine.h"
#include "lua/fail.h"
#include <lauxlib.h>
#include <lua.h>

void modules_open(lua_State *L);
void modules_open_pure(lua_State *L); /* those that compute and nothing else */

void mod_blob_open(lua_State *L);
void mod_concurrently_open(lua_State *L);
void mod_config_open(lua_State *L);
void mod_crypto_open(lua_State *L);
void mod_db_open(lua_State *L);
void mod_events_open(lua_State *L);
void mod_firmware_open(lua_State *L);
void mod_json_open(lua_State *L);
void mod_log_open(lua_State *L);
void mod_offers_open(lua_State *L);
void mod_redis_open(lua_State *L);
void mod_request_open(lua_State *L);
void mod_rollouts_open(lua_State *L);
void mod_server_open(lua_State *L);
void mod_time_open(lua_State *L);

/* server.settings(): list of {key, value, help}, secrets left out */
int mod_config_list(lua_State *L);
