#include "lua/reload.h"
#include "base/log.h"
#include "base/mem.h"
#include "lua/tree_watch.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { RETRY = 100 }; /* ms until the pool has room */

struct waiter {
    struct letter letter;
    struct reload *reload;
    struct worker *worker;
    void (*done)(void *arg);
    void *arg;
    struct waiter *next;
};

/* One worker's share of a load. */
struct share {
    struct letter letter;
    struct reload *reload;
    unsigned index;
    struct generation *generation; /* NULL: did not load */
    struct problems problems;
};

struct reload {
    const char *directory;
    reload_load load;
    struct worker **workers;
    struct runtime *(*find_runtime)(struct worker *);
    unsigned count;

    pthread_mutex_t lock; /* for what any thread may read: `state` and `bundle` */
    struct reload_state state;
    struct bundle *bundle;
    uint64_t good, bad;

    /* Worker 0 only. */
    bool loading;
    struct waiter *waiting, *served; /* for the next load; for the one under way */
    struct offload_job job;
    struct letter read_letter;
    struct bundle *next;
    char *read_error;
    struct share *shares;
    unsigned missing;
    struct timer retry;
    struct tree_watch *watch;
};

static void start(struct reload *reload);

struct reload *reload_new(const char *directory, reload_load load, struct problems *problems)
{
    struct reload *reload = x_new(struct reload);
    char *error = NULL;
    reload->directory = directory;
    reload->load = load;
    reload->bundle = bundle_read(directory, &error);
    if (reload->bundle == NULL) {
        problems_add(problems, "", 0, error);
        free(error);
        free(reload);
        return NULL;
    }
    pthread_mutex_init(&reload->lock, NULL);
    strcpy(reload->state.revision, reload->bundle->revision);
    reload->state.loaded_at = reload->bundle->read_at;
    reload->state.files = reload->bundle->count;
    reload->good = 1;
    return reload;
}

void reload_free(struct reload *reload)
{
    problems_free(&reload->state.problems);
    bundle_release(reload->bundle);
    pthread_mutex_destroy(&reload->lock);
    free(reload->shares);
    free(reload);
}

void reload_set_workers(struct reload *reload, struct worker **workers,
                        struct runtime *(*find_runtime)(struct worker *), unsigned count)
{
    reload->workers = workers;
    reload->find_runtime = find_runtime;
    reload->count = count;
    reload->shares = x_alloc(count * sizeof(*reload->shares));
}

struct bundle *reload_bundle(struct reload *reload)
{
    pthread_mutex_lock(&reload->lock);
    struct bundle *bundle = bundle_hold(reload->bundle);
    pthread_mutex_unlock(&reload->lock);
    return bundle;
}

void reload_state(struct reload *reload, struct reload_state *out)
{
    pthread_mutex_lock(&reload->lock);
    *out = reload->state;
    out->problems = (struct problems){0};
    problems_copy(&out->problems, &reload->state.problems);
    pthread_mutex_unlock(&reload->lock);
}

void reload_state_free(struct reload_state *state)
{
    problems_free(&state->problems);
}

void reload_counts(struct reload *reload, uint64_t *good, uint64_t *bad)
{
    pthread_mutex_lock(&reload->lock);
    *good = reload->good;
    *bad = reload->bad;
    pthread_mutex_unlock(&reload->lock);
}

static void on_served(struct letter *letter, struct worker *worker)
{
    struct waiter *waiter = H2O_STRUCT_FROM_MEMBER(struct waiter, letter, letter);
    if (waiter->done != NULL)
        waiter->done(waiter->arg);
    free(waiter);
}

/* Takes over `problems` and, where there are none, the bundle. */
static void finish(struct reload *reload, struct problems *problems)
{
    bool good = problems->count == 0;
    for (size_t i = 0; i < problems->count; i++)
        log_error("scripts not loaded", LOG_STR("file", problems->list[i].file),
                  LOG_INT("line", problems->list[i].line), LOG_STR("problem", problems->list[i].message));
    pthread_mutex_lock(&reload->lock);
    problems_free(&reload->state.problems);
    reload->state.problems = *problems;
    *problems = (struct problems){0};
    if (good) {
        struct bundle *old = reload->bundle;
        reload->bundle = reload->next;
        strcpy(reload->state.revision, reload->bundle->revision);
        reload->state.loaded_at = reload->bundle->read_at;
        reload->state.files = reload->bundle->count;
        reload->good++;
        bundle_release(old);
    } else {
        bundle_release(reload->next);
        reload->bad++;
    }
    pthread_mutex_unlock(&reload->lock);
    reload->next = NULL;
    if (good)
        log_info("scripts loaded", LOG_STR("revision", reload->state.revision),
                 LOG_INT("files", reload->state.files));

    for (struct waiter *waiter = reload->served, *after; waiter != NULL; waiter = after) {
        after = waiter->next;
        waiter->letter.deliver = on_served;
        worker_post(waiter->worker, &waiter->letter);
    }
    reload->served = NULL;
    reload->loading = false;
    if (reload->waiting != NULL)
        start(reload);
}

