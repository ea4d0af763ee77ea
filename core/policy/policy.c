#include "policy/policy.h"
#include "base/mem.h"
#include "policy/bounds.h"
#include "policy/confine.h"
#include "policy/declare.h"
#include "policy/pristine.h"
#include "policy/values.h"
#include "policy/verdict.h"
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GARBAGE = 2 * 1024 * 1024 /* bytes left lying between calls */ };

/* Registry keys: the file's function; those of the library, by name; what they returned in this run of the
 * file; the metatable of ctx; admit and advance, and what they hold on to (policy/pristine). */
static const char chunk_key, libraries_key, loaded_key, ctx_key, admit_key, advance_key, held_key;

struct policy {
    struct bounds bounds; /* first: the state knows its address */
    lua_State *L;
    struct policies *policies;
    size_t at_rest; /* bytes in use between calls */
    char *file;     /* "scripts/policies/canary.lua" */
    char *declaration;
    bool has_admit, has_advance;
    struct pristine *pristine; /* NULL: the file runs for each call */
    /* Of the call under way. */
    const struct policy_moment *moment;
    bool returned, excused; /* function is back; not its fault */
    bool requires;          /* it asked for a library: the file has to run */
    uint64_t random;
    char device_zone[96], rollout_zone[96];
};

struct call {
    struct policy *policy;
    bool admit;
    struct policy_text argument;
    struct policy_verdict *verdict;
};

struct load {
    struct policy *policy;
    const struct policy_source *source;
    struct problems *problems;
    struct buffer declaration;
    struct pristine *pristine;
};

static struct policy *policy_of(lua_State *L)
{
    return *(struct policy **)lua_getextraspace(L);
}

/* Once what the call left is of no more use. */
static void tidy(struct policy *policy)
{
    lua_settop(policy->L, 0);
    if (policy->bounds.memory > policy->at_rest + GARBAGE)
        lua_gc(policy->L, LUA_GCCOLLECT);
}

/* --- Loading -------------------------------------------------------------------------------------------- */

static void push_file_name(lua_State *L, const char *name)
{
    lua_pushfstring(L, "=scripts/%s.lua", name);
}

/* Calls the function on top, a file's, without what an earlier run may have made of its globals. */
static void run_file(lua_State *L)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
    lua_setupvalue(L, -2, 1);
    lua_call(L, 0, 1);
}

static int require(lua_State *L)
{
    struct policy *policy = policy_of(L);
    if (policy->pristine != NULL) {
        policy->requires = true;
        return luaL_error(L, "not before the file has run");
    }
    const char *name = luaL_gsub(L, luaL_checkstring(L, 1), ".", "/");
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &loaded_key) != LUA_TTABLE) { /* the first of this call */
        lua_newtable(L);
        lua_pushvalue(L, -1);
        lua_rawsetp(L, LUA_REGISTRYINDEX, &loaded_key);
    }
    int loaded = lua_gettop(L);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &libraries_key);
    int type = lua_getfield(L, -1, name);
    if (type == LUA_TNIL)
        return luaL_error(L, "there is no library '%s' for policies (scripts/lib/policy/ holds them)", name);
    if (type == LUA_TSTRING)
        return lua_error(L); /* why it does not compile */
    type = lua_getfield(L, loaded, name);
    if (type != LUA_TNIL && type != LUA_TBOOLEAN)
        return 1;
    if (type == LUA_TBOOLEAN)
        return luaL_error(L, "'%s' requires itself", name);
    lua_pushboolean(L, 1);
    lua_setfield(L, loaded, name);
    lua_settop(L, -2);
    run_file(L);
    if (lua_isnil(L, -1) || lua_isboolean(L, -1))
        return luaL_error(L, "'%s' returns nothing", name);
    lua_pushvalue(L, -1);
    lua_setfield(L, loaded, name);
    return 1;
}

