#include "cli/parts.h"
#include "base/log.h"
#include "base/mem.h"
#include "lua/dispatch.h"
#include "lua/feed_socket.h"
#include "lua/loader.h"
#include "lua/reload.h"
#include "lua/request.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { TRANSACTIONS = 2, LONGEST_STOP = 30000, INGEST_DEVICES = 131072 };

/* What every worker must hear about sessions. */
struct word {
    struct letter letter;
    char sid[40]; /* ended; or "": */
    bool known;   /* whether all that ended are known */
};

static struct parts *parts_of(struct worker *worker)
{
    return worker->parts;
}

static void on_word(struct letter *letter, struct worker *worker)
{
    struct word *word = H2O_STRUCT_FROM_MEMBER(struct word, letter, letter);
    struct runtime *runtime = &parts_of(worker)->runtime;
    if (*word->sid == '\0')
        runtime->revocations_known = word->known;
    else {
        revocations_add(runtime->revocations, word->sid);
        if (runtime->feed != NULL)
            feed_revoke(runtime->feed, word->sid);
    }
    free(word);
}

static void tell_all(struct app *app, const char *sid, bool known)
{
    for (unsigned i = 0; i < app->count; i++) {
        struct word *word = x_new(struct word);
        word->letter.deliver = on_word;
        word->known = known;
        snprintf(word->sid, sizeof(word->sid), "%s", sid);
        worker_post(app->workers[i], &word->letter);
    }
}

void parts_revoke(struct app *app, const char *sid)
{
    tell_all(app, sid, true);
}

static void on_session_ended(void *arg, const char *sid)
{
    parts_revoke(arg, sid);
}

static void on_sessions_complete(void *arg, bool complete)
{
    tell_all(arg, "", complete);
}

static void on_change(void *arg, struct ingest_change *change)
{
    changes_take(((struct parts *)arg)->changes, change);
}

static struct pg *new_pg(struct worker *worker, struct parts *parts, unsigned connections,
                         unsigned transactions)
{
    const struct config *config = parts->app->config;
    struct pg_options options = {.url = config->database_url,
                                 .statements = parts->app->services.statements,
                                 .connections = connections,
                                 .transactions = transactions,
                                 .timeout = (uint64_t)config->database_timeout,
                                 .metrics = parts->runtime.metrics};
    return pg_new(worker, &options);
}

static bool load_scripts(struct parts *parts)
{
    struct problems problems = {0};
    struct bundle *bundle = reload_bundle(parts->app->services.reload);
    parts->runtime.current = loader_load(&parts->runtime, bundle, &problems);
    bundle_release(bundle);
    if (parts->runtime.current != NULL)
        return true;
    struct buffer text = {0};
    for (size_t i = 0; i < problems.count; i++)
        buffer_printf(&text, "%s%s:%d: %s", i == 0 ? "" : "\n", problems.list[i].file, problems.list[i].line,
                      problems.list[i].message);
    parts->error = x_strdup(buffer_text(&text));
    buffer_free(&text);
    problems_free(&problems);
    return false;
}

