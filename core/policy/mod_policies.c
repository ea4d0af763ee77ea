#include "policy/mod_policies.h"
#include "base/mem.h"
#include "lua/json.h"
#include "lua/modules.h"
#include "lua/work.h"
#include "policy/fields.h"
#include "policy/mod_save.h"
#include "policy/mod_simulate.h"
#include "policy/shelf.h"
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum { QUEUE = 64, SIMULATIONS = 4 };

static struct policy_desk desk_new(size_t queue)
{
    return (struct policy_desk){host_new(), offload_new(1, queue)};
}

static void desk_free(struct policy_desk *desk)
{
    offload_free(desk->queue);
    host_free(desk->host);
}

struct policy_hosts *policy_hosts_new(void)
{
    struct policy_hosts *hosts = x_new(struct policy_hosts);
    hosts->rollouts = desk_new(QUEUE);
    hosts->people = desk_new(QUEUE);
    hosts->simulations = desk_new(SIMULATIONS);
    return hosts;
}

void policy_hosts_stop(struct policy_hosts *hosts)
{
    offload_stop(hosts->rollouts.queue);
    offload_stop(hosts->people.queue);
    host_close(hosts->simulations.host); /* nobody waits for one now */
    offload_stop(hosts->simulations.queue);
}

void policy_hosts_free(struct policy_hosts *hosts)
{
    desk_free(&hosts->rollouts);
    desk_free(&hosts->people);
    desk_free(&hosts->simulations);
    free(hosts);
}

struct question {
    struct work work;
    struct host *host;
    struct shelf shelf; /* of the bundle that the coroutine holds */
    struct policy_source source;
    struct policy_moment moment;
    struct policy_text *texts; /* devices, or the stats */
    struct policy_verdict *verdicts;
    size_t count;
    double took;          /* seconds */
    struct buffer answer; /* of load: JSON */
    char *copies;         /* where all texts lie, each with its NUL */
};

static void ask_at(struct question *question, const struct policy_desk *desk)
{
    question->host = desk->host;
    question->work.pool = desk->queue;
}

static void drop(struct work *work)
{
    struct question *question = (struct question *)work;
    shelf_free(&question->shelf);
    buffer_free(&question->answer);
    free(question->texts);
    free(question->verdicts);
    free(question->copies);
    free(question);
}

/* Copies the text at `index` behind those before. */
static struct policy_text keep(lua_State *L, int index, char **at)
{
    size_t len;
    const char *text = lua_tolstring(L, index, &len);
    struct policy_text kept = {memcpy(*at, text, len + 1), len};
    *at += len + 1;
    return kept;
}

static size_t room_for(lua_State *L, int index)
{
    size_t len;
    luaL_checklstring(L, index, &len);
    return len + 1;
}

/* Arguments from 1 on: name, source, and, where there is a moment, rollout (JSON) and now. `room` is for what
 * else the caller copies, from *at on. */
static struct question *ask(lua_State *L, bool moment, size_t room, char **at)
{
    const struct services *services = runtime_of(L)->services;
    fail_unless_there(L, services->policies, "policies");
    room += room_for(L, 1) + room_for(L, 2) + (moment ? room_for(L, 3) : 0);
    double now = moment ? luaL_checknumber(L, 4) : 0;

    struct question *question = x_new(struct question);
    *at = question->copies = x_alloc(room);
    question->work.drop = drop;
    ask_at(question, &services->policies->rollouts);
    question->shelf = shelf_of(coroutine_of(L)->generation->bundle);
    question->source = (struct policy_source){.name = keep(L, 1, at).text,
                                              .libraries = question->shelf.libraries,
                                              .library_count = question->shelf.library_count};
    question->source.source = keep(L, 2, at);
    if (moment)
        question->moment = (struct policy_moment){.rollout = keep(L, 3, at), .now = now};
    return question;
}

static void run_load(struct work *work)
{
    struct question *question = (struct question *)work;
    host_load(question->host, &question->source, &question->answer);
}

