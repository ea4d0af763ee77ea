/* rollouts.*: the arithmetic of rollouts (fleet/rollout.h) on plans as policies declare them. */
#include "fleet/rollout.h"
#include "lua/modules.h"
#include <string.h>

/* The number `name` of the table on top, or `otherwise`. */
static double number(lua_State *L, const char *name, double otherwise)
{
    lua_getfield(L, -1, name);
    double value = luaL_optnumber(L, -1, otherwise);
    lua_pop(L, 1);
    return value;
}

static void read_stages(lua_State *L, struct rollout_plan *plan)
{
    lua_getfield(L, -1, "stages");
    luaL_checktype(L, -1, LUA_TTABLE);
    for (lua_Integer i = 1; i <= ROLLOUT_MOST_STAGES && lua_geti(L, -1, i) == LUA_TTABLE;
         i++, lua_pop(L, 1)) {
        struct rollout_stage *stage = &plan->stages[plan->stage_count++];
        stage->share = number(L, "share", 1);
        stage->soak = number(L, "soak", 0);
    }
    lua_pop(L, 2);
    if (plan->stage_count == 0)
        luaL_error(L, "a plan needs stages");
}

static void read_part(lua_State *L, const char *name)
{
    if (lua_getfield(L, -1, name) != LUA_TTABLE) {
        lua_pop(L, 1);
        lua_newtable(L);
    }
}

static void read_plan(lua_State *L, int index, struct rollout_plan *plan)
{
    luaL_checktype(L, index, LUA_TTABLE);
    memset(plan, 0, sizeof(*plan));
    lua_pushvalue(L, index);
    read_stages(L, plan);
    plan->concurrency = (int)number(L, "concurrency", 0);
    plan->max_failure = number(L, "max_failure", 0.05);
    read_part(L, "rate");
    plan->per_minute = number(L, "per_minute", 0);
    plan->growth = number(L, "growth", 1);
    lua_pop(L, 1);
    read_part(L, "retry");
    plan->retry_max = (int)number(L, "max", 0);
    plan->retry_after = number(L, "after", 600);
    lua_pop(L, 2);
}

static int check_stage(lua_State *L, int index, const struct rollout_plan *plan)
{
    lua_Integer stage = luaL_checkinteger(L, index);
    luaL_argcheck(L, stage >= -1 && stage < plan->stage_count, index, "no such stage");
    return (int)stage;
}

/* One row of counts, on top: {group, state, in_stage, asleep, retry, n} */
static void add_count(lua_State *L, struct rollout_tally *tally)
{
    int at = lua_gettop(L);
    lua_geti(L, at, 2);
    int state = rollout_device_state(luaL_checkstring(L, -1));
    lua_geti(L, at, 3);
    lua_geti(L, at, 4);
    lua_geti(L, at, 5);
    lua_geti(L, at, 6);
    bool in_stage = lua_toboolean(L, at + 2), asleep = lua_toboolean(L, at + 3),
         retry = lua_toboolean(L, at + 4);
    int n = (int)luaL_checkinteger(L, at + 5);
    lua_settop(L, at);
    if (state < 0) {
        luaL_error(L, "no such state of a device");
        return;
    }
    rollout_count(tally, (enum rollout_device_state)state, in_stage, asleep, retry, n);
}

static void set_integer(lua_State *L, const char *name, int value)
{
    lua_pushinteger(L, value);
    lua_setfield(L, -2, name);
}

static void set_number(lua_State *L, const char *name, double value)
{
    lua_pushnumber(L, value);
    lua_setfield(L, -2, name);
}

static void set_rates(lua_State *L, double rate, double low, double high)
{
    set_number(L, "failure_rate", rate);
    set_number(L, "failure_low", low);
    set_number(L, "failure_high", high);
}

/* rollouts.stats(plan, stage, stage_age, counts, known_succeeded, known_failed): `stats` of a policy without
 * control; and what is known then (struct rollout_known; nil counts as below zero) */
