#include "cli/policy_tests.h"
#include "base/embed.h"
#include "base/mem.h"
#include "fleet/rollout.h"
#include "policy/declare.h"
#include "policy/shelf.h"
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

EMBED(policy_tests_lua, "cli/policy_tests.lua");

/* Registry keys: the struct policy_tests; the function to call before each test. */
static const char tests_key, reset_key;

static const char own_chunk[] = "=policy_tests.lua", *const own_name = own_chunk + 1;

struct ran { /* of one file */
    char *file;
    bool *lines;
    int count;
};

struct policy_tests {
    struct policies policies;
    struct bundle *bundle;
    struct shelf shelf;
    struct policy **loaded;
    size_t loaded_count;
    struct ran *ran;
    size_t ran_count;
};

static struct policy_tests *tests_of(lua_State *L)
{
    lua_rawgetp(L, LUA_REGISTRYINDEX, &tests_key);
    struct policy_tests *tests = lua_touserdata(L, -1);
    lua_pop(L, 1);
    return tests;
}

static struct ran *ran_of(struct policy_tests *tests, const char *file)
{
    for (size_t i = 0; i < tests->ran_count; i++) {
        if (strcmp(tests->ran[i].file, file) == 0)
            return &tests->ran[i];
    }
    return NULL;
}

static void on_line(void *arg, const char *file, int line)
{
    struct policy_tests *tests = arg;
    struct ran *ran = ran_of(tests, file);
    if (ran == NULL) {
        tests->ran = x_realloc(tests->ran, (tests->ran_count + 1) * sizeof(*tests->ran));
        ran = &tests->ran[tests->ran_count++];
        *ran = (struct ran){.file = x_strdup(file)};
    }
    if (line >= ran->count) {
        int count = 2 * line + 64;
        ran->lines = x_realloc(ran->lines, (size_t)count * sizeof(*ran->lines));
        memset(ran->lines + ran->count, 0, (size_t)(count - ran->count) * sizeof(*ran->lines));
        ran->count = count;
    }
    ran->lines[line] = true;
}

/* fail(message): where the test called, past the functions that test gives */
static int fail(lua_State *L)
{
    lua_Debug caller;
    for (int level = 1; lua_getstack(L, level, &caller) != 0; level++) {
        lua_getinfo(L, "Sl", &caller);
        if (caller.currentline > 0 && strcmp(caller.short_src, own_name) != 0) {
            lua_pushfstring(L, "%s:%d: %s", caller.short_src, caller.currentline, luaL_checkstring(L, 1));
            lua_replace(L, 1);
            break;
        }
    }
    lua_settop(L, 1);
    return lua_error(L);
}

/* load(name, source): its handle, and its declaration as JSON; or nil, and why not */
static int load(lua_State *L)
{
    struct policy_tests *tests = tests_of(L);
    struct problems problems = {0};
    struct policy_source source = {.name = "source"};
    if (lua_isnil(L, 1)) {
        source.source.text = luaL_checklstring(L, 2, &source.source.len);
        source.libraries = tests->shelf.libraries;
        source.library_count = tests->shelf.library_count;
    } else {
        const char *name = lua_pushfstring(L, "policies/%s", luaL_checkstring(L, 1));
        const struct bundle_file *file = bundle_find(tests->bundle, name);
        if (file == NULL || !shelf_policy(&tests->shelf, file, &source)) {
            lua_pushnil(L);
            lua_pushfstring(L, "there is no policy '%s'", lua_tostring(L, 1));
            return 2;
        }
    }
    struct policy *policy = policy_load(&tests->policies, &source, &problems);
    if (policy == NULL) {
        const struct problem *first = &problems.list[0];
        lua_pushnil(L);
        lua_pushfstring(L, "%s:%d: %s", first->file, first->line, first->message);
        problems_free(&problems);
        return 2;
    }
    tests->loaded = x_realloc(tests->loaded, (tests->loaded_count + 1) * sizeof(struct policy *));
    tests->loaded[tests->loaded_count++] = policy;
    lua_pushinteger(L, (lua_Integer)tests->loaded_count - 1);
    lua_pushstring(L, policy_declaration(policy));
    return 2;
}

static void push_unless_empty(lua_State *L, const char *text)
{
    if (*text == '\0')
        lua_pushnil(L);
    else
        lua_pushstring(L, text);
}

