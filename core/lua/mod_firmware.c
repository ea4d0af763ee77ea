/* firmware.*: images are parsed on the offload pool and kept in the store; keys.*: whom devices trust. */
#include "base/mem.h"
#include "fleet/image.h"
#include "lua/blob.h"
#include "lua/json.h"
#include "lua/modules.h"
#include "lua/work.h"
#include <limits.h>
#include <stdlib.h>
#include <string.h>

struct image_work {
    struct work work;
    struct bytes *bytes;
    const uint8_t *data;
    size_t len;
    bool sound;
    struct image image;
    struct image_error error;
};

static void drop_image(struct work *work)
{
    struct image_work *image = (struct image_work *)work;
    bytes_release(image->bytes);
    free(image);
}

static void run_parse(struct work *work)
{
    struct image_work *image = (struct image_work *)work;
    image->sound = image_parse(image->data, image->len, &image->image, &image->error);
}

static void set_text(lua_State *L, const char *name, const char *text)
{
    lua_pushstring(L, text);
    lua_setfield(L, -2, name);
}

static void set_integer(lua_State *L, const char *name, lua_Integer value)
{
    lua_pushinteger(L, value);
    lua_setfield(L, -2, name);
}

static int parse_done(lua_State *L, int status, lua_KContext context)
{
    struct image_work *work = lua_touserdata(L, -1);
    struct image image = work->image;
    struct image_error error = work->error;
    bool sound = work->sound;
    drop_image(&work->work);
    if (!sound) {
        lua_pushnil(L);
        lua_createtable(L, 0, 3);
        set_text(L, "check", error.check);
        set_text(L, "message", error.message);
        set_integer(L, "offset", (lua_Integer)error.offset);
        return 2;
    }
    lua_createtable(L, 0, 10);
    set_text(L, "chip", image.chip);
    set_text(L, "version", image.version);
    set_text(L, "project", image.project);
    set_text(L, "idf_version", image.idf_version);
    set_text(L, "sha256", image.sha256);
    set_text(L, "elf_sha256", image.elf_sha256);
    set_text(L, "signature_kind", secure_boot_name(image.signature_kind));
    set_integer(L, "size", (lua_Integer)image.size);
    set_integer(L, "secure_version", image.secure_version);
    set_integer(L, "min_chip_revision", image.min_chip_revision);
    return 1;
}

/* firmware.parse(blob) */
static int parse(lua_State *L)
{
    const struct blob_view *view = blob_check(L, 1);
    struct image_work *work = x_new(struct image_work);
    work->work.run = run_parse;
    work->work.drop = drop_image;
    work->bytes = bytes_hold(view->bytes);
    work->data = view->data;
    work->len = view->len;
    return work_start(L, &work->work, parse_done);
}

struct stored {
    const char *err;
    struct blob *blob;
};

static const char *store_error(const char *err)
{
    return err == store_error_not_found ? "not_found"
           : err == store_error_full    ? "no_space"
           : err == store_error_name    ? "bad_name"
           : err == store_error_damaged ? "damaged"
           : err == store_error_busy    ? "busy"
                                        : "failed";
}

static void release_stored(void *owner)
{
    blob_release(owner);
}

/* What the store answered: nil and a name of what went wrong, the image that was opened, or true. */
static int store_done(lua_State *L, int status, lua_KContext context)
{
    struct stored *stored = lua_touserdata(L, -1);
    struct blob *blob = stored->blob;
    if (stored->err == store_error_busy)
        return fail_raise(L, 503, "The server has too much work of this kind.");
    if (stored->err != NULL) {
        lua_pushnil(L);
        lua_pushstring(L, store_error(stored->err));
        return 2;
    }
    if (blob == NULL) {
        lua_pushboolean(L, 1);
    } else {
        blob_push_foreign(L, blob->data, blob->size, release_stored, blob);
        stored->blob = NULL; /* taken */
    }
    return 1;
}

static void on_opened(void *arg, const char *err, struct blob *blob)
{
    struct stored stored = {err, blob};
    coroutine_resume_with(arg, &stored);
    blob_release(stored.blob); /* not taken: no memory left for it */
}

static void on_removed(void *arg, const char *err)
{
    on_opened(arg, err, NULL);
}

static void on_put(void *arg, const char *err, const char *sha256)
{
    on_opened(arg, err, NULL);
}

static struct store *store_of(lua_State *L, const char *function)
{
    struct store *images = runtime_of(L)->services->store;
    fail_unless_there(L, images, function);
    return images;
}