/* Worker 0: the last worker has swapped, or dropped what it loaded. */
static void on_settled(struct letter *letter, struct worker *worker)
{
    struct share *share = H2O_STRUCT_FROM_MEMBER(struct share, letter, letter);
    struct reload *reload = share->reload;
    if (--reload->missing != 0)
        return;
    struct problems problems = {0};
    for (unsigned i = 0; i < reload->count; i++) {
        if (problems.count == 0)
            problems_copy(&problems, &reload->shares[i].problems); /* all workers saw the same */
        problems_free(&reload->shares[i].problems);
    }
    finish(reload, &problems);
}

static void reply(struct share *share, void (*deliver)(struct letter *letter, struct worker *worker))
{
    share->letter.deliver = deliver;
    worker_post(share->reload->workers[0], &share->letter);
}

static void on_swap(struct letter *letter, struct worker *worker)
{
    struct share *share = H2O_STRUCT_FROM_MEMBER(struct share, letter, letter);
    struct runtime *runtime = share->reload->find_runtime(worker);
    struct generation *old = runtime->current;
    runtime->current = share->generation;
    runtime->reloads++;
    generation_release(old);
    reply(share, on_settled);
}

static void on_discard(struct letter *letter, struct worker *worker)
{
    struct share *share = H2O_STRUCT_FROM_MEMBER(struct share, letter, letter);
    if (share->generation != NULL)
        generation_release(share->generation);
    reply(share, on_settled);
}

/* Worker 0: another worker has loaded, or could not. */
static void on_loaded(struct letter *letter, struct worker *worker)
{
    struct reload *reload = H2O_STRUCT_FROM_MEMBER(struct share, letter, letter)->reload;
    if (--reload->missing != 0)
        return;
    bool good = true;
    for (unsigned i = 0; i < reload->count; i++)
        good = good && reload->shares[i].generation != NULL;
    reload->missing = reload->count;
    for (unsigned i = 0; i < reload->count; i++) {
        reload->shares[i].letter.deliver = good ? on_swap : on_discard;
        worker_post(reload->workers[i], &reload->shares[i].letter);
    }
}

static void on_load(struct letter *letter, struct worker *worker)
{
    struct share *share = H2O_STRUCT_FROM_MEMBER(struct share, letter, letter);
    share->generation =
        share->reload->load(share->reload->find_runtime(worker), share->reload->next, &share->problems);
    reply(share, on_loaded);
}

/* Worker 0: the files have been read. */
static void on_read(struct letter *letter, struct worker *worker)
{
    struct reload *reload = H2O_STRUCT_FROM_MEMBER(struct reload, read_letter, letter);
    if (reload->next == NULL) {
        struct problems problems = {0};
        problems_add(&problems, "", 0, reload->read_error);
        free(reload->read_error);
        finish(reload, &problems);
        return;
    }
    reload->missing = reload->count;
    for (unsigned i = 0; i < reload->count; i++) {
        reload->shares[i] = (struct share){.letter = {.deliver = on_load}, .reload = reload, .index = i};
        worker_post(reload->workers[i], &reload->shares[i].letter);
    }
}

static void run_read(struct offload_job *job)
{
    struct reload *reload = H2O_STRUCT_FROM_MEMBER(struct reload, job, job);
    reload->next = bundle_read(reload->directory, &reload->read_error);
}

static void on_run_done(struct offload_job *job)
{
    struct reload *reload = H2O_STRUCT_FROM_MEMBER(struct reload, job, job);
    reload->read_letter.deliver = on_read;
    worker_post(reload->workers[0], &reload->read_letter);
}

static void on_retry(struct timer *timer)
{
    start(H2O_STRUCT_FROM_MEMBER(struct reload, retry, timer));
}

static void start(struct reload *reload)
{
    const struct services *services = reload->find_runtime(reload->workers[0])->services;
    reload->job.run = run_read;
    reload->job.done = on_run_done;
    if (!offload_submit(services->offload, &reload->job)) {
        reload->retry.fire = on_retry;
        timer_set(reload->workers[0]->timers, &reload->retry, RETRY);
        return;
    }
    reload->loading = true;
    reload->served = reload->waiting;
    reload->waiting = NULL;
}

static void on_request(struct letter *letter, struct worker *worker)
{
    struct waiter *waiter = H2O_STRUCT_FROM_MEMBER(struct waiter, letter, letter);
    struct reload *reload = waiter->reload;
    waiter->next = reload->waiting;
    reload->waiting = waiter;
    if (!reload->loading && reload->retry.slot == 0)
        start(reload);
}

void reload_request(struct reload *reload, struct worker *worker, void (*done)(void *arg), void *arg)
{
    struct waiter *waiter = x_new(struct waiter);
    waiter->reload = reload;
    waiter->worker = worker != NULL ? worker : reload->workers[0];
    waiter->done = done;
    waiter->arg = arg;
    waiter->letter.deliver = on_request;
    worker_post(reload->workers[0], &waiter->letter);
}

static void on_files_changed(void *arg)
{
    reload_request(arg, NULL, NULL, NULL);
}

void reload_watch(struct reload *reload, struct worker *worker)
{
    reload->watch = tree_watch_new(worker, reload->directory, on_files_changed, reload);
}

void reload_stop(struct reload *reload)
{
    if (reload->watch != NULL)
        tree_watch_free(reload->watch);
    reload->watch = NULL;
}

bool reload_idle(const struct reload *reload)
{
    return !reload->loading && reload->waiting == NULL;
}
