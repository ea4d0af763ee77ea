#include "lua/modules.h"
#include "lua/json.h"

void modules_open(lua_State *L)
{
    json_open(L);
    mod_blob_open(L);
    mod_concurrently_open(L);
    mod_config_open(L);
    mod_crypto_open(L);
    mod_db_open(L);
    mod_events_open(L);
    mod_fail_open(L);
    mod_firmware_open(L);
    mod_json_open(L);
    mod_log_open(L);
    mod_offers_open(L);
    mod_redis_open(L);
    mod_request_open(L);
    mod_rollouts_open(L);
    mod_server_open(L);
    mod_time_open(L);
}

void modules_open_pure(lua_State *L)
{
    json_open(L);
    mod_json_open(L);
    mod_rollouts_open(L);
    mod_time_open(L);
}
