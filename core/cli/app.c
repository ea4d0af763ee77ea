#include "cli/app.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/parts.h"
#include "io/store_file.h"
#include "lua/loader.h"
#include "lua/reload.h"
#include "net/console.h"
#include "net/multipart.h"
#include "net/tls.h"
#include "policy/mod_policies.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    STORE_CACHE = 32 * 1024 * 1024,
    /* libh2o counts head, body and idling of HTTP/1 as one: the guard sets each its limit, this is behind it.
     */
    HTTP1_TIMEOUT = 3600000,
    HTTP2_IDLE = 40000
};

static struct app *app_of(const struct services *services)
{
    return services->app;
}

/* services.poke_offers */
static void poke_offers(const struct services *services)
{
    struct offers *offers = app_of(services)->parts[0]->offers;
    if (offers != NULL)
        offers_poke(offers);
}

/* services.revoke_session */
static void revoke_session(const struct services *services, const char *sid)
{
    parts_revoke(app_of(services), sid);
}

/* services.scrape: a letter goes round all workers, each adds what it counted, back to who asked. */
struct scrape {
    struct letter letter;
    struct app *app;
    unsigned next;
    struct worker *asker;
    struct metrics *sum;
    void (*cb)(void *arg, char *text, size_t len);
    void *arg;
};

static void add_gauge(struct metrics *sum, const char *name, const char *labels, const char *help,
                      double value)
{
    metrics_series(sum, METRICS_GAUGE, name, labels, help)->value = value;
}

static size_t count_descriptors(void)
{
    size_t open = 0;
    for (int fd = 0; fd < 65536 && open < 65536; fd++) {
        if (fcntl(fd, F_GETFD) >= 0)
            open++;
        else if (fd > 4096 && open < (size_t)fd / 8)
            break;
    }
    return open;
}

