#include "policy/mod_simulate.h"
#include "base/mem.h"
#include "lua/json.h"
#include "lua/modules.h"
#include "lua/work.h"
#include "policy/mod_policies.h"
#include "policy/shelf.h"
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

enum { LOOK_EVERY = 250 }; /* ms between looks whether somebody waits for the answer */

struct question {
    struct work work;
    struct timers *timers;
    struct timer look;
    atomic_bool unwanted;
    struct host *host;
    struct shelf shelf; /* of the bundle that the coroutine holds */
    struct policy_source source, other;
    bool compared; /* with `other` */
    struct policy_text request, *texts;
    size_t count;
    struct buffer answer;
};

static void drop(struct work *work)
{
    struct question *question = (struct question *)work;
    timer_cancel(question->timers, &question->look);
    shelf_free(&question->shelf);
    buffer_free(&question->answer);
    for (size_t i = 0; i < question->count; i++)
        free((char *)question->texts[i].text);
    free(question->texts);
    free((char *)question->request.text);
    free((char *)question->source.name);
    free((char *)question->source.source.text);
    free((char *)question->other.source.text);
    free(question);
}

/* What was asked by a person who has gone, or has asked something else since, is in the way of others. */
static void look(struct timer *timer)
{
    struct question *question = H2O_STRUCT_FROM_MEMBER(struct question, look, timer);
    if (http_gone(question->work.coroutine->request))
        atomic_store(&question->unwanted, true);
    else
        timer_set(question->timers, timer, LOOK_EVERY);
}

static void run_simulate(struct work *work)
{
    struct question *question = (struct question *)work;
    host_heed(question->host, &question->unwanted);
    host_simulate(question->host, &question->source, question->request, question->texts, question->count,
                  &question->answer);
    host_heed(question->host, NULL);
}

static void run_replay(struct work *work)
{
    struct question *question = (struct question *)work;
    host_heed(question->host, &question->unwanted);
    host_replay(question->host, &question->source, question->compared ? &question->other : NULL,
                question->request, question->texts, question->count, &question->answer);
    host_heed(question->host, NULL);
}

static void run_test(struct work *work)
{
    struct question *question = (struct question *)work;
    host_heed(question->host, &question->unwanted);
    host_test(question->host, &question->source, question->request.text == NULL ? NULL : &question->request,
              &question->answer);
    host_heed(question->host, NULL);
}

static struct policy_text copy(lua_State *L, int index)
{
    size_t len;
    const char *text = lua_tolstring(L, index, &len);
    return (struct policy_text){x_memdup(text, len), len};
}

static int done(lua_State *L, int status, lua_KContext context)
{
    struct question *question = lua_touserdata(L, -1);
    char message[200];
    lua_pushlstring(L, question->answer.data, question->answer.len);
    drop(&question->work);
    size_t len;
    const char *text = lua_tolstring(L, -1, &len);
    if (!json_read(L, text, len, message, sizeof(message)))
        return luaL_error(L, "the process of policies answered what is not JSON: %s", message);
    lua_insert(L, -2);
    return 2;
}

/* The list of JSON texts at `index`, all of them strings; nil: none. */
static size_t check_texts(lua_State *L, int index)
{
    if (lua_isnoneornil(L, index))
        return 0;
    luaL_checktype(L, index, LUA_TTABLE);
    size_t count = lua_rawlen(L, index);
    for (size_t i = 1; i <= count; i++, lua_pop(L, 1)) {
        if (lua_rawgeti(L, index, (lua_Integer)i) != LUA_TSTRING)
            luaL_error(L, "the list must be of JSON texts");
    }
    return count;
}

static void check_there(lua_State *L)
{
    fail_unless_there(L, runtime_of(L)->services->policies, "policies");
    luaL_checkstring(L, 1);
    luaL_checkstring(L, 2);
}

/* About the policy whose name and source are the first arguments. Takes over the shelf. */
static struct question *ask_about(lua_State *L, struct shelf shelf)
{
    const struct policy_desk *desk = &runtime_of(L)->services->policies->simulations;
    struct question *question = x_new(struct question);
    question->work.drop = drop;
    question->work.pool = desk->queue;
    question->host = desk->host;
    question->timers = runtime_of(L)->worker->timers;
    question->look.fire = look;
    question->shelf = shelf;
    question->source =
        (struct policy_source){copy(L, 1).text, copy(L, 2), shelf.libraries, shelf.library_count};
    return question;
}

/* Arguments: name, source, request and, at `list`, texts; all checked before anything is made. */
static struct question *ask(lua_State *L, int list)
{
    check_there(L);
    luaL_checkstring(L, 3);
    size_t count = check_texts(L, list);
    struct question *question = ask_about(L, shelf_of(coroutine_of(L)->generation->bundle));
    question->request = copy(L, 3);
    if (!lua_isnoneornil(L, list))
        question->texts = x_alloc((count + 1) * sizeof(*question->texts));
    for (size_t i = 0; i < count; i++, lua_pop(L, 1)) {
        lua_rawgeti(L, list, (lua_Integer)i + 1);
        question->texts[question->count++] = copy(L, -1);
    }
    return question;
}

static int begin(lua_State *L, struct question *question)
{
    if (coroutine_of(L)->request != NULL)
        timer_set(question->timers, &question->look, LOOK_EVERY);
    return work_start(L, &question->work, done);
}

/* policies.simulate(name, source, request, devices?): the answer (policy/simulate.h), and its text. request
 * and devices are JSON texts. */
static int simulate(lua_State *L)
{
    struct question *question = ask(L, 4);
    question->work.run = run_simulate;
    return begin(L, question);
}

/* policies.replay(name, source, request, decisions, other?): the answer (policy/replay.h); other: a source to
 * compare with */
static int replay(lua_State *L)
{
    bool compared = !lua_isnoneornil(L, 5);
    if (compared)
        luaL_checkstring(L, 5);
    struct question *question = ask(L, 4);
    question->work.run = run_replay;
    question->compared = compared;
    question->other = question->source;
    question->other.source = compared ? copy(L, 5) : (struct policy_text){NULL, 0};
    return begin(L, question);
}

/* policies.test(name, source, tests?): the answer (policy/test_run.h); tests: the source of its *_test.lua */
static int test(lua_State *L)
{
    check_there(L);
    bool tests = luaL_optstring(L, 3, NULL) != NULL;
    struct question *question = ask_about(L, shelf_with_policies(coroutine_of(L)->generation->bundle));
    question->work.run = run_test;
    if (tests)
        question->request = copy(L, 3);
    return begin(L, question);
}

void mod_simulate_add(lua_State *L)
{
    static const luaL_Reg functions[] = {{"simulate", simulate},
                                         {"replay", replay},
                                         {"test", test},
                                         {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