static void on_start(struct worker *worker)
{
    struct parts *parts = parts_of(worker);
    struct app *app = parts->app;
    const struct config *config = app->config;
    struct runtime *runtime = &parts->runtime;

    runtime->services = &app->services;
    runtime->worker = worker;
    runtime->metrics = metrics_new();
    runtime->watch.limit = (uint64_t)config->lua_call_timeout;
    watchdog_watch(app->services.watchdog, &runtime->watch);
    runtime->revocations = revocations_new((uint64_t)config->auth_access_ttl);
    runtime->jwt_cache = jwt_cache_new(app->services.jwt_keys, config->auth_issuer, config->auth_audience);
    runtime->pg = new_pg(worker, parts, (unsigned)config->database_connections, TRANSACTIONS);
    parts->ingest_pg = new_pg(worker, parts, 1, 0);
    runtime->redis = redis_new(worker, config->redis_url);
    if (runtime->redis == NULL)
        parts->error =
            x_strdup("redis.url is not of the form redis://[[user]:password@]host[:port][/database]");
    else if (load_scripts(parts)) {
        struct feed_options feed = {.shared = app->feed,
                                    .worker = worker,
                                    .redis = runtime->redis,
                                    .redis_url = config->redis_url,
                                    .secret = app->services.seal_key,
                                    .metrics = runtime->metrics,
                                    .on_text = feed_socket_text,
                                    .on_gone = feed_socket_gone,
                                    .arg = runtime};
        runtime->feed = feed_new(&feed);
        runtime->news = update_news_new(worker, runtime->feed, runtime->pg, app->services.statements);
        parts->http = http_context_new(app->http, worker, runtime->metrics, dispatch, runtime);
        parts->guard = guard_new(worker->timers, http_context_h2o(parts->http), app->budget,
                                 (size_t)config->http_max_connections / app->count + 1);
        parts->changes = changes_new(runtime);
        struct ingest_options options = {.worker = worker,
                                         .pg = parts->ingest_pg,
                                         .statements = app->services.statements,
                                         .metrics = runtime->metrics,
                                         .feed = runtime->feed,
                                         .flush_interval = (uint64_t)config->ingest_flush_interval,
                                         .window = (uint64_t)config->telemetry_window,
                                         .devices = INGEST_DEVICES,
                                         .on_change = on_change,
                                         .arg = parts};
        parts->ingest = ingest_new(&options);
    }
    sem_post(&app->reported);
}

static void open_port(struct parts *parts, struct worker *worker, int slot, int64_t port, SSL_CTX *tls)
{
    struct listener_config config = {.address = parts->app->config->http_address,
                                     .port = (uint16_t)port,
                                     .tls = tls,
                                     .guard = parts->guard};
    if (parts->error == NULL)
        parts->listeners[slot] = listener_open(worker, http_context_h2o(parts->http), &config, &parts->error);
}

static void start_first(struct parts *parts, struct worker *worker)
{
    struct app *app = parts->app;
    const struct config *config = app->config;
    struct offers_options offers = {worker, parts->runtime.pg, app->services.statements, app->services.mqtt,
                                    parts->runtime.news};
    struct upkeep_options upkeep = {.worker = worker,
                                    .pg = parts->ingest_pg,
                                    .statements = app->services.statements,
                                    .metrics = parts->runtime.metrics,
                                    .ingest = parts->ingest,
                                    .feed = parts->runtime.feed,
                                    .mqtt = app->services.mqtt,
                                    .offline_after = (uint64_t)config->device_offline_after,
                                    .telemetry_days = (int)config->telemetry_keep_days,
                                    .log_days = (int)config->logs_keep_days,
                                    .decision_days = (int)config->decisions_keep_days};
    parts->offers = offers_new(&offers);
    parts->upkeep = upkeep_new(&upkeep);
    parts->tasks = tasks_new(&parts->runtime);
    struct session_feed_options sessions = {.worker = worker,
                                            .pg = parts->runtime.pg,
                                            .statements = app->services.statements,
                                            .access_ttl = (uint64_t)config->auth_access_ttl,
                                            .on_ended = on_session_ended,
                                            .on_complete = on_sessions_complete,
                                            .arg = app};
    parts->sessions = session_feed_new(&sessions);
    reload_watch(app->services.reload, worker);
}

void parts_open(struct letter *letter, struct worker *worker)
{
    struct parts *parts = parts_of(worker);
    const struct config *config = parts->app->config;
    if (worker->index == 0)
        start_first(parts, worker);
    open_port(parts, worker, 0, config->http_port, NULL);
    if (parts->app->tls != NULL)
        open_port(parts, worker, 1, config->https_port, parts->app->tls);
    sem_post(&parts->app->reported);
}

void parts_drain(struct letter *letter, struct worker *worker)
{
    struct parts *parts = parts_of(worker);
    for (int i = 0; i < 2; i++) {
        if (parts->listeners[i] != NULL)
            listener_close(parts->listeners[i]);
    }
    if (parts->http == NULL)
        return;
    feed_stop(parts->runtime.feed);
    http_context_shutdown(parts->http);
    guard_drain(parts->guard);
}

