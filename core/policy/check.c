#include "policy/check.h"
#include "base/embed.h"
#include "base/file.h"
#include "base/mem.h"
#include "policy/confine.h"
#include "policy/fields.h"
#include "policy/nearest.h"
#include <lauxlib.h>
#include <lualib.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

EMBED(check_lua, "policy/check.lua");
EMBED(check_policy_lua, "policy/check_policy.lua");

enum {
    LARGEST_MODULE = 256 * 1024,
    LOOK_EVERY = 10000,  /* instructions between looks at the clock */
    GARBAGE = 256 * 1024 /* bytes left lying between checks */
};

static const char *const modules[] = {"utils",   "unicode_printability_boundaries",
                                      "unicode", "decoder",
                                      "lexer",   "parser"};
enum { MODULES = sizeof(modules) / sizeof(modules[0]) };

static const char *const kinds[CHECK_KINDS] = {"policy", "library", "script", "test"};

/* Registry keys: the functions of check.lua; the tables of globals are there by their kind's name. */
static const char check_key, lines_key;

struct checker {
    lua_State *L; /* NULL: not opened yet, or not to be */
    size_t memory, at_rest;
    struct timespec began;
    char *missing;
    struct policy_text texts[MODULES];
};

struct job { /* arguments and results of what runs protected */
    struct checker *checker;
    const char *file;
    enum check_kind kind;
    struct policy_text source;
    struct problems *problems;
    lua_State *from;
    int *lines;
    size_t count;
};

static void *capped_alloc(void *arg, void *p, size_t old_size, size_t size)
{
    struct checker *checker = arg;
    size_t old = p == NULL ? 0 : old_size; /* for a new block old_size is a type */
    if (size == 0) {
        checker->memory -= old;
        free(p);
        return NULL;
    }
    if (size > old && checker->memory + (size - old) > CHECK_MEMORY)
        return NULL;
    void *block = realloc(p, size);
    if (block != NULL)
        checker->memory += size - old;
    return block;
}

static int on_panic(lua_State *L)
{
    abort(); /* entered unprotected: a mistake of ours */
}

static void on_hook(lua_State *L, lua_Debug *activation)
{
    struct checker *checker = *(struct checker **)lua_getextraspace(L);
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    if ((now.tv_sec - checker->began.tv_sec) * 1000 + (now.tv_nsec - checker->began.tv_nsec) / 1000000 <
        CHECK_TIME)
        return;
    lua_sethook(L, on_hook, LUA_MASKCOUNT, 1); /* the parser is called by pcall */
    lua_pushfstring(L, "too large for %d ms", CHECK_TIME);
    lua_error(L);
}

/* The error's text, or NULL, is on top unless it went well. */
static int run(struct checker *checker, lua_CFunction call, struct job *job)
{
    lua_State *L = checker->L;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &checker->began);
    lua_pushcfunction(L, call);
    lua_pushlightuserdata(L, job);
    lua_sethook(L, on_hook, LUA_MASKCOUNT, LOOK_EVERY);
    int status = lua_pcall(L, 1, 0, 0);
    lua_sethook(L, NULL, 0, 0);
    return status;
}

static void tidy(struct checker *checker)
{
    lua_settop(checker->L, 0);
    if (checker->memory > checker->at_rest + GARBAGE)
        lua_gc(checker->L, LUA_GCCOLLECT);
}

/* --- Opening ------------------------------------------------------------------------------------------ */

static int require(lua_State *L)
{
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    lua_getfield(L, -1, luaL_checkstring(L, 1));
    return 1;
}

/* nearest(word, list): the known name, or nil */
static int nearest(lua_State *L)
{
    luaL_checktype(L, 2, LUA_TTABLE);
    size_t count = lua_rawlen(L, 2);
    luaL_checkstack(L, (int)count + 2, "too many names");
    const char **names = lua_newuserdatauv(L, (count + 1) * sizeof(*names), 0);
    for (size_t i = 0; i < count; i++) {
        lua_rawgeti(L, 2, (lua_Integer)i + 1);
        names[i] = luaL_checkstring(L, -1);
    }
    names[count] = NULL;
    lua_pushstring(L, nearest_name(luaL_checkstring(L, 1), names));
    return 1;
}

static void load_text(lua_State *L, const char *name, const char *text, size_t len)
{
    if (luaL_loadbufferx(L, text, len, name, "t") != LUA_OK)
        lua_error(L);
}

