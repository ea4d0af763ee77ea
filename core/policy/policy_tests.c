#include "policy/policy_tests.h"
#include "base/embed.h"
#include "base/mem.h"
#include "fleet/rollout.h"
#include "policy/declare.h"
#include "policy/shelf.h"
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

EMBED(policy_tests_lua, "policy/policy_tests.lua");

enum { LONGEST_NAME = 200 }; /* bytes of a test's, where their number is bounded, too */

/* Registry keys: the struct policy_tests; the function to call before each test. */
static const char tests_key, reset_key;

static const char own_chunk[] = "=policy_tests.lua", *const own_name = own_chunk + 1;

struct ran { /* of one file */
    char *file;
    bool *lines;
    int count;
};

struct policy_tests {
    struct policy_tests_options options;
    struct generation *generation;
    struct bundle *bundle;
    struct shelf shelf;
    struct policy **loaded;
    size_t loaded_count, loaded_memory;
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

int policy_tests_error(lua_State *L, const char *message)
{
    lua_Debug caller;
    for (int level = 0; lua_getstack(L, level, &caller) != 0; level++) {
        lua_getinfo(L, "Sl", &caller);
        if (caller.currentline > 0 && strcmp(caller.short_src, own_name) != 0) {
            lua_pushfstring(L, "%s:%d: %s", caller.short_src, caller.currentline, message);
            return lua_error(L);
        }
    }
    lua_pushstring(L, message);
    return lua_error(L);
}

/* fail(message) */
static int fail(lua_State *L)
{
    return policy_tests_error(L, luaL_checkstring(L, 1));
}

/* load(name, source): its handle, and its declaration as JSON; or nil, and why not */
static int load(lua_State *L)
{
    struct policy_tests *tests = tests_of(L);
    struct problems problems = {0};
    struct policy_source source = {.name = "source"};
    if (tests->options.most_memory != 0 && tests->loaded_memory > tests->options.most_memory) {
        lua_pushnil(L);
        lua_pushfstring(L, "the policies that were loaded hold more than %I MiB",
                        (LUAI_UACINT)(tests->options.most_memory / (1024 * 1024)));
        return 2;
    }
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
    struct policy *policy = policy_load(tests->options.policies, &source, &problems);
    if (policy == NULL) {
        const struct problem *first = &problems.list[0];
        lua_pushnil(L);
        lua_pushfstring(L, "%s:%d: %s", first->file, first->line, first->message);
        problems_free(&problems);
        return 2;
    }
    tests->loaded_memory += policy_memory(policy);
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
    luaL_argcheck(L, handle < tests->loaded_count && tests->loaded[handle] != NULL, 1, "no policy");
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

struct policy_tests *policy_tests_open(struct generation *generation,
                                       const struct policy_tests_options *options, struct problems *problems)
{
    struct policy_tests *tests = x_new(struct policy_tests);
    tests->options = *options;
    tests->generation = generation;
    tests->bundle = bundle_hold(generation->bundle);
    tests->shelf = shelf_of(tests->bundle);
    options->policies->on_line = on_line;
    options->policies->arg = tests;
    if (generation_call(generation, open_globals, tests, "", problems))
        return tests;
    policy_tests_close(tests);
    return NULL;
}

void policy_tests_close(struct policy_tests *tests)
{
    if (tests == NULL)
        return;
    tests->options.policies->on_line = NULL;
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
    free(tests);
}

/* The tests of one file; an argument of the calls below. */
struct test_file {
    struct policy_tests *tests;
    const struct bundle_file *file;
    char **names;
    size_t count;
    size_t test; /* to be run */
};

static void begin_call(lua_State *L, const struct test_file *test, size_t number)
{
    const struct policy_tests_options *options = &test->tests->options;
    if (options->on_call != NULL)
        options->on_call(options->arg, L, number);
}

static int list_tests(lua_State *L)
{
    struct test_file *test = lua_touserdata(L, 1);
    size_t most = test->tests->options.most_tests;
    begin_call(L, test, SIZE_MAX);
    generation_require(L, test->file->name);
    if (!lua_istable(L, -1))
        return luaL_error(L, "%s:1: must return a table of named functions", test->file->path);
    for (lua_pushnil(L); lua_next(L, -2) != 0; lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING || !lua_isfunction(L, -1))
            return luaL_error(L, "%s:1: must return a table of named functions", test->file->path);
        if (most != 0 && test->count == most)
            return luaL_error(L, "%s:1: has more than %d tests", test->file->path, (int)most);
        if (most != 0 && lua_rawlen(L, -2) > LONGEST_NAME)
            return luaL_error(L, "%s:1: a test's name has more than %d bytes", test->file->path,
                              LONGEST_NAME);
        test->names = x_realloc(test->names, (test->count + 1) * sizeof(*test->names));
        test->names[test->count++] = x_strdup(lua_tostring(L, -2));
    }
    return 0;
}

static int push_traceback(lua_State *L)
{
    luaL_traceback(L, L, lua_tostring(L, 1), 1);
    return 1;
}

static int run_test(lua_State *L)
{
    const struct test_file *test = lua_touserdata(L, 1);
    begin_call(L, test, test->test);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &reset_key);
    lua_call(L, 0, 0);
    lua_pushcfunction(L, push_traceback);
    generation_require(L, test->file->name);
    lua_getfield(L, -1, test->names[test->test]);
    if (!test->tests->options.traceback)
        lua_call(L, 0, 0);
    else if (lua_pcall(L, 0, 0, 2) != LUA_OK)
        return lua_error(L);
    return 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* A test that loaded more than it may leaves nothing of that to the next. */
static void drop_excess(struct policy_tests *tests, size_t first, size_t memory)
{
    if (tests->options.most_memory == 0 || tests->loaded_memory <= tests->options.most_memory)
        return;
    for (size_t i = first; i < tests->loaded_count; i++) {
        policy_free(tests->loaded[i]);
        tests->loaded[i] = NULL;
    }
    tests->loaded_memory = memory;
}

void policy_tests_run(struct policy_tests *tests, const struct bundle_file *file,
                      void (*report)(void *arg, const char *name, const struct problem *problem), void *arg)
{
    struct test_file test = {.tests = tests, .file = file};
    struct problems problems = {0};
    bool listed = generation_call(tests->generation, list_tests, &test, file->path, &problems);
    if (!listed)
        report(arg, NULL, &problems.list[0]);
    else if (test.count != 0)
        qsort(test.names, test.count, sizeof(*test.names), by_name);
    for (; listed && test.test < test.count; test.test++) {
        size_t count = tests->loaded_count, memory = tests->loaded_memory;
        bool passed = generation_call(tests->generation, run_test, &test, file->path, &problems);
        report(arg, test.names[test.test], passed ? NULL : &problems.list[0]);
        problems_free(&problems);
        drop_excess(tests, count, memory);
    }
    for (size_t i = 0; i < test.count; i++)
        free(test.names[i]);
    free(test.names);
    problems_free(&problems);
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
    const struct ran *ran = tests == NULL ? NULL : ran_of(tests, shown);
    free(shown);
    coverage.lines = checker_lines(checker, (struct policy_text){file->text, file->len}, &coverage.missed);
    for (size_t i = 0; i < coverage.lines; i++) {
        int line = coverage.missed[i];
        if (ran == NULL || line >= ran->count || !ran->lines[line])
            coverage.missed[coverage.missed_count++] = line;
    }
    return coverage;
}