static int load_done(lua_State *L, int status, lua_KContext context)
{
    struct question *question = lua_touserdata(L, -1);
    char message[200];
    lua_pushlstring(L, question->answer.data, question->answer.len);
    drop(&question->work);
    size_t len;
    const char *text = lua_tolstring(L, -1, &len);
    if (!json_read(L, text, len, message, sizeof(message)))
        return luaL_error(L, "the process of policies answered what is not JSON: %s", message);
    return 1;
}

/* policies.load(name, source): {problems, declaration?} */
static int load(lua_State *L)
{
    char *at;
    struct question *question = ask(L, false, 0, &at);
    ask_at(question, &runtime_of(L)->services->policies->people);
    question->work.run = run_load;
    return work_start(L, &question->work, load_done);
}

static void run_check(struct work *work)
{
    struct question *question = (struct question *)work;
    host_check(question->host, &question->source, CHECK_POLICY, &question->answer);
}

/* policies.check(name, source): {problems}, of loading and of reading, warnings too */
static int check(lua_State *L)
{
    char *at;
    struct question *question = ask(L, false, 0, &at);
    ask_at(question, &runtime_of(L)->services->policies->people);
    question->work.run = run_check;
    return work_start(L, &question->work, load_done);
}

static void push_verdict(lua_State *L, const struct policy_verdict *verdict)
{
    lua_createtable(L, 0, 6);
    lua_pushstring(L, policy_answer_name(verdict->answer));
    lua_setfield(L, -2, "verdict");
    lua_pushstring(L, *verdict->reason == '\0' ? NULL : verdict->reason);
    lua_setfield(L, -2, "reason");
    if (verdict->line > 0) {
        lua_pushinteger(L, verdict->line);
        lua_setfield(L, -2, "line");
    }
    if (*verdict->file != '\0') {
        lua_pushstring(L, verdict->file);
        lua_setfield(L, -2, "file");
    }
    if (verdict->again > 0) {
        lua_pushnumber(L, verdict->again);
        lua_setfield(L, -2, "again");
    }
    lua_pushboolean(L, verdict->failed);
    lua_setfield(L, -2, "failed");
}