static void add_process(struct scrape *scrape)
{
    struct metrics *sum = scrape->sum;
    struct rusage usage;
    long pages = 0, resident = 0;
    uint64_t good, bad;
    FILE *statm = fopen("/proc/self/statm", "re");
    if (statm != NULL) {
        if (fscanf(statm, "%ld %ld", &pages, &resident) != 2)
            resident = 0;
        fclose(statm);
    }
    getrusage(RUSAGE_SELF, &usage);
    metrics_series(sum, METRICS_COUNTER, "process_cpu_seconds_total", "", "Processor time used")->value =
        (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
        (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    long page = sysconf(_SC_PAGESIZE);
    add_gauge(sum, "otad_offload_waiting", "", "Jobs that wait for a thread of the offload pool",
              (double)offload_depth(scrape->app->services.offload));
    add_gauge(sum, "process_resident_memory_bytes", "", "Memory in use", (double)resident * (double)page);
    add_gauge(sum, "process_virtual_memory_bytes", "", "Address space", (double)pages * (double)page);
    add_gauge(sum, "process_open_fds", "", "Open descriptors", (double)count_descriptors());
    add_gauge(sum, "process_start_time_seconds", "", "Unix time of the start", scrape->app->started_at);
    reload_counts(scrape->app->services.reload, &good, &bad);
    metrics_series(sum, METRICS_COUNTER, "otad_script_reloads_total", "result=\"ok\"", "Loads of the scripts")
        ->value = (double)good;
    metrics_series(sum, METRICS_COUNTER, "otad_script_reloads_total", "result=\"refused\"", "")->value =
        (double)bad;
}

static void on_scrape(struct letter *letter, struct worker *worker)
{
    struct scrape *scrape = H2O_STRUCT_FROM_MEMBER(struct scrape, letter, letter);
    struct app *app = scrape->app;
    if (scrape->next == app->count) { /* been everywhere, and back */
        size_t len;
        add_process(scrape);
        char *text = metrics_print(scrape->sum, &len);
        metrics_free(scrape->sum);
        scrape->cb(scrape->arg, text, len);
        free(scrape);
        return;
    }
    struct parts *parts = worker->parts;
    char labels[32];
    metrics_add(scrape->sum, parts->runtime.metrics);
    snprintf(labels, sizeof(labels), "worker=\"%u\"", worker->index);
    add_gauge(scrape->sum, "otad_lua_memory_bytes", labels, "Memory of the scripts in force",
              (double)parts->runtime.current->memory);
    add_gauge(scrape->sum, "otad_http_connections", labels, "Open connections",
              (double)guard_connections(parts->guard));
    add_gauge(scrape->sum, "otad_pg_waiting", labels, "Statements sent and not answered yet",
              (double)(pg_waiting(parts->runtime.pg) + pg_waiting(parts->ingest_pg)));
    scrape->next++;
    worker_post(scrape->next == app->count ? scrape->asker : app->workers[scrape->next], &scrape->letter);
}

static void scrape_metrics(const struct services *services, struct worker *worker,
                           void (*cb)(void *arg, char *text, size_t len), void *arg)
{
    struct scrape *scrape = x_new(struct scrape);
    scrape->letter.deliver = on_scrape;
    scrape->app = app_of(services);
    scrape->asker = worker;
    scrape->sum = metrics_new();
    scrape->cb = cb;
    scrape->arg = arg;
    worker_post(scrape->app->workers[0], &scrape->letter);
}

static struct runtime *runtime_of_worker(struct worker *worker)
{
    return &((struct parts *)worker->parts)->runtime;
}

static void on_mqtt_message(void *arg, struct worker *worker, struct mqtt_message *message)
{
    ingest_message(((struct parts *)worker->parts)->ingest, message);
}

static void on_mqtt_connect(void *arg)
{
    struct app *app = arg;
    if (app->parts[0]->offers != NULL)
        offers_reconnected(app->parts[0]->offers);
}

/* Keys. One secret, the seed of the manifest key, is what all instances share: tokens and seals derive from
 * it. */
static bool load_keys(struct app *app, char **error)
{
    const struct config *config = app->config;
    struct services *services = &app->services;
    static const char seal_label[] = "otad seal";

    services->jwt_keys = jwt_keys_load(config->auth_jwt_keys, error);
    if (services->jwt_keys == NULL)
        return false;
    services->manifest_key = signing_key_load(config->manifest_key, error);
    if (services->manifest_key == NULL)
        return false;
    ota_token_key(&services->ota_key, services->manifest_key->seed, sizeof(services->manifest_key->seed));
    crypto_auth_hmacsha256(services->seal_key, (const unsigned char *)seal_label, sizeof(seal_label) - 1,
                           services->manifest_key->seed);
    if (!signing_trust_load(&services->release_trust, config->release_keys, error))
        return false;
    if (config->firmware_auto_sign) {
        services->auto_sign_key = signing_key_load(config->firmware_auto_sign_key, error);
        if (services->auto_sign_key == NULL)
            return false;
        signing_trust_add(&services->release_trust, &services->auto_sign_key->public);
    }
    if (*config->mqtt_ca != '\0') {
        char text[16384];
        ssize_t len = file_load(config->mqtt_ca, FILE_PUBLIC, text, sizeof(text), error);
        if (len < 0)
            return false;
        services->mqtt_ca = x_memdup(text, (size_t)len);
    }
    return true;
}

static bool load_scripts(struct app *app, char **error)
{
    struct problems problems = {0};
    app->services.reload = reload_new(app->config->scripts, loader_load, &problems);
    if (app->services.reload == NULL) {
        *error = x_strdup(problems.list[0].message);
        problems_free(&problems);
        return false;
    }
    char *queries = x_printf("%s/queries", app->config->sql);
    app->services.statements = pg_statements_load(queries, error);
    free(queries);
    return app->services.statements != NULL;
}

struct app *app_new(struct config *config, char **error)
{
    struct app *app = x_new(struct app);
    char *why = NULL;
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    app->started_at = clock_unix();
    app->config = config;
    app->services.config = config;
    app->services.app = app;
    app->services.poke_offers = poke_offers;
    app->services.revoke_session = revoke_session;
    app->services.scrape = scrape_metrics;
    app->services.open_policies = mod_policies_open;
    unsigned char instance[sizeof(app->services.instance) / 2];
    randombytes_buf(instance, sizeof(instance));
    sodium_bin2hex(app->services.instance, sizeof(app->services.instance), instance, sizeof(instance));
    app->count =
        config->workers > 0 ? (unsigned)config->workers : (unsigned)(processors > 0 ? processors : 1);
    if (app->count > MOST_WORKERS)
        app->count = MOST_WORKERS;
    sem_init(&app->reported, 0, 0);
    pthread_barrier_init(&app->ended, NULL, app->count);
    app->budget = x_new(struct guard_budget);
    app->budget->limit = (size_t)config->http_body_budget;

    if (!guard_in_force(error) || !load_keys(app, error) || !load_scripts(app, error))
        return NULL; /* the process ends: nothing to take apart */
    if (*config->https_certificate != '\0' && config->https_port != 0) {
        app->tls = tls_server(config->https_certificate, config->https_key, error);
        if (app->tls == NULL)
            return NULL;
    }
    struct store_backend *files = store_file_new(config->firmware_store, error);
    if (files == NULL)
        return NULL;
    app->services.offload = offload_new((size_t)config->auth_hash_threads, (size_t)config->auth_hash_queue);
    app->services.policies = policy_hosts_new();
    app->services.store = store_new(files, app->services.offload, STORE_CACHE);
    app->proxies = proxies_new(config->http_trusted_proxies, &why);
    if (app->proxies == NULL) {
        *error = x_printf("http.trusted_proxies: %s", why);
        free(why);
        return NULL;
    }
    app->services.console = console_load(config->console_dir);
    struct http_options http = {.max_entity = (size_t)config->firmware_max_size + MULTIPART_FRAME,
                                .http1_timeout = HTTP1_TIMEOUT,
                                .http2_idle = HTTP2_IDLE,
                                .origins = config->http_origins,
                                .proxies = app->proxies};
    app->http = http_server_new(&http);
    app->services.watchdog = watchdog_new();
    return app;
}

/* Each worker has reported: the first error, if any. */
static bool wait_for_all(struct app *app, char **error)
{
    for (unsigned i = 0; i < app->count; i++) {
        while (sem_wait(&app->reported) != 0 && errno == EINTR)
            ;
    }
    for (unsigned i = 0; i < app->count; i++) {
        if (app->parts[i]->error != NULL) {
            *error = app->parts[i]->error;
            return false;
        }
    }
    return true;
}

bool app_start(struct app *app, char **error)
{
    const struct config *config = app->config;
    if (!listener_port_free(config->http_address, (uint16_t)config->http_port, error) ||
        (app->tls != NULL && !listener_port_free(config->http_address, (uint16_t)config->https_port, error)))
        return false;
    for (unsigned i = 0; i < app->count; i++) {
        app->parts[i] = x_new(struct parts);
        app->parts[i]->app = app;
        app->workers[i] = worker_new(i, app->parts[i], &parts_hooks);
    }
    struct feed_limits feed = {.clients = (size_t)config->feed_max_connections,
                               .clients_of_account = (size_t)config->feed_max_per_account,
                               .memory = (size_t)config->feed_memory,
                               .origins = config->http_origins};
    app->feed = feed_shared_new(&feed, app->workers, app->count);
    reload_set_workers(app->services.reload, app->workers, runtime_of_worker, app->count);
    for (unsigned i = 0; i < app->count; i++)
        worker_start(app->workers[i]);
    if (!wait_for_all(app, error))
        return false;
    struct mqtt_options mqtt = {.url = config->mqtt_url,
                                .username = config->mqtt_username,
                                .password = config->mqtt_password,
                                .ca = config->mqtt_ca,
                                .queue = (size_t)config->mqtt_queue,
                                .workers = app->count,
                                .worker = app->workers,
                                .on_message = on_mqtt_message,
                                .on_connect = on_mqtt_connect,
                                .arg = app};
    app->services.mqtt = mqtt_new(&mqtt, error);
    if (app->services.mqtt == NULL)
        return false;
    for (unsigned i = 0; i < app->count; i++) {
        app->parts[i]->open_letter.deliver = parts_open;
        worker_post(app->workers[i], &app->parts[i]->open_letter);
    }
    return wait_for_all(app, error);
}

void app_reload(struct app *app)
{
    reload_request(app->services.reload, NULL, NULL, NULL);
}

void app_stop(struct app *app)
{
    struct services *services = &app->services;
    char *ignored = NULL;
    for (unsigned i = 0; i < app->count; i++) {
        app->parts[i]->drain_letter.deliver = parts_drain;
        worker_post(app->workers[i], &app->parts[i]->drain_letter);
    }
    mqtt_stop(services->mqtt); /* nothing more arrives; what did is with the workers */
    for (unsigned i = 0; i < app->count; i++)
        worker_stop(app->workers[i]);
    (void)wait_for_all(app, &ignored);
    offload_stop(services->offload); /* its last answers still find running loops */
    policy_hosts_stop(services->policies);
    atomic_store(&app->finish, true);
    for (unsigned i = 0; i < app->count; i++)
        worker_join(app->workers[i]);
    offload_free(services->offload);
    policy_hosts_free(services->policies);
    mqtt_free(services->mqtt);
    watchdog_free(services->watchdog);
    store_free(services->store);
    reload_free(services->reload);
    pg_statements_free(services->statements);
    jwt_keys_free(services->jwt_keys);
    signing_key_free(services->manifest_key);
    if (services->auto_sign_key != NULL)
        signing_key_free(services->auto_sign_key);
    signing_trust_free(&services->release_trust);
    free(services->mqtt_ca);
    SSL_CTX_free(app->tls);
    http_server_free(app->http);
    console_free(services->console);
    proxies_free(app->proxies);
    feed_shared_free(app->feed);
    for (unsigned i = 0; i < app->count; i++)
        free(app->parts[i]);
    free(app->budget);
    pthread_barrier_destroy(&app->ended);
    sem_destroy(&app->reported);
    config_free(app->config);
    free(app);
}
