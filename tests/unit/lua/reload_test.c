/* Reloads with real workers while coroutines are under way on each of them. */
#include "lab.h"
#include "lua/coroutine.h"
#include "lua/reload.h"
#include <semaphore.h>
#include <stdatomic.h>
#include <unistd.h>

enum { WORKERS = 3, BUSY = 4 };

/* A worker as cli/parts.c makes it, as far as scripts go. */
struct station {
    struct runtime runtime;
    struct fleet *fleet;
    unsigned active;
    atomic_uint ended, wrong;
    bool stopping;
};

struct fleet {
    struct lab *lab;
    struct services services;
    struct reload *reload;
    struct worker *workers[WORKERS];
    struct station stations[WORKERS];
    sem_t started, reloaded;
    struct letter watch_letter;
};

/* pause(): waits for the next turn of the loop. */
static void on_pause_over(void *arg)
{
    coroutine_resume_with(arg, NULL);
}

static int pause_over(lua_State *L, int status, lua_KContext context)
{
    return 0;
}

static int pause_script(lua_State *L)
{
    worker_defer(runtime_of(L)->worker, on_pause_over, coroutine_to_wait(L));
    return lua_yieldk(L, 0, 0, pause_over);
}

static int add_pause(lua_State *L)
{
    lua_pushglobaltable(L);
    lua_pushliteral(L, "pause");
    lua_pushcfunction(L, pause_script);
    lua_rawset(L, -3);
    return 0;
}

static struct generation *load(struct runtime *runtime, struct bundle *bundle, struct problems *problems)
{
    struct generation *generation = loader_load(runtime, bundle, problems);
    if (generation != NULL && !generation_call(generation, add_pause, NULL, "", problems))
        abort();
    return generation;
}

/* The coroutine: what it requires must stay the same from its first turn to its last. */
static int run_visit(lua_State *L)
{
    generation_require(L, "lib/visit");
    lua_callk(L, 0, 0, 0, pause_over);
    return 0;
}

static void start_visit(struct station *station);

static void on_visit_end(struct coroutine *coroutine, bool ok, int results)
{
    struct station *station = coroutine->arg;
    station->active--;
    atomic_fetch_add(&station->ended, 1);
    if (!ok)
        atomic_fetch_add(&station->wrong, 1);
}

static void start_visit(struct station *station)
{
    struct coroutine *coroutine = coroutine_new(station->runtime.current);
    if (coroutine == NULL)
        abort();
    coroutine->arg = station;
    coroutine->on_end = on_visit_end;
    station->active++;
    lua_pushcfunction(coroutine->L, run_visit);
    coroutine_resume(coroutine, 0);
}

static void on_start(struct worker *worker)
{
    struct station *station = worker->parts;
    struct fleet *fleet = station->fleet;
    struct problems problems = {0};
    struct bundle *bundle = reload_bundle(fleet->reload);
    station->runtime.services = &fleet->services;
    station->runtime.worker = worker;
    station->runtime.metrics = metrics_new();
    station->runtime.watch.limit = 10000;
    watchdog_watch(fleet->services.watchdog, &station->runtime.watch);
    station->runtime.current = load(&station->runtime, bundle, &problems);
    bundle_release(bundle);
    sem_post(&fleet->started);
}

static void on_turn(struct worker *worker)
{
    struct station *station = worker->parts;
    while (!station->stopping && station->active < BUSY)
        start_visit(station);
}

static void on_stop(struct worker *worker)
{
    struct station *station = worker->parts;
    station->stopping = true;
    if (worker->index == 0)
        reload_stop(station->fleet->reload);
}

static bool on_stopped(struct worker *worker)
{
    return ((struct station *)worker->parts)->active == 0;
}

static void on_end(struct worker *worker)
{
    struct station *station = worker->parts;
    generation_release(station->runtime.current);
    usleep(2000);
    timers_run(worker->timers, 0);
    watchdog_unwatch(station->fleet->services.watchdog, &station->runtime.watch);
    metrics_free(station->runtime.metrics);
    buffer_free(&station->runtime.out);
}