static int push_verdicts(lua_State *L)
{
    const struct question *question = lua_touserdata(L, 1);
    lua_createtable(L, (int)question->count, 0);
    for (size_t i = 0; i < question->count; i++) {
        push_verdict(L, &question->verdicts[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

/* For those who watch: how long rollouts wait for policies, and how often a call goes wrong. */
static void count_answers(lua_State *L, const struct question *question, const char *call)
{
    struct metrics *metrics = runtime_of(L)->metrics;
    char label[32];
    snprintf(label, sizeof(label), "call=\"%s\"", call);
    metrics_observe(metrics_series(metrics, METRICS_HISTOGRAM, "otad_policy_duration_seconds", label,
                                   "from a question to its last verdict, up to 500 devices a question"),
                    question->took);
    struct metrics_series *failures = metrics_series(metrics, METRICS_COUNTER, "otad_policy_failures_total",
                                                     label, "calls that held because something went wrong");
    for (size_t i = 0; i < question->count; i++)
        failures->value += question->verdicts[i].failed;
}

/* What it pushes may fail for want of memory: the question goes first or after, never not. */
static int verdicts_done(lua_State *L, bool list)
{
    struct question *question = lua_touserdata(L, -1);
    count_answers(L, question, list ? "admit" : "advance");
    lua_pushcfunction(L, push_verdicts);
    lua_pushlightuserdata(L, question);
    int code = lua_pcall(L, 1, 1, 0);
    drop(&question->work);
    if (code != LUA_OK)
        return lua_error(L);
    if (!list)
        lua_rawgeti(L, -1, 1);
    return 1;
}

static int admit_done(lua_State *L, int status, lua_KContext context)
{
    return verdicts_done(L, true);
}

static int advance_done(lua_State *L, int status, lua_KContext context)
{
    return verdicts_done(L, false);
}

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void run_admit(struct work *work)
{
    struct question *question = (struct question *)work;
    double began = seconds_now();
    host_admit(question->host, &question->source, &question->moment, question->texts, question->count,
               question->verdicts);
    question->took = seconds_now() - began;
}

static void run_advance(struct work *work)
{
    struct question *question = (struct question *)work;
    double began = seconds_now();
    host_advance(question->host, &question->source, &question->moment, question->texts[0],
                 question->verdicts);
    question->took = seconds_now() - began;
}

/* policies.admit(name, source, rollout, now, devices): a verdict for each. rollout and devices are JSON
 * texts. */
static int admit(lua_State *L)
{
    luaL_checktype(L, 5, LUA_TTABLE);
    size_t count = lua_rawlen(L, 5), room = 0;
    for (size_t i = 1; i <= count; i++, lua_pop(L, 1)) {
        if (lua_rawgeti(L, 5, (lua_Integer)i) != LUA_TSTRING)
            return luaL_error(L, "devices must be JSON texts");
        room += lua_rawlen(L, -1) + 1;
    }
    char *at;
    struct question *question = ask(L, true, room, &at);
    question->count = count;
    question->texts = x_alloc((count + 1) * sizeof(*question->texts));
    question->verdicts = x_alloc((count + 1) * sizeof(*question->verdicts));
    for (size_t i = 0; i < count; i++, lua_pop(L, 1)) {
        lua_rawgeti(L, 5, (lua_Integer)i + 1);
        question->texts[i] = keep(L, -1, &at);
    }
    question->work.run = run_admit;
    return work_start(L, &question->work, admit_done);
}

/* policies.advance(name, source, rollout, now, stats): a verdict; "default" where the policy has no advance
 */
static int advance(lua_State *L)
{
    char *at;
    struct question *question = ask(L, true, room_for(L, 5), &at);
    question->count = 1;
    question->texts = x_alloc(sizeof(*question->texts));
    question->verdicts = x_alloc(sizeof(*question->verdicts));
    question->texts[0] = keep(L, 5, &at);
    question->work.run = run_advance;
    return work_start(L, &question->work, advance_done);
}

/* policies.files(): {{name, source, revision, saved_at}}: the policies among the scripts in force */
static int files(lua_State *L)
{
    const struct bundle *bundle = coroutine_of(L)->generation->bundle;
    static const char folder[] = "policies/";
    lua_Integer n = 0;
    lua_newtable(L);
    for (size_t i = 0; i < bundle->count; i++) {
        const struct bundle_file *file = &bundle->files[i];
        unsigned char hash[crypto_hash_sha256_BYTES];
        char hex[2 * sizeof(hash) + 1];
        if (strncmp(file->name, folder, sizeof(folder) - 1) != 0 || bundle_is_test(file))
            continue;
        crypto_hash_sha256(hash, (const unsigned char *)file->text, file->len);
        lua_createtable(L, 0, 4);
        lua_pushstring(L, file->name + sizeof(folder) - 1);
        lua_setfield(L, -2, "name");
        lua_pushlstring(L, file->text, file->len);
        lua_setfield(L, -2, "source");
        lua_pushstring(L, sodium_bin2hex(hex, sizeof(hex), hash, sizeof(hash)));
        lua_setfield(L, -2, "revision");
        lua_pushnumber(L, file->saved_at);
        lua_setfield(L, -2, "saved_at");
        lua_rawseti(L, -2, ++n);
    }
    return 1;
}

/* policies.tests(name): the source of policies/NAME_test.lua among the scripts; nil: there is none */
static int tests(lua_State *L)
{
    const char *name = lua_pushfstring(L, "policies/%s_test", luaL_checkstring(L, 1));
    const struct bundle_file *file = bundle_find(coroutine_of(L)->generation->bundle, name);
    if (file == NULL)
        return 0;
    lua_pushlstring(L, file->text, file->len);
    return 1;
}

/* policies.fields(): what policies are written with (policy/fields.h) */
static int fields(lua_State *L)
{
    fields_push(L);
    return 1;
}

void mod_policies_open(lua_State *L)
{
    static const luaL_Reg functions[] = {{"load", load},       {"check", check}, {"admit", admit},
                                         {"advance", advance}, {"files", files}, {"tests", tests},
                                         {"fields", fields},   {NULL, NULL}};
    luaL_newlib(L, functions);
    mod_simulate_add(L);
    mod_save_add(L);
    lua_setglobal(L, "policies");
}
