/* The running server: what the process has, and what each worker has. cli/app.c makes and wires it,
 * cli/serve.c runs it. */
#pragma once
#include "base/config.h"
#include "lua/runtime.h"
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>

enum { MOST_WORKERS = 64 };

struct parts;

struct app {
    struct config *config;
    struct services services;
    struct guard_budget *budget;
    SSL_CTX *tls;
    struct http_server *http;
    struct proxies *proxies;
    struct feed_shared *feed;
    unsigned count;
    struct worker *workers[MOST_WORKERS];
    struct parts *parts[MOST_WORKERS];
    sem_t reported;          /* each worker once: started; then, when asked to stop: has nothing left to do */
    atomic_bool finish;      /* the workers may end */
    pthread_barrier_t ended; /* none posts any more, nor calls what another worker has */
    double started_at;       /* Unix seconds */
};

/* All return false, or NULL, with *error (the caller's). */
struct app *app_new(struct config *config, char **error) __attribute__((warn_unused_result));
bool app_start(struct app *app, char **error) __attribute__((warn_unused_result));
void app_reload(struct app *app);
void app_stop(struct app *app); /* finishes what is under way, 30 s at most, and frees everything */
