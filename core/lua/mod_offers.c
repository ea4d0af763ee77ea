/* offers.*: signed manifests, download tokens, and word that there is something to publish. */
#include "lua/json.h"
#include "lua/modules.h"

/* offers.manifest{{name, value}, ...}: {"manifest", "signature", "key"} as JSON text. The manifest's members
 * keep the order given: its bytes are what is signed. */
static int manifest(lua_State *L)
{
    struct runtime *runtime = runtime_of(L);
    const struct signing_key *key = runtime->services->manifest_key;
    struct buffer *out = &runtime->out;
    char signature[SIGNING_SIGNATURE_LEN + 1];

    fail_unless_there(L, key, "offers.manifest");
    luaL_checktype(L, 1, LUA_TTABLE);
    out->len = 0;
    buffer_putc(out, '{');
    for (lua_Integer i = 1; lua_rawgeti(L, 1, i) == LUA_TTABLE; i++, lua_settop(L, 1)) {
        lua_rawgeti(L, 2, 1);
        if (i > 1)
            buffer_putc(out, ',');
        json_write(L, 3, out);
        buffer_putc(out, ':');
        lua_rawgeti(L, 2, 2);
        json_write(L, 4, out);
    }
    buffer_putc(out, '}');
    signing_sign(key, out->data, out->len, signature);
    lua_settop(L, 0);
    lua_pushlstring(L, out->data, out->len);
    size_t len;
    const char *text = lua_tolstring(L, 1, &len);

    out->len = 0;
    buffer_puts(out, "{\"manifest\":");
    buffer_put_json(out, text, len);
    buffer_printf(out, ",\"signature\":\"%s\",\"key\":\"%s\"}", signature, key->public.id);
    lua_pushlstring(L, out->data, out->len);
    return 1;
}

/* offers.token(update_id) */
static int token(lua_State *L)
{
    char text[OTA_TOKEN_LEN + 1];
    lua_Integer id = luaL_checkinteger(L, 1);
    luaL_argcheck(L, id > 0, 1, "must be positive");
    ota_token_make(&runtime_of(L)->services->ota_key, id, text);
    lua_pushstring(L, text);
    return 1;
}

/* offers.read_token(text): the update's id, or nil */
static int read_token(lua_State *L)
{
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    int64_t id = ota_token_verify(&runtime_of(L)->services->ota_key, text, len);
    if (id <= 0)
        return 0;
    lua_pushinteger(L, id);
    return 1;
}

static int poke(lua_State *L)
{
    const struct services *services = runtime_of(L)->services;
    fail_unless_there(L, services->app, "offers.poke");
    services->poke_offers(services);
    return 0;
}

void mod_offers_open(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"manifest", manifest}, {"token", token}, {"read_token", read_token}, {"poke", poke}, {NULL, NULL}};
    luaL_newlib(L, functions);
    lua_setglobal(L, "offers");
}
