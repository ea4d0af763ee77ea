#include "lua/tasks.h"
#include "base/log.h"
#include "base/mem.h"
#include "lua/coroutine.h"
#include "lua/json.h"
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

enum { LOOK_EVERY = 100, MOST_TASKS = 32, AGAIN_AFTER = 5000 }; /* times in ms */

/* Declarations. */

/* "500ms", "1s", "5m", "1h" or a number of seconds, as ms; 0 for anything else. */
static uint64_t duration(lua_State *L, int index)
{
    static const double longest = 1e12; /* ms; beyond, as for NaN, there is no conversion */
    char *end;
    const char *text = lua_type(L, index) == LUA_TSTRING ? lua_tostring(L, index) : "";
    double value = strtod(text, &end);
    double factor = strcmp(end, "ms") == 0  ? 1
                    : strcmp(end, "s") == 0 ? 1000
                    : strcmp(end, "m") == 0 ? 60000
                    : strcmp(end, "h") == 0 ? 3600000
                                            : 0;
    value = lua_type(L, index) == LUA_TNUMBER ? lua_tonumber(L, index) * 1000 : value * factor;
    return value > 0 && value < longest ? (uint64_t)value : 0;
}

void tasks_add(struct generation *generation, lua_State *L, const struct bundle_file *file)
{
    struct task task = {.name = file->name};
    if (!lua_istable(L, -1))
        luaL_error(L, "%s:1: must return a table with every and run", file->path);
    lua_getfield(L, -1, "every");
    task.every = duration(L, -1);
    if (task.every < LOOK_EVERY)
        luaL_error(L, "%s:1: every must be a duration of at least %d ms, such as \"1s\"", file->path,
                   LOOK_EVERY);
    if (generation->task_count == MOST_TASKS)
        luaL_error(L, "%s:1: more than %d tasks", file->path, MOST_TASKS);
    if (lua_getfield(L, -2, "run") != LUA_TFUNCTION)
        luaL_error(L, "%s:1: run must be a function", file->path);
    task.handler = luaL_ref(L, LUA_REGISTRYINDEX);
    generation->tasks = x_realloc(generation->tasks, (generation->task_count + 1) * sizeof(task));
    generation->tasks[generation->task_count++] = task;
}

void tasks_set_handler(int *handler, lua_State *L, const struct bundle_file *file)
{
    if (!lua_isfunction(L, -1))
        luaL_error(L, "%s:1: must return a function", file->path);
    *handler = luaL_ref(L, LUA_REGISTRYINDEX);
}

/* Runs that failed in a row. Logged when it begins, when the error becomes another, and when it is over. */
struct failures {
    unsigned long long count;
    char *error;
};

static void note_end(struct failures *failures, struct coroutine *coroutine, bool ok, const char *what)
{
    if (ok && failures->count > 0) {
        log_info("script works again", LOG_STR("script", what), LOG_INT("failed", (int64_t)failures->count));
        free(failures->error);
        *failures = (struct failures){0};
    } else if (!ok) {
        char *text = coroutine_error_text(coroutine);
        failures->count++;
        if (failures->error == NULL || strcmp(failures->error, text) != 0)
            log_warn("script failed", LOG_STR("script", what), LOG_STR("error", text));
        free(failures->error);
        failures->error = text;
    }
}

/* Tasks: found by name from one generation to the next, so that a reload neither starts one twice nor
 * forgets when it ran. */

struct running {
    struct tasks *tasks;
    char *name;
    uint64_t next; /* clock_ms() */
    bool busy;
    struct failures failures;
};

struct tasks {
    struct runtime *runtime;
    struct timer timer;
    bool stopping;
    size_t count, busy;
    struct running *list[MOST_TASKS];
};

static void on_task_end(struct coroutine *coroutine, bool ok, int results)
{
    struct running *running = coroutine->arg;
    running->busy = false;
    running->tasks->busy--;
    if (!ok && running->next > clock_ms() + AGAIN_AFTER)
        running->next = clock_ms() + AGAIN_AFTER;
    note_end(&running->failures, coroutine, ok, running->name);
}

static bool has_task(const struct generation *generation, const char *name)
{
    for (size_t i = 0; i < generation->task_count; i++) {
        if (strcmp(generation->tasks[i].name, name) == 0)
            return true;
    }
    return false;
}

static void running_free(struct running *running)
{
    free(running->failures.error);
    free(running->name);
    free(running);
}

/* Those that earlier scripts had make room for new ones. */
static void forget_gone(struct tasks *tasks)
{
    for (size_t i = tasks->count; i-- > 0;) {
        struct running *running = tasks->list[i];
        if (running->busy || has_task(tasks->runtime->current, running->name))
            continue;
        tasks->list[i] = tasks->list[--tasks->count];
        running_free(running);
    }
}

static struct running *find_running(struct tasks *tasks, const char *name)
{
    for (size_t i = 0; i < tasks->count; i++) {
        if (strcmp(tasks->list[i]->name, name) == 0)
            return tasks->list[i];
    }
    if (tasks->count == MOST_TASKS)
        forget_gone(tasks);
    if (tasks->count == MOST_TASKS)
        return NULL;
    struct running *running = x_new(struct running);
    running->tasks = tasks;
    running->name = x_strdup(name);
    tasks->list[tasks->count++] = running;
    return running;
}

static void start_task(struct tasks *tasks, const struct task *task, uint64_t now)
{
    struct running *running = find_running(tasks, task->name);
    if (running == NULL || running->busy || running->next > now)
        return;
    struct coroutine *coroutine = coroutine_new(tasks->runtime->current);
    if (coroutine == NULL)
        return;
    running->next = now + task->every;
    running->busy = true;
    tasks->busy++;
    coroutine->arg = running;
    coroutine->on_end = on_task_end;
    lua_rawgeti(coroutine->L, LUA_REGISTRYINDEX, task->handler);
    coroutine_resume(coroutine, 0);
}