static const struct worker_hooks hooks = {on_start, on_turn, on_stop, on_stopped, on_end};

static struct runtime *find_runtime(struct worker *worker)
{
    return &((struct station *)worker->parts)->runtime;
}

static const char visit[] =
    "return function()\n"
    "  local before = require('lib.version')\n"
    "  for _ = 1, 5 do\n"
    "    pause()\n"
    "    local junk = {} for i = 1, 20 do junk[i] = { i } end\n"
    "    if require('lib.version') ~= before or before.ok ~= 'ok' then error('changed') end\n"
    "  end\n"
    "end\n";

static void write_version(struct lab *lab, int version)
{
    char text[64];
    snprintf(text, sizeof(text), "return { ok = 'ok', version = %d }", version);
    lab_write(lab, "lib/version.lua", text);
}

static void on_watch(struct letter *letter, struct worker *worker)
{
    struct fleet *fleet = H2O_STRUCT_FROM_MEMBER(struct fleet, watch_letter, letter);
    reload_watch(fleet->reload, worker);
    sem_post(&fleet->started);
}

static void open_fleet(struct fleet *fleet, struct lab *lab, bool watching)
{
    struct problems problems = {0};
    *fleet = (struct fleet){.lab = lab, .watch_letter.deliver = on_watch};
    lab_write(lab, "lib/visit.lua", visit);
    write_version(lab, 0);
    fleet->services = lab->services;
    fleet->services.offload = offload_new(1, 4);
    fleet->reload = reload_new(lab->directory, load, &problems);
    assert_non_null(fleet->reload);
    fleet->services.reload = fleet->reload;
    sem_init(&fleet->started, 0, 0);
    sem_init(&fleet->reloaded, 0, 0);
    for (unsigned i = 0; i < WORKERS; i++) {
        fleet->stations[i].fleet = fleet;
        fleet->workers[i] = worker_new(i, &fleet->stations[i], &hooks);
    }
    reload_set_workers(fleet->reload, fleet->workers, find_runtime, WORKERS);
    for (unsigned i = 0; i < WORKERS; i++)
        worker_start(fleet->workers[i]);
    for (unsigned i = 0; i < WORKERS; i++)
        sem_wait(&fleet->started);
    if (watching) { /* once all of them can be written to */
        worker_post(fleet->workers[0], &fleet->watch_letter);
        sem_wait(&fleet->started);
    }
}

static void close_fleet(struct fleet *fleet)
{
    offload_free(fleet->services.offload);
    for (unsigned i = 0; i < WORKERS; i++)
        worker_stop(fleet->workers[i]);
    for (unsigned i = 0; i < WORKERS; i++)
        worker_join(fleet->workers[i]);
    for (unsigned i = 0; i < WORKERS; i++) {
        assert_int_equal(fleet->stations[i].wrong, 0);
        assert_true(fleet->stations[i].ended > 0);
    }
    reload_free(fleet->reload);
}

static void on_reloaded(void *arg)
{
    sem_post(&((struct fleet *)arg)->reloaded);
}

static void reload_now(struct fleet *fleet, unsigned on)
{
    struct timespec limit;
    reload_request(fleet->reload, fleet->workers[on], on_reloaded, fleet);
    clock_gettime(CLOCK_REALTIME, &limit);
    limit.tv_sec += 20;
    if (sem_timedwait(&fleet->reloaded, &limit) != 0)
        fail_msg("no answer to a reload");
}

static void revision(struct fleet *fleet, char out[65], size_t problems)
{
    struct reload_state state;
    reload_state(fleet->reload, &state);
    strcpy(out, state.revision);
    if (state.problems.count != problems)
        fail_msg("%zu problems", state.problems.count);
    reload_state_free(&state);
}

