/* crypto.*: passwords, random texts, seals; jwt.sign; sessions.revoke. */
#include "base/mem.h"
#include "lua/modules.h"
#include "lua/work.h"
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* OWASP's floor for Argon2id: 19 MiB, two passes. Stored hashes may not ask for more than four times that. */
enum { HASH_PASSES = 2, MOST_PASSES = 8 };
static const size_t hash_memory = 19 * 1024 * 1024, most_memory = 76 * 1024 * 1024;

struct password_work {
    struct work work;
    char *password;
    size_t len;
    char hash[crypto_pwhash_STRBYTES];
    bool known, good, fits; /* good: it could be hashed */
};

static const char no_memory[] = "The server has no memory to hash a password.";

static void drop_password(struct work *work)
{
    struct password_work *password = (struct password_work *)work;
    sodium_memzero(password->password, password->len);
    free(password->password);
    free(password);
}

static struct password_work *new_password_work(lua_State *L, int index, void (*run)(struct work *work))
{
    size_t len;
    const char *text = luaL_checklstring(L, index, &len);
    struct password_work *password = x_new(struct password_work);
    password->work.run = run;
    password->work.drop = drop_password;
    password->password = x_memdup(text, len);
    password->len = len;
    return password;
}

static void run_hash(struct work *work)
{
    struct password_work *password = (struct password_work *)work;
    password->good = crypto_pwhash_str_alg(password->hash, password->password, password->len, HASH_PASSES,
                                           hash_memory, crypto_pwhash_ALG_ARGON2ID13) == 0;
}

static int hash_done(lua_State *L, int status, lua_KContext context)
{
    struct password_work *password = lua_touserdata(L, -1);
    char hash[crypto_pwhash_STRBYTES];
    bool good = password->good;
    memcpy(hash, password->hash, sizeof(hash));
    drop_password(&password->work);
    if (!good)
        return fail_raise(L, 503, no_memory);
    lua_pushstring(L, hash);
    return 1;
}

/* crypto.hash_password(text) */
static int hash_password(lua_State *L)
{
    return work_start(L, &new_password_work(L, 1, run_hash)->work, hash_done);
}

struct stored_hash { /* "$argon2id$v=19$m=19456,t=2,p=1$<salt>$<hash>", base64 without padding */
    unsigned long kilobytes, passes;
    unsigned char salt[crypto_pwhash_SALTBYTES], hash[32];
};

static bool read_base64(unsigned char *out, size_t size, const char *text, size_t len)
{
    size_t got;
    return sodium_base642bin(out, size, text, len, NULL, &got, NULL,
                             sodium_base64_VARIANT_ORIGINAL_NO_PADDING) == 0 &&
           got == size;
}

/* False for another form, and for one that asks for more than we are ready to spend. */
static bool read_hash(const char *text, struct stored_hash *stored)
{
    int at = 0;
    if (sscanf(text, "$argon2id$v=19$m=%lu,t=%lu,p=1$%n", &stored->kilobytes, &stored->passes, &at) != 2 ||
        at == 0 || stored->kilobytes > most_memory / 1024 || stored->passes > MOST_PASSES)
        return false;
    const char *salt = text + at, *hash = strchr(salt, '$');
    return hash != NULL && read_base64(stored->salt, sizeof(stored->salt), salt, (size_t)(hash - salt)) &&
           read_base64(stored->hash, sizeof(stored->hash), hash + 1, strlen(hash + 1));
}

/* Not crypto_pwhash_str_verify(): it does not tell a wrong password from one it had no memory to check. */
static void run_verify(struct work *work)
{
    struct password_work *password = (struct password_work *)work;
    struct stored_hash stored;
    unsigned char hash[sizeof(stored.hash)];
    if (!password->known || !read_hash(password->hash, &stored)) {
        run_hash(work); /* as long as a verification: an unknown account must not answer sooner */
        return;
    }
    password->good = crypto_pwhash(hash, sizeof(hash), password->password, password->len, stored.salt,
                                   stored.passes, stored.kilobytes * 1024, crypto_pwhash_ALG_ARGON2ID13) == 0;
    password->fits = password->good && sodium_memcmp(hash, stored.hash, sizeof(hash)) == 0;
}

static int verify_done(lua_State *L, int status, lua_KContext context)
{
    struct password_work *password = lua_touserdata(L, -1);
    bool good = password->good, fits = password->fits;
    drop_password(&password->work);
    if (!good)
        return fail_raise(L, 503, no_memory);
    lua_pushboolean(L, fits);
    return 1;
}

/* crypto.verify_password(hash or nil, text) */
static int verify_password(lua_State *L)
{
    const char *hash = luaL_optstring(L, 1, NULL);
    struct password_work *password = new_password_work(L, 2, run_verify);
    password->known = hash != NULL && strlen(hash) < sizeof(password->hash);
    if (password->known)
        strcpy(password->hash, hash);
    return work_start(L, &password->work, verify_done);
}