/* Pushes the function of a file, or the text of what is wrong with it. */
static bool push_chunk(lua_State *L, const char *name, struct policy_text source)
{
    push_file_name(L, name);
    if (source.len > POLICY_LARGEST) {
        lua_pushfstring(L, "%s:1: larger than %d KiB", lua_tostring(L, -1) + 1, POLICY_LARGEST / 1024);
        lua_remove(L, -2);
        return false;
    }
    if (source.len > 0 && *source.text == *LUA_SIGNATURE) {
        lua_pushfstring(L, "%s:1: is compiled: only text is taken", lua_tostring(L, -1) + 1);
        lua_remove(L, -2);
        return false;
    }
    int status = luaL_loadbufferx(L, source.text, source.len, lua_tostring(L, -1), "t");
    lua_remove(L, -2);
    if (status == LUA_ERRMEM)
        lua_error(L);
    return status == LUA_OK;
}

/* hour and weekday of ctx: seldom asked for, so looked up when they are. */
static int ctx_index(lua_State *L)
{
    struct policy *policy = policy_of(L);
    const char *key = lua_tostring(L, 2);
    bool hour = key != NULL && strcmp(key, "hour") == 0;
    if (!hour && (key == NULL || strcmp(key, "weekday") != 0))
        return 0;
    bool own = *policy->device_zone != '\0';
    const char *name = own ? policy->device_zone : policy->rollout_zone;
    int64_t local = policy->moment == NULL ? 0 : (int64_t)policy->moment->now;
    if (*name != '\0') {
        const struct zone *zone = zones_find(policy->policies->zones, name);
        if (zone == NULL) {
            policy->excused = own;
            return luaL_error(L, "%s: there is no time zone '%s'",
                              own ? "the device's tag timezone" : "params.timezone", name);
        }
        local += zone_offset(zone, local);
    }
    lua_pushinteger(L, hour ? zone_hour(local) : zone_weekday(local));
    return 1;
}

static int open_state(lua_State *L)
{
    struct load *load = lua_touserdata(L, 1);
    confine_open(L, require);
    lua_createtable(L, 0, 2);
    lua_pushcfunction(L, ctx_index);
    lua_setfield(L, -2, "__index");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_rawsetp(L, LUA_REGISTRYINDEX, &ctx_key);
    lua_newtable(L);
    for (size_t i = 0; i < load->source->library_count; i++) {
        const struct policy_library *library = &load->source->libraries[i];
        push_chunk(L, library->name, library->source);
        lua_setfield(L, -2, library->name);
    }
    lua_rawsetp(L, LUA_REGISTRYINDEX, &libraries_key);
    return 0;
}

static void push_declaration(lua_State *L)
{
    lua_pushnil(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &loaded_key);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &chunk_key);
    run_file(L);
}

/* Keeps the field of the declaration at `index`, and leaves it on top. */
static bool keep_function(lua_State *L, int index, const char *name, const void *key)
{
    bool has = lua_getfield(L, index, name) == LUA_TFUNCTION;
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, key);
    return has;
}

static int load_file(lua_State *L)
{
    struct load *load = lua_touserdata(L, 1);
    struct policy *policy = load->policy;
    lua_pushfstring(L, "policies/%s", load->source->name);
    if (!push_chunk(L, lua_tostring(L, -1), load->source->source))
        return lua_error(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &chunk_key);
    push_declaration(L);
    if (!lua_istable(L, -1))
        return luaL_error(L, "%s:%d: a policy returns a table", policy->file, policy->bounds.last.line);
    struct declare_source source = {policy->file, load->source->source.text, load->source->source.len};
    int declaration = lua_gettop(L);
    declare_read(L, declaration, &source, load->problems, &load->declaration);
    policy->has_admit = keep_function(L, declaration, "admit", &admit_key);
    policy->has_advance = keep_function(L, declaration, "advance", &advance_key);
    if (pristine_take(load->pristine, L, 2, &held_key)) {
        policy->pristine = load->pristine;
        load->pristine = NULL;
    }
    return 0;
}

static bool load_step(struct load *load, lua_CFunction step)
{
    struct policy *policy = load->policy;
    int status = bounds_run(&policy->bounds, step, load);
    if (status != LUA_OK) {
        const char *file =
            policy->bounds.fault.source == NULL ? policy->file : policy->bounds.fault.source + 1;
        const char *error = bounds_words(&policy->bounds, status);
        size_t before = load->problems->count;
        problems_add_error(load->problems, file, error);
        if (load->problems->list[before].line == 0)
            load->problems->list[before].line = policy->bounds.fault.line;
    }
    lua_settop(policy->L, 0);
    return status == LUA_OK;
}

