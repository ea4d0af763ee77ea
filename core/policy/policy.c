#include "policy/policy.h"
#include "base/mem.h"
#include "policy/confine.h"
#include "policy/declare.h"
#include "policy/values.h"
#include "policy/verdict.h"
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    LOOK_EVERY = 1000,        /* instructions between looks at the clock */
    GARBAGE = 2 * 1024 * 1024 /* bytes left lying between calls */
};

/* Registry keys: the file's function; those of the library, by name; what it returned in this call; the
 * metatable of ctx. */
static const char chunk_key, libraries_key, loaded_key, ctx_key;

struct policy {
    lua_State *L;
    struct policies *policies;
    size_t memory, at_rest;
    int refusals; /* of memory, one after the other */
    char *file;   /* "scripts/policies/canary.lua" */
    char *declaration;
    bool has_admit, has_advance;
    /* Of the call under way. */
    const struct policy_moment *moment;
    bool timed, ended, returned, excused; /* clock was read; must end; function is back; not its fault */
    bool hurried;                         /* the clock is looked at with the next instruction */
    int64_t glanced;                      /* the coarse clock at the last look, ms */
    struct timespec began;
    struct place {
        const char *source; /* lives as long as its function: in the registry */
        int line;
    } last, fault; /* where a function returned last, and where it went wrong */
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
};

static struct policy *policy_of(lua_State *L)
{
    return *(struct policy **)lua_getextraspace(L);
}

static void on_hook(lua_State *L, lua_Debug *activation);

/* Keeps which line of a script is running. Allocates nothing. */
static void note_fault(struct policy *policy)
{
    lua_Debug activation;
    for (int level = 0; lua_getstack(policy->L, level, &activation) != 0; level++) {
        if (lua_getinfo(policy->L, "Sl", &activation) != 0 && activation.currentline > 0) {
            policy->fault = (struct place){activation.source, activation.currentline};
            return;
        }
    }
}

/* The message handler of calls: an error that is no text, or comes from C, does not tell its line. */
static int on_error(lua_State *L)
{
    note_fault(policy_of(L));
    return 1;
}

/* Refusing makes Lua collect its garbage and ask again; refused twice the memory is at its end, and so is the
 * call: a pcall that swallowed this over and over would spend its time in the collector. */
static void *capped_alloc(void *arg, void *p, size_t old_size, size_t size)
{
    struct policy *policy = arg;
    size_t old = p == NULL ? 0 : old_size; /* for a new block old_size is a type */
    if (size == 0) {
        policy->memory -= old;
        free(p);
        return NULL;
    }
    if (size > old && policy->memory + (size - old) > POLICY_MEMORY) {
        if (++policy->refusals > 1 && policy->L != NULL) {
            lua_sethook(policy->L, on_hook, LUA_MASKCOUNT, 1);
            note_fault(policy);
        }
        return NULL;
    }
    void *block = realloc(p, size);
    if (block != NULL) {
        policy->memory += size - old;
        policy->refusals = size > old ? 0 : policy->refusals;
    }
    return block;
}

static int on_panic(lua_State *L)
{
    abort(); /* entered unprotected: a mistake of ours */
}

static bool out_of_time(struct policy *policy)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    if (!policy->timed) { /* short calls, that is nearly all, never read the clock */
        policy->began = now;
        policy->timed = true;
    }
    return (now.tv_sec - policy->began.tv_sec) * 1000 + (now.tv_nsec - policy->began.tv_nsec) / 1000000 >=
           POLICY_TIME;
}