static void test_hundreds_of_reloads_under_way(void **state)
{
    struct fleet fleet;
    char now[65], before[65];
    uint64_t good, bad;
    open_fleet(&fleet, *state, false);
    revision(&fleet, before, 0);
    for (int i = 1; i <= 200; i++) {
        bool broken = i % 10 == 0;
        if (broken)
            lab_write(fleet.lab, "lib/version.lua", i % 20 == 0 ? "return {" : "error('x')");
        else
            write_version(fleet.lab, i);
        reload_now(&fleet, (unsigned)i % WORKERS);
        revision(&fleet, now, broken);
        assert_int_equal(strcmp(now, before) == 0, broken); /* broken ones change nothing */
        strcpy(before, now);
    }
    reload_counts(fleet.reload, &good, &bad);
    assert_int_equal(good, 1 + 180);
    assert_int_equal(bad, 20);
    close_fleet(&fleet);
}

/* Many ask at once: one load serves all that asked before it began, and each is told once. */
static void test_many_ask_at_once(void **state)
{
    struct fleet fleet;
    uint64_t good, bad;
    open_fleet(&fleet, *state, false);
    for (int i = 0; i < 500; i++)
        reload_request(fleet.reload, i % 4 == 3 ? NULL : fleet.workers[i % 4], on_reloaded, &fleet);
    for (int i = 0; i < 500; i++)
        sem_wait(&fleet.reloaded);
    write_version(fleet.lab, 9);
    reload_now(&fleet, 0);
    int left;
    sem_getvalue(&fleet.reloaded, &left);
    assert_int_equal(left, 0);
    reload_counts(fleet.reload, &good, &bad);
    assert_in_range(good, 3, 400); /* the first may have been alone */
    assert_int_equal(bad, 0);
    close_fleet(&fleet);
}

static void test_directory_gone(void **state)
{
    struct fleet fleet;
    char before[65], after[65], aside[128];
    open_fleet(&fleet, *state, false);
    revision(&fleet, before, 0);
    snprintf(aside, sizeof(aside), "%s.aside", fleet.lab->directory);
    assert_int_equal(rename(fleet.lab->directory, aside), 0);
    reload_now(&fleet, 1);
    revision(&fleet, after, 1);
    assert_string_equal(before, after);
    assert_int_equal(rename(aside, fleet.lab->directory), 0);
    reload_now(&fleet, 1);
    revision(&fleet, after, 0);
    close_fleet(&fleet);
}

static void wait_for_counts(struct fleet *fleet, uint64_t good, uint64_t bad)
{
    uint64_t have_good = 0, have_bad = 0, end = clock_ms() + 30000;
    while (clock_ms() < end) {
        reload_counts(fleet->reload, &have_good, &have_bad);
        if (have_good >= good && have_bad >= bad)
            return;
        usleep(5000);
    }
    fail_msg("%d good and %d bad loads", (int)have_good, (int)have_bad);
}

static void test_files_are_watched(void **state)
{
    struct fleet fleet;
    uint64_t good, bad, began;
    open_fleet(&fleet, *state, true);
    began = clock_ms();
    write_version(fleet.lab, 1); /* moved into place */
    wait_for_counts(&fleet, 2, 0);
    assert_true(clock_ms() - began < 5000);
    FILE *file =
        fopen(scratch_path(fleet.lab->scratch, "scripts/lib/version.lua"), "w"); /* written in place */
    fputs("return { ok = 'ok' }", file);
    fclose(file);
    wait_for_counts(&fleet, 3, 0);
    lab_write(fleet.lab, "lib/more/deep.lua", "return {}"); /* in a new folder */
    wait_for_counts(&fleet, 4, 0);
    usleep(150000);
    reload_counts(fleet.reload, &good, &bad);
    lab_write(fleet.lab, "lib/more/deep.lua", "return { 1 }"); /* which is watched, too */
    wait_for_counts(&fleet, good + 1, 0);
    lab_write(fleet.lab, "lib/more/deep.lua", "return {");
    wait_for_counts(&fleet, good + 1, 1);
    assert_int_equal(unlink(scratch_path(fleet.lab->scratch, "scripts/lib/more/deep.lua")), 0);
    wait_for_counts(&fleet, good + 2, 1);
    lab_write(fleet.lab, "lib/notes.txt", "not a script");
    usleep(200000);
    uint64_t after;
    reload_counts(fleet.reload, &after, &bad);
    assert_int_equal(after, good + 2);
    assert_int_equal(bad, 1);
    close_fleet(&fleet);
}