/* NULL: nothing is. */
static const char *wrong_with_name(const char *name)
{
    static const char *const taken[] = {"check", "fields", "simulate"};
    size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-");
    if (len == 0 || len > POLICY_NAME || name[len] != '\0')
        return "a policy's name has 1 to 32 letters, digits, - and _";
    for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++) {
        if (strcmp(name, taken[i]) == 0)
            return "no policy can be called so: below /policies this name stands for something else";
    }
    return NULL;
}

struct policy *policy_load(struct policies *policies, const struct policy_source *source,
                           struct problems *problems)
{
    struct load load = {.source = source, .problems = problems, .pristine = pristine_new()};
    size_t before = problems->count;
    const char *wrong = wrong_with_name(source->name);
    if (wrong != NULL) {
        char *file = x_printf("scripts/policies/%.80s.lua", source->name);
        problems_add(problems, file, 0, wrong);
        free(file);
        pristine_free(load.pristine);
        return NULL;
    }
    struct policy *policy = load.policy = x_new(struct policy);
    policy->policies = policies;
    policy->file = x_printf("scripts/policies/%s.lua", source->name);
    bounds_open(&policy->bounds, policies);
    policy->L = policy->bounds.L;
    if (load_step(&load, open_state))
        load_step(&load, load_file);
    pristine_free(load.pristine);
    problems_shorten(problems, before);
    policy->declaration = x_strdup(buffer_text(&load.declaration));
    buffer_free(&load.declaration);
    if (problems->count != before) {
        policy_free(policy);
        return NULL;
    }
    lua_gc(policy->L, LUA_GCCOLLECT);
    policy->at_rest = policy->bounds.memory;
    return policy;
}

void policy_free(struct policy *policy)
{
    if (policy == NULL)
        return;
    lua_close(policy->L);
    pristine_free(policy->pristine);
    free(policy->declaration);
    free(policy->file);
    free(policy);
}

const char *policy_declaration(const struct policy *policy)
{
    return policy->declaration;
}

size_t policy_memory(const struct policy *policy)
{
    return policy->at_rest;
}

/* --- Asking ------------------------------------------------------------------------------------------ */

/* "line 14: MESSAGE", with the file's name where it is not the policy's. Takes "FILE:LINE: MESSAGE" apart;
 * errors that are worded otherwise are from where the function returned or stopped. */
static void fail_with_error(struct policy *policy, int status, struct policy_verdict *verdict)
{
    const char *error = bounds_words(&policy->bounds, status), *colon = strchr(error, ':');
    const struct bounds_place *place = policy->returned ? &policy->bounds.last : &policy->bounds.fault;
    const char *file = place->source == NULL ? policy->file : place->source + 1;
    size_t len = strlen(file);
    int line = place->line;
    char *end = NULL;
    if (colon != NULL && colon - error > 4 && strncmp(error, "scripts/", 8) == 0 &&
        strncmp(colon - 4, ".lua", 4) == 0) {
        int told = (int)strtol(colon + 1, &end, 10);
        if (strncmp(end, ": ", 2) == 0) {
            file = error;
            len = (size_t)(colon - error);
            line = told;
            error = end + 2;
        }
    }
    bool own = strlen(policy->file) == len && strncmp(file, policy->file, len) == 0;
    char *text = line == 0
                     ? x_strdup(error)
                     : x_printf("%.*s%sline %d: %s", own ? 0 : (int)len, file, own ? "" : " ", line, error);
    policy_fail(verdict, line, text);
    if (!own)
        verdict_set_file(verdict, file, len);
    verdict->failed = !policy->excused;
    free(text);
}

static uint64_t mix(uint64_t value)
{
    value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9u;
    value = (value ^ value >> 27) * 0x94d049bb133111ebu;
    return value ^ value >> 31;
}

static int ctx_random(lua_State *L)
{
    struct policy *policy = policy_of(L);
    if (lua_gettop(L) != 0)
        return luaL_error(L, "ctx.random takes no arguments: it gives a number from 0 to below 1");
    policy->random += 0x9e3779b97f4a7c15u;
    lua_pushnumber(L, (double)(mix(policy->random) >> 11) * 0x1p-53);
    return 1;
}