static int stats(lua_State *L)
{
    struct rollout_plan plan;
    struct rollout_tally tally = {0};
    struct rollout_stats out;
    read_plan(L, 1, &plan);
    int stage = check_stage(L, 2, &plan);
    double age = luaL_checknumber(L, 3);
    luaL_checktype(L, 4, LUA_TTABLE);
    struct rollout_known known = {(int)luaL_optinteger(L, 5, -1), (int)luaL_optinteger(L, 6, -1)};
    for (lua_Integer i = 1; lua_geti(L, 4, i) == LUA_TTABLE; i++, lua_pop(L, 1))
        add_count(L, &tally);
    rollout_stats(&plan, stage, age, &tally, &known, &out);
    lua_createtable(L, 0, 16);
    set_integer(L, "targeted", out.targeted);
    set_integer(L, "offered", out.offered);
    set_integer(L, "under_way", out.under_way);
    set_integer(L, "ended", out.ended);
    set_integer(L, "succeeded", out.succeeded);
    set_integer(L, "failed", out.failed);
    set_integer(L, "vanished", out.vanished);
    set_rates(L, out.failure_rate, out.failure_low, out.failure_high);
    set_number(L, "stage_age", age);
    lua_pushboolean(L, out.stage_done);
    lua_setfield(L, -2, "stage_done");
    lua_createtable(L, 0, 6);
    set_integer(L, "ended", out.since_resume.ended);
    set_integer(L, "succeeded", out.since_resume.succeeded);
    set_integer(L, "failed", out.since_resume.failed);
    set_rates(L, out.since_resume.failure_rate, out.since_resume.failure_low, out.since_resume.failure_high);
    lua_setfield(L, -2, "since_resume");
    lua_pushinteger(L, known.succeeded);
    lua_pushinteger(L, known.failed);
    return 3;
}

/* rollouts.budget(plan, stage, elapsed, under_way, credit): how many may be offered now, and the credit then
 */
static int budget(lua_State *L)
{
    struct rollout_plan plan;
    read_plan(L, 1, &plan);
    double credit = luaL_checknumber(L, 5);
    lua_pushinteger(L, rollout_budget(&plan, check_stage(L, 2, &plan), luaL_checknumber(L, 3),
                                      (int)luaL_checkinteger(L, 4), &credit));
    lua_pushnumber(L, credit);
    return 2;
}

/* rollouts.retry(plan, attempts): seconds until a device is asked again should this attempt fail, or nil */
static int retry(lua_State *L)
{
    struct rollout_plan plan;
    read_plan(L, 1, &plan);
    double after = rollout_retry(&plan, (int)luaL_checkinteger(L, 2));
    if (after < 0)
        return 0;
    lua_pushnumber(L, after);
    return 1;
}

static int integer_of(lua_State *L, int index, const char *name)
{
    lua_getfield(L, index, name);
    int value = (int)luaL_checkinteger(L, -1);
    lua_pop(L, 1);
    return value;
}

/* rollouts.advance(plan, stats, stage): {verdict, reason}, where the policy leaves it to the server */
static int advance(lua_State *L)
{
    struct rollout_plan plan;
    struct rollout_stats in = {0};
    char reason[100];
    read_plan(L, 1, &plan);
    luaL_checktype(L, 2, LUA_TTABLE);
    int stage = check_stage(L, 3, &plan);
    luaL_argcheck(L, stage >= 0, 3, "not begun");
    in.succeeded = integer_of(L, 2, "succeeded");
    in.failed = integer_of(L, 2, "failed");
    lua_getfield(L, 2, "since_resume");
    luaL_checktype(L, -1, LUA_TTABLE);
    in.since_resume.ended = integer_of(L, -1, "ended");
    in.since_resume.failed = integer_of(L, -1, "failed");
    lua_getfield(L, -1, "failure_low");
    in.since_resume.failure_low = luaL_checknumber(L, -1);
    lua_getfield(L, 2, "stage_done");
    in.stage_done = lua_toboolean(L, -1);
    lua_getfield(L, 2, "stage_age");
    double age = luaL_checknumber(L, -1);
    lua_createtable(L, 0, 2);
    lua_pushstring(L, rollout_default_advance(&plan, &in, stage, age, reason, sizeof(reason)));
    lua_setfield(L, -2, "verdict");
    lua_pushstring(L, reason);
    lua_setfield(L, -2, "reason");
    return 1;
}

/* rollouts.ask_again(asked): seconds until a device is asked again that was held `asked` times in a row */
static int ask_again(lua_State *L)
{
    lua_pushnumber(L, rollout_ask_again((int)luaL_checkinteger(L, 1)));
    return 1;
}

void mod_rollouts_open(lua_State *L)
{
    static const luaL_Reg functions[] = {{"stats", stats},     {"budget", budget},       {"retry", retry},
                                         {"advance", advance}, {"ask_again", ask_again}, {NULL, NULL}};
    luaL_newlib(L, functions);
    lua_setglobal(L, "rollouts");
}