static void push_base64url(lua_State *L, const void *data, size_t len)
{
    luaL_Buffer buffer;
    size_t room = sodium_base64_ENCODED_LEN(len, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    char *out = luaL_buffinitsize(L, &buffer, room);
    sodium_bin2base64(out, room, data, len, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    luaL_pushresultsize(&buffer, room - 1);
}

/* crypto.random(n) */
static int random_text(lua_State *L)
{
    unsigned char bytes[256];
    lua_Integer count = luaL_checkinteger(L, 1);
    luaL_argcheck(L, count >= 1 && count <= (lua_Integer)sizeof(bytes), 1, "1 to 256 bytes");
    randombytes_buf(bytes, (size_t)count);
    push_base64url(L, bytes, (size_t)count);
    return 1;
}

/* crypto.sha256(text): hex */
static int sha256(lua_State *L)
{
    size_t len;
    unsigned char hash[crypto_hash_sha256_BYTES];
    char hex[2 * sizeof(hash) + 1];
    const char *text = luaL_checklstring(L, 1, &len);
    crypto_hash_sha256(hash, (const unsigned char *)text, len);
    lua_pushstring(L, sodium_bin2hex(hex, sizeof(hex), hash, sizeof(hash)));
    return 1;
}

enum { SEAL = 16 }; /* bytes of HMAC-SHA256 that go before the text */

static void make_seal(lua_State *L, const char *text, size_t len,
                      unsigned char seal[crypto_auth_hmacsha256_BYTES])
{
    crypto_auth_hmacsha256(seal, (const unsigned char *)text, len, runtime_of(L)->services->seal_key);
}

/* crypto.seal(text): base64url(seal | text) */
static int seal(lua_State *L)
{
    size_t len;
    unsigned char hash[crypto_auth_hmacsha256_BYTES];
    const char *text = luaL_checklstring(L, 1, &len);
    luaL_argcheck(L, len <= 1024, 1, "too long");
    make_seal(L, text, len, hash);
    lua_pushlstring(L, (const char *)hash, SEAL);
    lua_pushvalue(L, 1);
    lua_concat(L, 2);
    text = lua_tolstring(L, -1, &len);
    push_base64url(L, text, len);
    return 1;
}

/* crypto.unseal(text): nil for what we did not seal */
static int unseal(lua_State *L)
{
    size_t len, n;
    unsigned char bytes[SEAL + 1024], hash[crypto_auth_hmacsha256_BYTES];
    const char *text = luaL_checklstring(L, 1, &len);
    if (sodium_base642bin(bytes, sizeof(bytes), text, len, NULL, &n, NULL,
                          sodium_base64_VARIANT_URLSAFE_NO_PADDING) != 0 ||
        n < SEAL)
        return 0;
    make_seal(L, (char *)bytes + SEAL, n - SEAL, hash);
    if (sodium_memcmp(hash, bytes, SEAL) != 0)
        return 0;
    lua_pushlstring(L, (char *)bytes + SEAL, n - SEAL);
    return 1;
}

/* jwt.sign{sub = id, role = "user", sid = uuid}: token, seconds */
static int jwt_sign_claims(lua_State *L)
{
    struct runtime *runtime = runtime_of(L);
    const struct config *config = runtime->services->config;
    struct jwt_claims claims = {0};
    char token[1024];
    unsigned char id[12];
    fail_unless_there(L, runtime->services->jwt_keys, "jwt");
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    lua_getfield(L, 1, "sub");
    lua_getfield(L, 1, "role");
    lua_getfield(L, 1, "sid");
    claims.sub = luaL_checkinteger(L, 2);
    claims.role = strcmp(luaL_checkstring(L, 3), "operator") == 0 ? JWT_OPERATOR : JWT_USER;
    snprintf(claims.sid, sizeof(claims.sid), "%s", luaL_checkstring(L, 4));
    randombytes_buf(id, sizeof(id));
    sodium_bin2base64(claims.jti, sizeof(claims.jti), id, sizeof(id),
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    claims.iat = (int64_t)time(NULL);
    claims.exp = claims.iat + config->auth_access_ttl / 1000;
    if (jwt_sign(runtime->services->jwt_keys, &claims, config->auth_issuer, config->auth_audience, token,
                 sizeof(token)) == 0)
        return luaL_error(L, "claims that no token can carry");
    lua_pushstring(L, token);
    lua_pushinteger(L, config->auth_access_ttl / 1000);
    return 2;
}

/* sessions.revoke(sid): at once on each worker of this instance; the database tells the others. */
static int revoke_session(lua_State *L)
{
    const struct services *services = runtime_of(L)->services;
    const char *sid = luaL_checkstring(L, 1);
    fail_unless_there(L, services->app, "sessions");
    services->revoke_session(services, sid);
    return 0;
}

void mod_crypto_open(lua_State *L)
{
    static const luaL_Reg crypto[] = {{"hash_password", hash_password},
                                      {"verify_password", verify_password},
                                      {"random", random_text},
                                      {"sha256", sha256},
                                      {"seal", seal},
                                      {"unseal", unseal},
                                      {NULL, NULL}};
    static const luaL_Reg jwt[] = {{"sign", jwt_sign_claims}, {NULL, NULL}};
    static const luaL_Reg sessions[] = {{"revoke", revoke_session}, {NULL, NULL}};
    luaL_newlib(L, crypto);
    lua_setglobal(L, "crypto");
    luaL_newlib(L, jwt);
    lua_setglobal(L, "jwt");
    luaL_newlib(L, sessions);
    lua_setglobal(L, "sessions");
}