static int open_state(lua_State *L)
{
    const struct job *job = lua_touserdata(L, 1);
    luaL_requiref(L, "_G", luaopen_base, 1);
    luaL_requiref(L, LUA_STRLIBNAME, luaopen_string, 1);
    luaL_requiref(L, LUA_TABLIBNAME, luaopen_table, 1);
    luaL_requiref(L, LUA_MATHLIBNAME, luaopen_math, 1);
    luaL_requiref(L, LUA_UTF8LIBNAME, luaopen_utf8, 1);
    lua_register(L, "require", require);
    lua_newtable(L);
    lua_pushliteral(L, "/\n"); /* all that luacheck.utils asks of package */
    lua_setfield(L, -2, "config");
    lua_setglobal(L, "package");
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    for (size_t i = 0; i < MODULES; i++) {
        lua_pushfstring(L, "luacheck.%s", modules[i]);
        load_text(L, lua_pushfstring(L, "=%s", modules[i]), job->checker->texts[i].text,
                  job->checker->texts[i].len);
        lua_remove(L, -2); /* its name */
        lua_call(L, 0, 1);
        lua_settable(L, -3);
    }
    load_text(L, "=check.lua", check_lua, (size_t)(check_lua_end - check_lua));
    lua_getfield(L, -2, "luacheck.parser");
    lua_getfield(L, -3, "luacheck.decoder");
    lua_pushcfunction(L, nearest);
    load_text(L, "=check_policy.lua", check_policy_lua, (size_t)(check_policy_lua_end - check_policy_lua));
    fields_push(L);
    lua_call(L, 1, 1);
    lua_call(L, 4, 2);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &lines_key);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &check_key);
    return 0;
}

/* Opened when first needed: a process of policies that checks none goes without. */
static bool open_checker(struct checker *checker)
{
    struct job job = {.checker = checker};
    if (checker->L != NULL || checker->missing != NULL)
        return checker->missing == NULL;
    checker->L = lua_newstate(capped_alloc, checker);
    if (checker->L == NULL)
        abort();
    *(struct checker **)lua_getextraspace(checker->L) = checker;
    lua_atpanic(checker->L, on_panic);
    if (run(checker, open_state, &job) != LUA_OK) {
        checker->missing = x_printf("luacheck's parser does not work here: %s", lua_tostring(checker->L, -1));
        return false;
    }
    lua_State *confined = luaL_newstate();
    if (confined == NULL)
        abort();
    confine_open(confined, require);
    checker_learn(checker, CHECK_POLICY, confined);
    checker_learn(checker, CHECK_LIBRARY, confined);
    lua_close(confined);
    lua_gc(checker->L, LUA_GCCOLLECT);
    checker->at_rest = checker->memory;
    return true;
}

struct checker *checker_new(const char *directory)
{
    struct checker *checker = x_new(struct checker);
    char *buffer = x_alloc(LARGEST_MODULE);
    for (size_t i = 0; i < MODULES && checker->missing == NULL; i++) {
        char *error = NULL;
        char *path = x_printf("%s/%s.lua", directory == NULL ? OTAD_LUACHECK : directory, modules[i]);
        ssize_t len = file_load(path, FILE_PUBLIC, buffer, LARGEST_MODULE, &error);
        if (len < 0)
            checker->missing = x_printf(
                "checked for syntax only: luacheck's parser is missing (Debian package lua-check): %s",
                error);
        else
            checker->texts[i] = (struct policy_text){x_memdup(buffer, (size_t)len), (size_t)len};
        free(error);
        free(path);
    }
    free(buffer);
    return checker;
}

void checker_free(struct checker *checker)
{
    if (checker == NULL)
        return;
    if (checker->L != NULL)
        lua_close(checker->L);
    for (size_t i = 0; i < MODULES; i++)
        free((char *)checker->texts[i].text);
    free(checker->missing);
    free(checker);
}

const char *checker_missing(const struct checker *checker)
{
    return checker->missing;
}

/* --- Globals ------------------------------------------------------------------------------------------ */

/* Whether the table on top is a library: one without functions holds what the configuration does. */
static bool is_library(lua_State *from)
{
    bool found = false;
    for (lua_pushnil(from); lua_next(from, -2) != 0; lua_pop(from, 1))
        found = found || lua_isfunction(from, -1);
    return found;
}

/* Pushes what stands behind the value on top, which cannot be written to; false: nothing does. */
static bool push_behind(lua_State *from)
{
    if (!luaL_getmetafield(from, -1, "__index"))
        return false;
    if (lua_istable(from, -1))
        return true;
    lua_pop(from, 1);
    return false;
}

/* Into the table on top of L, the names of the table on top of `from`: {name = true or, of a library, its
 * names}. */
static void copy_names(lua_State *L, lua_State *from, bool libraries)
{
    for (lua_pushnil(from); lua_next(from, -2) != 0; lua_pop(from, 1)) {
        if (lua_type(from, -2) != LUA_TSTRING)
            continue;
        lua_pushstring(L, lua_tostring(from, -2));
        bool behind = libraries && lua_istable(from, -1) && push_behind(from);
        if (libraries && lua_istable(from, -1) && is_library(from)) {
            lua_newtable(L);
            copy_names(L, from, false);
        } else {
            lua_pushboolean(L, 1);
        }
        lua_rawset(L, -3);
        lua_pop(from, behind);
    }
}

static int learn(lua_State *L)
{
    struct job *job = lua_touserdata(L, 1);
    lua_pushglobaltable(job->from);
    lua_newtable(L);
    copy_names(L, job->from, true);
    if (push_behind(job->from))
        copy_names(L, job->from, true);
    lua_pushboolean(L, 1);
    lua_setfield(L, -2, "_ENV");
    lua_setfield(L, LUA_REGISTRYINDEX, kinds[job->kind]);
    return 0;
}

