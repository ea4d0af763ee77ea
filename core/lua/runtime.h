/* What scripts run on: the services of the process, and one runtime per worker that holds the generation of
 * scripts in force there. Wired by main.c. */
#pragma once
#include "base/buffer.h"
#include "base/config.h"
#include "base/metrics.h"
#include "base/offload.h"
#include "fleet/feed.h"
#include "fleet/jwt.h"
#include "fleet/jwt_cache.h"
#include "fleet/ota_token.h"
#include "fleet/revocations.h"
#include "fleet/signing.h"
#include "fleet/update_news.h"
#include "io/mqtt.h"
#include "io/pg.h"
#include "io/redis.h"
#include "io/store.h"
#include "lua/watchdog.h"
#include "net/http.h"
#include <lua.h>

struct console;
struct reload;
struct generation;
struct policy_hosts;

/* Of the process; everything here is thread-safe or immutable. Where scripts are only checked or tested,
 * parts are NULL: what needs them raises an error there. */
struct services {
    const struct config *config;
    struct offload *offload;
    struct pg_statements *statements;
    struct watchdog *watchdog;
    struct store *store;
    struct mqtt *mqtt;
    struct reload *reload;
    struct console *console; /* NULL: there is none */
    struct jwt_keys *jwt_keys;
    struct signing_key *manifest_key;
    struct signing_key *auto_sign_key; /* NULL: uploads are not signed by the server */
    struct signing_trust release_trust;
    struct ota_token_key ota_key;
    unsigned char seal_key[32]; /* crypto.seal */
    char *mqtt_ca;              /* PEM text, or NULL */
    char instance[33];          /* this process among those on the same database: random, hex */
    /* What reaches every worker, or another one; any thread. */
    void (*poke_offers)(const struct services *services);
    void (*revoke_session)(const struct services *services, const char *sid);
    /* Sums up the metrics of all workers; cb on `worker`, never inline; it owns the text. */
    void (*scrape)(const struct services *services, struct worker *worker,
                   void (*cb)(void *arg, char *text, size_t len), void *arg);
    struct policy_hosts *policies;       /* NULL: as above */
    void (*open_policies)(lua_State *L); /* makes the globals by which scripts ask them */
    void *app;                           /* main.c's */
};

struct runtime {
    const struct services *services;
    struct worker *worker;
    struct pg *pg;
    /* Commands have this instead of pg: it blocks. NULL and *err (a constant of io/pg) when it failed; the
     * result stays the caller's of the runtime, and good until the next call. */
    const PGresult *(*query)(void *arg, const struct pg_statement *statement, size_t count,
                             const char *const *values, const char **err);
    void *query_arg;
    struct redis *redis;
    struct feed *feed; /* NULL: nobody listens */
    struct update_news *news;
    struct metrics *metrics;
    struct revocations *revocations;
    bool revocations_known; /* the database has told which sessions ended, and tells of each that ends */
    struct jwt_cache *jwt_cache;
    struct generation *current;
    unsigned reloads;  /* since the process started */
    unsigned detached; /* coroutines that nobody waits for (meanwhile) */
    struct watch watch;
    struct buffer out;         /* answers are written here */
    struct interned *interned; /* labels of metrics (request_intern) */
};
