/* New scripts, all or nothing: the files are read once; each worker makes a generation beside the one that
 * runs; when all have said yes each swaps, one no and all keep the old. What is under way ends in the
 * generation it began in.
 *
 * Asked for by a file changing below the directory (watched), SIGHUP, or `server.reload()`; requests that
 * come while one is under way are served by one more after it. */
#pragma once
#include "lua/generation.h"
#include "lua/runtime.h"

struct reload;

struct reload_state { /* a copy; free with reload_state_free */
    char revision[65];
    double loaded_at; /* Unix seconds */
    size_t files;
    struct problems problems; /* of the last load that failed; none after a good one */
};

/* Makes a generation of a bundle: loader_load(). */
typedef struct generation *(*reload_load)(struct runtime *runtime, struct bundle *bundle,
                                          struct problems *problems);

/* The first bundle, with which every worker starts; NULL and the problems. `directory` outlives it. */
struct reload *reload_new(const char *directory, reload_load load, struct problems *problems);
void reload_free(struct reload *reload); /* after reload_stop(), with the workers joined */

/* Before the workers start. */
void reload_set_workers(struct reload *reload, struct worker **workers,
                        struct runtime *(*find_runtime)(struct worker *), unsigned count);
struct bundle *reload_bundle(struct reload *reload); /* the one in force; the caller releases it */

/* Watches the directory on worker 0's loop, until reload_stop() there. */
void reload_watch(struct reload *reload, struct worker *worker);
void reload_stop(struct reload *reload);
bool reload_idle(const struct reload *reload); /* worker 0: no load is asked for or under way */

/* Any thread. `done` (NULL: nobody) is called on `worker` once a load that began after this call has ended;
 * the result is in reload_state(). */
void reload_request(struct reload *reload, struct worker *worker, void (*done)(void *arg), void *arg);

void reload_state(struct reload *reload, struct reload_state *out); /* any thread */
void reload_state_free(struct reload_state *state);

/* Counts of loads, for otad_script_reloads_total. */
void reload_counts(struct reload *reload, uint64_t *good, uint64_t *bad);