/* ask(handle, admit, subject, rollout, now, seed): verdict, reason, line, again, failed, file */
static int ask(lua_State *L)
{
    struct policy_tests *tests = tests_of(L);
    size_t handle = (size_t)luaL_checkinteger(L, 1);
    struct policy_text subject;
    struct policy_moment moment = {.now = luaL_checknumber(L, 5), .seed = (uint64_t)luaL_checkinteger(L, 6)};
    struct policy_verdict verdict;
    subject.text = luaL_checklstring(L, 3, &subject.len);
    moment.rollout.text = luaL_checklstring(L, 4, &moment.rollout.len);
    luaL_argcheck(L, handle < tests->loaded_count, 1, "no policy");
    if (lua_toboolean(L, 2))
        policy_admit(tests->loaded[handle], &moment, subject, &verdict);
    else
        policy_advance(tests->loaded[handle], &moment, subject, &verdict);
    lua_pushstring(L, policy_answer_name(verdict.answer));
    push_unless_empty(L, verdict.reason);
    lua_pushinteger(L, verdict.line);
    if (verdict.again > 0)
        lua_pushnumber(L, verdict.again);
    else
        lua_pushnil(L);
    lua_pushboolean(L, verdict.failed);
    push_unless_empty(L, verdict.file);
    return 6;
}

static int wilson(lua_State *L)
{
    double low, high;
    rollout_wilson((int)luaL_checkinteger(L, 1), (int)luaL_checkinteger(L, 2), &low, &high);
    lua_pushnumber(L, low);
    lua_pushnumber(L, high);
    return 2;
}

static int seconds(lua_State *L)
{
    double value = declare_duration(L, 1);
    if (value < 0)
        return 0;
    lua_pushnumber(L, value);
    return 1;
}

static int open_globals(lua_State *L)
{
    static const lua_CFunction given[] = {load, ask, wilson, seconds, fail};
    lua_pushvalue(L, 1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &tests_key);
    if (luaL_loadbufferx(L, policy_tests_lua, (size_t)(policy_tests_lua_end - policy_tests_lua), own_chunk,
                         "t") != LUA_OK)
        return lua_error(L);
    for (size_t i = 0; i < sizeof(given) / sizeof(given[0]); i++)
        lua_pushcfunction(L, given[i]);
    lua_call(L, sizeof(given) / sizeof(given[0]), 2);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &reset_key);
    lua_pushglobaltable(L);
    for (lua_pushnil(L); lua_next(L, -3) != 0;) { /* the sandbox is closed: past its metatable */
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_rawset(L, -4);
    }
    return 0;
}

struct policy_tests *policy_tests_open(struct generation *generation, struct problems *problems)
{
    struct policy_tests *tests = x_new(struct policy_tests);
    tests->policies.zones = zones_new(zones_load_file, NULL);
    tests->policies.on_line = on_line;
    tests->policies.arg = tests;
    tests->bundle = bundle_hold(generation->bundle);
    tests->shelf = shelf_of(tests->bundle);
    if (generation_call(generation, open_globals, tests, "", problems))
        return tests;
    policy_tests_close(tests);
    return NULL;
}

void policy_tests_close(struct policy_tests *tests)
{
    if (tests == NULL)
        return;
    for (size_t i = 0; i < tests->loaded_count; i++)
        policy_free(tests->loaded[i]);
    for (size_t i = 0; i < tests->ran_count; i++) {
        free(tests->ran[i].file);
        free(tests->ran[i].lines);
    }
    free(tests->loaded);
    free(tests->ran);
    shelf_free(&tests->shelf);
    bundle_release(tests->bundle);
    zones_free(tests->policies.zones);
    free(tests);
}

void policy_tests_reset(lua_State *L)
{
    lua_rawgetp(L, LUA_REGISTRYINDEX, &reset_key);
    lua_call(L, 0, 0);
}

bool policy_tests_covers(const struct bundle_file *file)
{
    return !bundle_is_test(file) &&
           (strncmp(file->name, "policies/", 9) == 0 || strncmp(file->name, "lib/policy/", 11) == 0);
}

struct coverage policy_tests_coverage(struct policy_tests *tests, struct checker *checker,
                                      const struct bundle_file *file)
{
    struct coverage coverage = {0};
    char *shown = x_printf("scripts/%s.lua", file->name); /* as policies call it */
    const struct ran *ran = ran_of(tests, shown);
    free(shown);
    coverage.lines = checker_lines(checker, (struct policy_text){file->text, file->len}, &coverage.missed);
    for (size_t i = 0; i < coverage.lines; i++) {
        int line = coverage.missed[i];
        if (ran == NULL || line >= ran->count || !ran->lines[line])
            coverage.missed[coverage.missed_count++] = line;
    }
    return coverage;
}