static void push_ctx(lua_State *L, const struct policy *policy)
{
    lua_createtable(L, 0, 2);
    lua_pushnumber(L, policy->moment->now);
    lua_setfield(L, -2, "now");
    lua_pushcfunction(L, ctx_random);
    lua_setfield(L, -2, "random");
    lua_rawgetp(L, LUA_REGISTRYINDEX, &ctx_key);
    lua_setmetatable(L, -2);
}

/* The id of the object at `index`, and the time zone that its `table` names. */
static uint64_t look_at(lua_State *L, int index, const char *table, char *zone, size_t size)
{
    index = lua_absindex(L, index);
    *zone = '\0';
    if (lua_getfield(L, index, table) == LUA_TTABLE) {
        if (lua_getfield(L, -1, "timezone") == LUA_TSTRING)
            snprintf(zone, size, "%s", lua_tostring(L, -1));
        lua_pop(L, 1);
    }
    lua_getfield(L, index, "id");
    uint64_t id = (uint64_t)lua_tointeger(L, -1);
    lua_pop(L, 2);
    return id;
}

/* Argument: struct call. The function's arguments: device, rollout, ctx; or rollout, stats, ctx. */
static int ask(lua_State *L)
{
    const struct call *call = lua_touserdata(L, 1);
    struct policy *policy = call->policy;
    const struct policy_text *rollout = &policy->moment->rollout;
    if (policy->pristine != NULL) {
        pristine_restore(policy->pristine, L, &held_key);
        lua_rawgetp(L, LUA_REGISTRYINDEX, call->admit ? &admit_key : &advance_key);
    } else {
        push_declaration(L);
        lua_getfield(L, -1, call->admit ? "admit" : "advance");
    }
    if (call->admit)
        values_push(L, "device", call->argument.text, call->argument.len);
    values_push(L, "rollout", rollout->text, rollout->len);
    if (!call->admit)
        values_push(L, "stats", call->argument.text, call->argument.len);
    policy->random = mix(policy->moment->seed ^ look_at(L, call->admit ? -1 : -2, "params",
                                                        policy->rollout_zone, sizeof(policy->rollout_zone)));
    *policy->device_zone = '\0';
    if (call->admit)
        policy->random =
            mix(policy->random + look_at(L, -2, "tags", policy->device_zone, sizeof(policy->device_zone)));
    push_ctx(L, policy);
    lua_call(L, 3, 3);
    policy->returned = true;
    verdict_read(L, call->admit, call->verdict);
    return 0;
}

static int run_call(struct call *call)
{
    call->policy->returned = call->policy->excused = false;
    *call->verdict = (struct policy_verdict){0};
    return bounds_run(&call->policy->bounds, ask, call);
}

static void answer(struct call *call, const struct policy_moment *moment)
{
    struct policy *policy = call->policy;
    policy->moment = moment;
    policy->requires = false;
    int status = run_call(call);
    if (policy->requires) { /* a library belongs to the run of the file that requires it */
        pristine_free(policy->pristine);
        policy->pristine = NULL;
        lua_settop(policy->L, 0);
        status = run_call(call);
    }
    if (status != LUA_OK) {
        fail_with_error(policy, status, call->verdict);
    } else {
        const struct bounds_place *last = &policy->bounds.last;
        call->verdict->line = last->line;
        if (last->source != NULL && strcmp(last->source + 1, policy->file) != 0)
            verdict_set_file(call->verdict, last->source + 1, strlen(last->source + 1));
    }
    tidy(policy);
    policy->moment = NULL;
}

void policy_admit(struct policy *policy, const struct policy_moment *moment, struct policy_text device,
                  struct policy_verdict *verdict)
{
    struct call call = {policy, true, device, verdict};
    if (policy->has_admit)
        answer(&call, moment);
    else
        *verdict = (struct policy_verdict){.answer = POLICY_OFFER};
}

void policy_advance(struct policy *policy, const struct policy_moment *moment, struct policy_text stats,
                    struct policy_verdict *verdict)
{
    struct call call = {policy, false, stats, verdict};
    if (policy->has_advance)
        answer(&call, moment);
    else
        *verdict = (struct policy_verdict){.answer = POLICY_DEFAULT};
}