static void on_stop(struct worker *worker)
{
    struct parts *parts = parts_of(worker);
    parts->give_up = clock_ms() + LONGEST_STOP;
    if (parts->tasks != NULL)
        tasks_stop(parts->tasks);
    if (parts->offers != NULL)
        offers_stop(parts->offers);
    if (parts->ingest != NULL)
        ingest_stop(parts->ingest);
    if (worker->index == 0)
        reload_stop(parts->app->services.reload);
}

static bool has_finished(struct parts *parts, struct worker *worker)
{
    return parts->http == NULL || clock_ms() > parts->give_up ||
           (guard_connections(parts->guard) == 0 && http_in_flight(parts->http) == 0 &&
            ingest_idle(parts->ingest) && (parts->offers == NULL || offers_idle(parts->offers)) &&
            (parts->tasks == NULL || tasks_idle(parts->tasks)) && parts->runtime.detached == 0 &&
            (worker->index != 0 || reload_idle(parts->app->services.reload)));
}

static bool on_stopped(struct worker *worker)
{
    struct parts *parts = parts_of(worker);
    if (!parts->quiet && has_finished(parts, worker)) {
        parts->quiet = true;
        sem_post(&parts->app->reported);
    }
    return atomic_load(&parts->app->finish);
}

static void on_turn(struct worker *worker)
{
    struct parts *parts = parts_of(worker);
    pg_turn(parts->runtime.pg);
    pg_turn(parts->ingest_pg);
}

/* With a connection left over, after 30 s of waiting, libh2o still refers to all this. */
static void free_ports(struct parts *parts)
{
    if (parts->http == NULL || guard_connections(parts->guard) != 0)
        return;
    for (int i = 0; i < 2; i++) {
        if (parts->listeners[i] != NULL)
            listener_free(parts->listeners[i]);
    }
    guard_free(parts->guard);
    http_context_free(parts->http);
}

/* Coroutines that still wait are ended by what they wait for. They may ask for more before they end: what is
 * being freed is no longer there for them. */
static void end_waiting(struct parts *parts, struct worker *worker)
{
    struct pg *pg = parts->runtime.pg;
    struct redis *redis = parts->runtime.redis;
    parts->runtime.pg = NULL;
    parts->runtime.redis = NULL;
    pg_free(pg);
    pg_free(parts->ingest_pg);
    if (parts->sessions != NULL)
        session_feed_free(parts->sessions);
    if (parts->runtime.feed != NULL)
        feed_leave(parts->runtime.feed);
    if (redis != NULL)
        redis_free(redis);
    timers_run(worker->timers, 0); /* what those put off to the next turn */
    if (parts->runtime.feed != NULL) {
        update_news_free(parts->runtime.news);
        feed_free(parts->runtime.feed);
        parts->runtime.feed = NULL;
    }
}

static void on_end(struct worker *worker)
{
    struct parts *parts = parts_of(worker);
    h2o_evloop_run(worker->loop, 0); /* what was posted before the end was allowed */
    if (parts->upkeep != NULL)
        upkeep_free(parts->upkeep);
    end_waiting(parts, worker);
    if (parts->changes != NULL)
        changes_free(parts->changes);
    if (parts->ingest != NULL)
        ingest_free(parts->ingest);
    if (parts->tasks != NULL)
        tasks_free(parts->tasks);
    if (parts->runtime.current != NULL)
        generation_release(parts->runtime.current);
    timers_run(worker->timers, 0); /* closes it */
    pthread_barrier_wait(&parts->app->ended);
    if (parts->offers != NULL)
        offers_free(parts->offers); /* scripts of other workers poked it, too */
    free_ports(parts);
    watchdog_unwatch(parts->app->services.watchdog, &parts->runtime.watch);
    revocations_free(parts->runtime.revocations);
    jwt_cache_free(parts->runtime.jwt_cache);
    metrics_free(parts->runtime.metrics);
    buffer_free(&parts->runtime.out);
    request_free_interned(&parts->runtime);
}

const struct worker_hooks parts_hooks = {on_start, on_turn, on_stop, on_stopped, on_end};