static void on_timer(struct timer *timer)
{
    struct tasks *tasks = H2O_STRUCT_FROM_MEMBER(struct tasks, timer, timer);
    struct generation *generation = generation_hold(tasks->runtime->current);
    uint64_t now = clock_ms();
    for (size_t i = 0; i < generation->task_count && !tasks->stopping; i++)
        start_task(tasks, &generation->tasks[i], now);
    generation_release(generation);
    if (!tasks->stopping)
        timer_set(tasks->runtime->worker->timers, timer, LOOK_EVERY);
}

struct tasks *tasks_new(struct runtime *runtime)
{
    struct tasks *tasks = x_new(struct tasks);
    tasks->runtime = runtime;
    tasks->timer.fire = on_timer;
    timer_set(runtime->worker->timers, &tasks->timer, LOOK_EVERY);
    return tasks;
}

void tasks_stop(struct tasks *tasks)
{
    tasks->stopping = true;
    timer_cancel(tasks->runtime->worker->timers, &tasks->timer);
}

bool tasks_idle(const struct tasks *tasks)
{
    return tasks->busy == 0;
}

void tasks_free(struct tasks *tasks)
{
    for (size_t i = 0; i < tasks->count; i++)
        running_free(tasks->list[i]);
    free(tasks);
}

/* Changes. */

struct batch {
    struct changes *changes;
    struct ingest_change **list;
    size_t count, room;
};

struct changes {
    struct runtime *runtime;
    struct timer timer;
    struct batch waiting;
    struct failures failures;
};

static void finish_batch(struct batch *batch, bool ok)
{
    for (size_t i = 0; i < batch->count; i++)
        ingest_change_done(batch->list[i], ok);
    free(batch->list);
    free(batch);
}

static void on_batch_end(struct coroutine *coroutine, bool ok, int results)
{
    struct batch *batch = coroutine->arg;
    note_end(&batch->changes->failures, coroutine, ok, "topics/status");
    finish_batch(batch, ok);
}

static void set_text(lua_State *L, const char *name, const char *text)
{
    if (text == NULL)
        return;
    lua_pushstring(L, text);
    lua_setfield(L, -2, name);
}

static void push_change(lua_State *L, const struct ingest_change *change)
{
    lua_createtable(L, 0, 4);
    lua_pushinteger(L, change->device);
    lua_setfield(L, -2, "device_id");
    if (change->what & INGEST_ONLINE)
        set_text(L, "status", change->online ? "online" : "offline");
    if (change->what & INGEST_VERSION)
        set_text(L, "firmware_version", change->firmware_version);
    if (change->what & INGEST_OTA) {
        lua_createtable(L, 0, 4);
        lua_pushinteger(L, change->ota.update_id);
        lua_setfield(L, -2, "update_id");
        set_text(L, "state", change->ota.state);
        if (change->ota.progress >= 0) {
            lua_pushinteger(L, change->ota.progress);
            lua_setfield(L, -2, "progress");
        }
        set_text(L, "error", change->ota.error);
        lua_setfield(L, -2, "ota");
    }
}

static int after_handler(lua_State *L, int status, lua_KContext context)
{
    return 0;
}

/* The coroutine's function: makes the list inside the protected resume, then is the handler. */
static int run_handler(lua_State *L)
{
    const struct batch *batch = lua_touserdata(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, coroutine_of(L)->generation->status_handler);
    lua_createtable(L, (int)batch->count, 0);
    for (size_t i = 0; i < batch->count; i++) {
        push_change(L, batch->list[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    json_mark_list(L);
    lua_callk(L, 1, 0, 0, after_handler);
    return 0;
}

static void on_changes_timer(struct timer *timer)
{
    struct changes *changes = H2O_STRUCT_FROM_MEMBER(struct changes, timer, timer);
    struct generation *generation = changes->runtime->current;
    struct batch *batch = x_new(struct batch);
    *batch = changes->waiting;
    batch->changes = changes;
    changes->waiting = (struct batch){0};
    struct coroutine *coroutine = generation->status_handler == LUA_NOREF ? NULL : coroutine_new(generation);
    if (coroutine == NULL) {
        finish_batch(batch, generation->status_handler == LUA_NOREF);
        return;
    }
    coroutine->arg = batch;
    coroutine->on_end = on_batch_end;
    lua_pushcfunction(coroutine->L, run_handler);
    lua_pushlightuserdata(coroutine->L, batch);
    coroutine_resume(coroutine, 1);
}

struct changes *changes_new(struct runtime *runtime)
{
    struct changes *changes = x_new(struct changes);
    changes->runtime = runtime;
    changes->timer.fire = on_changes_timer;
    return changes;
}

void changes_free(struct changes *changes)
{
    for (size_t i = 0; i < changes->waiting.count; i++) /* being told so may bring more */
        ingest_change_done(changes->waiting.list[i], false);
    timer_cancel(changes->runtime->worker->timers, &changes->timer);
    free(changes->waiting.list);
    free(changes->failures.error);
    free(changes);
}

void changes_take(struct changes *changes, struct ingest_change *change)
{
    struct batch *batch = &changes->waiting;
    if (batch->count == batch->room) {
        batch->room = batch->room == 0 ? 16 : batch->room * 2;
        batch->list = x_realloc(batch->list, batch->room * sizeof(*batch->list));
    }
    batch->list[batch->count++] = change;
    if (batch->count == 1)
        timer_set(changes->runtime->worker->timers, &changes->timer, 0);
}