/* A few nanoseconds, a few milliseconds off. */
static int64_t glance(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void watch(struct policy *policy, int every)
{
    int lines = policy->policies->on_line == NULL ? 0 : LUA_MASKLINE;
    lua_sethook(policy->L, on_hook, LUA_MASKRET | LUA_MASKCOUNT | lines, every);
}

static void on_hook(lua_State *L, lua_Debug *activation)
{
    struct policy *policy = policy_of(L);
    if (activation->event == LUA_HOOKRET) {
        if (lua_getinfo(L, "Sl", activation) != 0 && activation->currentline > 0)
            policy->last = (struct place){activation->source, activation->currentline};
        if (!policy->hurried && glance() != policy->glanced) { /* functions in C count as one instruction */
            policy->hurried = true;
            watch(policy, 1);
        }
        return;
    }
    if (activation->event == LUA_HOOKLINE) {
        if (lua_getinfo(L, "S", activation) != 0)
            policy->policies->on_line(policy->policies->arg, activation->source + 1, activation->currentline);
        return;
    }
    if (policy->refusals > 1)
        luaL_error(L, "needed more than 16 MiB of memory");
    if (policy->ended || out_of_time(policy)) {
        policy->ended = true;
        lua_sethook(L, on_hook, LUA_MASKCOUNT, 1); /* at every instruction: no pcall swallows it for good */
        luaL_where(L, 0);                          /* a hook is no level: the function that runs is 0 */
        lua_pushfstring(L, "ran longer than %d ms", POLICY_TIME);
        lua_concat(L, 2);
        lua_error(L);
    }
    if (policy->hurried) {
        policy->hurried = false;
        policy->glanced = glance();
        watch(policy, LOOK_EVERY);
    }
}

/* Like lua_pcall of `call` with `arg`; the error's text, or NULL, is on top. */
static int run(struct policy *policy, lua_CFunction call, void *arg)
{
    lua_State *L = policy->L;
    policy->timed = policy->ended = policy->returned = policy->excused = false;
    policy->refusals = 0;
    policy->last = policy->fault = (struct place){0};
    lua_pushcfunction(L, on_error);
    lua_pushcfunction(L, call);
    lua_pushlightuserdata(L, arg);
    policy->hurried = false;
    policy->glanced = glance();
    watch(policy, LOOK_EVERY);
    policy->policies->calls++;
    int status = lua_pcall(L, 1, 0, -3);
    policy->policies->calls++;
    lua_sethook(L, NULL, 0, 0);
    return status;
}

/* What the call that just failed says. */
static const char *words_of(const struct policy *policy, int status)
{
    if (status == LUA_ERRMEM || policy->refusals > 1)
        return "needed more than 16 MiB of memory";
    return lua_type(policy->L, -1) == LUA_TSTRING ? lua_tostring(policy->L, -1) : "an error without a text";
}

/* Once what the call left is of no more use. */
static void tidy(struct policy *policy)
{
    lua_settop(policy->L, 0);
    if (policy->memory > policy->at_rest + GARBAGE)
        lua_gc(policy->L, LUA_GCCOLLECT);
}

/* --- Loading -------------------------------------------------------------------------------------------- */

static void push_file_name(lua_State *L, const char *name)
{
    lua_pushfstring(L, "=scripts/%s.lua", name);
}

static int require(lua_State *L)
{
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
    lua_call(L, 0, 1);
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
    lua_call(L, 0, 1);
}

static bool has_function(lua_State *L, const char *name)
{
    bool has = lua_getfield(L, -1, name) == LUA_TFUNCTION;
    lua_pop(L, 1);
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
        return luaL_error(L, "%s:%d: a policy returns a table", policy->file, policy->last.line);
    struct declare_source source = {policy->file, load->source->source.text, load->source->source.len};
    declare_read(L, lua_gettop(L), &source, load->problems, &load->declaration);
    policy->has_admit = has_function(L, "admit");
    policy->has_advance = has_function(L, "advance");
    return 0;
}

static bool load_step(struct load *load, lua_CFunction step)
{
    struct policy *policy = load->policy;
    int status = run(policy, step, load);
    if (status != LUA_OK) {
        const char *file = policy->fault.source == NULL ? policy->file : policy->fault.source + 1;
        const char *error = words_of(policy, status);
        size_t before = load->problems->count;
        problems_add_error(load->problems, file, error);
        if (load->problems->list[before].line == 0)
            load->problems->list[before].line = policy->fault.line;
    }
    lua_settop(policy->L, 0);
    return status == LUA_OK;
}

static bool name_is_sound(const char *name)
{
    size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-");
    return len > 0 && len <= POLICY_NAME && name[len] == '\0';
}

struct policy *policy_load(struct policies *policies, const struct policy_source *source,
                           struct problems *problems)
{
    struct load load = {.source = source, .problems = problems};
    size_t before = problems->count;
    if (!name_is_sound(source->name)) {
        char *file = x_printf("scripts/policies/%.80s.lua", source->name);
        problems_add(problems, file, 0, "a policy's name has 1 to 32 letters, digits, - and _");
        free(file);
        return NULL;
    }
    struct policy *policy = load.policy = x_new(struct policy);
    policy->policies = policies;
    policy->file = x_printf("scripts/policies/%s.lua", source->name);
    policy->L = lua_newstate(capped_alloc, policy);
    if (policy->L == NULL)
        abort();
    *(struct policy **)lua_getextraspace(policy->L) = policy;
    lua_atpanic(policy->L, on_panic);
    lua_gc(policy->L, LUA_GCSTOP); /* collected between calls, or when memory is short */
    if (load_step(&load, open_state))
        load_step(&load, load_file);
    problems_shorten(problems, before);
    policy->declaration = x_strdup(buffer_text(&load.declaration));
    buffer_free(&load.declaration);
    if (problems->count != before) {
        policy_free(policy);
        return NULL;
    }
    lua_gc(policy->L, LUA_GCCOLLECT);
    policy->at_rest = policy->memory;
    return policy;
}

void policy_free(struct policy *policy)
{
    if (policy == NULL)
        return;
    lua_close(policy->L);
    free(policy->declaration);
    free(policy->file);
    free(policy);
}

const char *policy_declaration(const struct policy *policy)
{
    return policy->declaration;
}

/* --- Asking ------------------------------------------------------------------------------------------ */

/* "line 14: MESSAGE", with the file's name where it is not the policy's. Takes "FILE:LINE: MESSAGE" apart;
 * errors that are worded otherwise are from where the function returned or stopped. */
static void fail_with_error(struct policy *policy, int status, struct policy_verdict *verdict)
{
    const char *error = words_of(policy, status), *colon = strchr(error, ':');
    const struct place *place = policy->returned ? &policy->last : &policy->fault;
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
    push_declaration(L);
    lua_getfield(L, -1, call->admit ? "admit" : "advance");
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

static void answer(struct call *call, const struct policy_moment *moment)
{
    struct policy *policy = call->policy;
    policy->moment = moment;
    *call->verdict = (struct policy_verdict){0};
    int status = run(policy, ask, call);
    if (status != LUA_OK) {
        fail_with_error(policy, status, call->verdict);
    } else {
        const char *source = policy->last.source;
        call->verdict->line = policy->last.line;
        if (source != NULL && strcmp(source + 1, policy->file) != 0)
            verdict_set_file(call->verdict, source + 1, strlen(source + 1));
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