/* firmware.store(blob). The blob stays at 1, alive, while this waits. */
static int store(lua_State *L)
{
    const struct blob_view *view = blob_check(L, 1);
    store_put(store_of(L, "firmware.store"), runtime_of(L)->worker, view->data, view->len, on_put,
              coroutine_to_wait(L));
    return lua_yieldk(L, 0, 0, store_done);
}

static unsigned age_at(lua_State *L, int index)
{
    lua_Integer age = luaL_optinteger(L, index, 0);
    luaL_argcheck(L, age >= 0 && age <= INT_MAX, index, "seconds");
    return (unsigned)age;
}

/* firmware.remove(sha256[, age]) */
static int remove_image(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    unsigned age = age_at(L, 2);
    store_delete(store_of(L, "firmware.remove"), runtime_of(L)->worker, name, age, on_removed,
                 coroutine_to_wait(L));
    return lua_yieldk(L, 0, 0, store_done);
}

struct listed {
    const char *err, *names;
    size_t count;
};

static int list_done(lua_State *L, int status, lua_KContext context)
{
    const struct listed *listed = lua_touserdata(L, -1);
    enum { NAME = 64 };
    if (listed->err != NULL)
        return luaL_error(L, "%s", listed->err);
    lua_createtable(L, (int)listed->count, 0);
    for (size_t i = 0; i < listed->count; i++) {
        lua_pushlstring(L, listed->names + i * NAME, NAME);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    json_mark_list(L);
    return 1;
}

static void on_listed(void *arg, const char *err, const char *names, size_t count)
{
    struct listed listed = {err, names, count};
    coroutine_resume_with(arg, &listed);
}

/* firmware.stored([age]): names of what was last stored that many seconds ago or more */
static int stored_images(lua_State *L)
{
    unsigned age = age_at(L, 1);
    store_list(store_of(L, "firmware.stored"), runtime_of(L)->worker, age, on_listed, coroutine_to_wait(L));
    return lua_yieldk(L, 0, 0, list_done);
}

/* firmware.open(sha256) */
static int open_image(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    store_open(store_of(L, "firmware.open"), runtime_of(L)->worker, name, on_opened, coroutine_to_wait(L));
    return lua_yieldk(L, 0, 0, store_done);
}

/* firmware.verify(chip, version, sha256, signature): key id or nil */
static int verify(lua_State *L)
{
    size_t len;
    const char *signature = luaL_checklstring(L, 4, &len);
    const struct signing_public *key =
        signing_release_verify(&runtime_of(L)->services->release_trust, luaL_checkstring(L, 1),
                               luaL_checkstring(L, 2), luaL_checkstring(L, 3), signature, len);
    if (key == NULL)
        return 0;
    lua_pushstring(L, key->id);
    return 1;
}

/* firmware.sign(chip, version, sha256): signature, key id; nothing where the server has no release key */
static int sign(lua_State *L)
{
    char signature[SIGNING_SIGNATURE_LEN + 1];
    const struct signing_key *key = runtime_of(L)->services->auto_sign_key;
    if (key == NULL || !signing_release_sign(key, luaL_checkstring(L, 1), luaL_checkstring(L, 2),
                                             luaL_checkstring(L, 3), signature))
        return 0;
    lua_pushstring(L, signature);
    lua_pushstring(L, key->public.id);
    return 2;
}

static void open_keys(lua_State *L, const struct services *services)
{
    const struct signing_trust *trust = &services->release_trust;
    lua_createtable(L, 0, 3);
    lua_newtable(L);
    if (services->manifest_key != NULL)
        set_text(L, services->manifest_key->public.text, services->manifest_key->public.id);
    for (size_t i = 0; i < trust->count; i++)
        set_text(L, trust->keys[i].text, trust->keys[i].id);
    lua_setfield(L, -2, "ids");
    if (services->manifest_key != NULL)
        set_text(L, "manifest", services->manifest_key->public.text);
    lua_createtable(L, (int)trust->count, 0);
    for (size_t i = 0; i < trust->count; i++) {
        lua_pushstring(L, trust->keys[i].text);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_setfield(L, -2, "release");
    lua_setglobal(L, "keys");
}

void mod_firmware_open(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"parse", parse},          {"store", store},   {"remove", remove_image}, {"open", open_image},
        {"stored", stored_images}, {"verify", verify}, {"sign", sign},           {NULL, NULL}};
    luaL_newlib(L, functions);
    lua_setglobal(L, "firmware");
    open_keys(L, runtime_of(L)->services);
}