void checker_learn(struct checker *checker, enum check_kind kind, lua_State *L)
{
    struct job job = {.checker = checker, .kind = kind, .from = L};
    int top = lua_gettop(L);
    lua_checkstack(L, 16);
    if (open_checker(checker))
        run(checker, learn, &job);
    lua_settop(L, top);
}

/* --- Checking ----------------------------------------------------------------------------------------- */

static int integer_of(lua_State *L, const char *name)
{
    lua_getfield(L, -1, name);
    int value = (int)lua_tointeger(L, -1);
    lua_pop(L, 1);
    return value;
}

static int check(lua_State *L)
{
    struct job *job = lua_touserdata(L, 1);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &check_key);
    lua_pushlstring(L, job->source.text, job->source.len);
    lua_pushstring(L, kinds[job->kind]);
    lua_getfield(L, LUA_REGISTRYINDEX, kinds[job->kind]);
    lua_call(L, 3, 1);
    for (lua_Integer i = 1; lua_rawgeti(L, -1, i) == LUA_TTABLE; i++) {
        struct problem problem = {.file = (char *)job->file,
                                  .line = integer_of(L, "line"),
                                  .column = integer_of(L, "column")};
        lua_getfield(L, -1, "severity");
        problem.warning = strcmp(lua_tostring(L, -1), "warning") == 0;
        lua_getfield(L, -2, "message");
        problem.message = (char *)lua_tostring(L, -1);
        problems_add_copy(job->problems, &problem);
        lua_pop(L, 3);
    }
    return 0;
}

/* Whether Lua takes it. */
static bool check_syntax(const char *file, struct policy_text source, struct problems *problems)
{
    if (source.len > 0 && *source.text == *LUA_SIGNATURE) {
        problems_add(problems, file, 1, "is compiled: only text is taken");
        return false;
    }
    lua_State *L = luaL_newstate();
    if (L == NULL)
        abort();
    char *name = x_printf("=%s", file);
    bool ok = luaL_loadbufferx(L, source.text, source.len, name, "t") == LUA_OK;
    if (!ok)
        problems_add_error(problems, file, lua_tostring(L, -1));
    lua_close(L);
    free(name);
    return ok;
}

void checker_run(struct checker *checker, const char *file, enum check_kind kind, struct policy_text source,
                 struct problems *problems)
{
    struct job job = {.checker = checker, .file = file, .kind = kind, .source = source, .problems = problems};
    size_t before = problems->count;
    if (!check_syntax(file, source, problems) || !open_checker(checker)) {
        problems_shorten(problems, before);
        return;
    }
    int status = run(checker, check, &job);
    if (status != LUA_OK) {
        const char *why = status == LUA_ERRMEM || lua_type(checker->L, -1) != LUA_TSTRING
                              ? "too large"
                              : lua_tostring(checker->L, -1);
        char *message = x_printf("cannot be checked: %s", why);
        problems_add_copy(problems, &(struct problem){.file = (char *)file,
                                                      .line = 1,
                                                      .message = message,
                                                      .warning = true});
        free(message);
    }
    problems_shorten(problems, before);
    tidy(checker);
}

bool checker_policy(struct checker *checker, struct policies *policies, const struct policy_source *source,
                    struct problems *problems)
{
    struct policy *policy = policy_load(policies, source, problems);
    bool sound = policy != NULL;
    policy_free(policy);
    if (source->source.len <= POLICY_LARGEST) {
        char *file = x_printf("scripts/policies/%.80s.lua", source->name);
        checker_run(checker, file, CHECK_POLICY, source->source, problems);
        free(file);
    }
    problems_sort(problems);
    return sound;
}

static int list_lines(lua_State *L)
{
    struct job *job = lua_touserdata(L, 1);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &lines_key);
    lua_pushlstring(L, job->source.text, job->source.len);
    lua_call(L, 1, 1);
    size_t count = lua_rawlen(L, -1);
    job->lines = x_alloc((count + 1) * sizeof(*job->lines));
    for (job->count = 0; job->count < count; job->count++) {
        lua_rawgeti(L, -1, (lua_Integer)job->count + 1);
        job->lines[job->count] = (int)lua_tointeger(L, -1);
        lua_pop(L, 1);
    }
    return 0;
}

static int by_number(const void *a, const void *b)
{
    return (*(const int *)a > *(const int *)b) - (*(const int *)a < *(const int *)b);
}

size_t checker_lines(struct checker *checker, struct policy_text source, int **lines)
{
    struct job job = {.checker = checker, .source = source};
    size_t kept = 0;
    if (open_checker(checker)) {
        run(checker, list_lines, &job);
        tidy(checker);
    }
    if (job.count != 0)
        qsort(job.lines, job.count, sizeof(*job.lines), by_number);
    for (size_t i = 0; i < job.count; i++) {
        if (kept == 0 || job.lines[kept - 1] != job.lines[i])
            job.lines[kept++] = job.lines[i];
    }
    *lines = job.lines;
    return kept;
}