static void point(struct fleet *fleet, const char *link, const char *target)
{
    char path[512], fresh[520];
    strcpy(path, scratch_path(fleet->lab->scratch, link));
    snprintf(fresh, sizeof(fresh), "%s.new", path);
    if (symlink(target, fresh) != 0 || rename(fresh, path) != 0)
        fail_msg("%s", link);
}

static void write_aside(struct fleet *fleet, const char *name, const char *text)
{
    scratch_write(fleet->lab->scratch, name, text, strlen(text), 0600);
}

/* What links lead to is watched as what stands there itself. */
static void test_links_are_watched(void **state)
{
    struct fleet fleet;
    struct lab *lab = *state;
    assert_int_equal(mkdir(scratch_path(lab->scratch, "shared"), 0700), 0);
    assert_int_equal(mkdir(scratch_path(lab->scratch, "other"), 0700), 0);
    open_fleet(&fleet, lab, true);
    write_aside(&fleet, "shared/one.lua", "return {}");
    write_aside(&fleet, "other/one.lua", "return { 2 }");
    point(&fleet, "scripts/lib/linked", "../../shared"); /* a new link to a directory */
    wait_for_counts(&fleet, 2, 0);
    write_aside(&fleet, "shared/one.lua", "return { 1 }"); /* a file in it */
    wait_for_counts(&fleet, 3, 0);
    point(&fleet, "scripts/lib/linked", "../../other"); /* another in its place */
    wait_for_counts(&fleet, 4, 0);
    write_aside(&fleet, "single", "return {}");
    assert_int_equal(symlink("../../single", scratch_path(lab->scratch, "scripts/lib/single.lua")), 0);
    wait_for_counts(&fleet, 5, 0);
    write_aside(&fleet, "single", "return { 2 }"); /* seen by nothing but its own times */
    wait_for_counts(&fleet, 6, 0);
    close_fleet(&fleet);
}

/* As deployments do it: the directory of scripts is a link, and is led to another. */
static void test_another_directory(void **state)
{
    struct fleet fleet;
    struct lab *lab = *state;
    char first[65], second[65], path[512];
    strcpy(path, scratch_path(lab->scratch, "release"));
    open_fleet(&fleet, lab, false);
    assert_int_equal(rename(lab->directory, path), 0);
    assert_int_equal(symlink("release", lab->directory), 0);
    reload_now(&fleet, 0);
    revision(&fleet, first, 0);
    worker_post(fleet.workers[0], &fleet.watch_letter);
    sem_wait(&fleet.started);
    assert_int_equal(mkdir(scratch_path(lab->scratch, "newer"), 0700), 0);
    assert_int_equal(mkdir(scratch_path(lab->scratch, "newer/lib"), 0700), 0);
    write_aside(&fleet, "newer/lib/visit.lua", visit);
    write_aside(&fleet, "newer/lib/version.lua", "return { ok = 'ok', version = 'newer' }");
    usleep(200000);
    uint64_t began = clock_ms();
    point(&fleet, "scripts", "newer");
    wait_for_counts(&fleet, 3, 0);
    assert_true(clock_ms() - began < 5000);
    revision(&fleet, second, 0);
    assert_string_not_equal(first, second);
    lab_write(lab, "lib/version.lua", "return { ok = 'ok' }"); /* which is watched, too */
    wait_for_counts(&fleet, 4, 0);
    close_fleet(&fleet);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LAB_CASE(test_hundreds_of_reloads_under_way),
        LAB_CASE(test_many_ask_at_once),
        LAB_CASE(test_directory_gone),
        LAB_CASE(test_files_are_watched),
        LAB_CASE(test_links_are_watched),
        LAB_CASE(test_another_directory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
