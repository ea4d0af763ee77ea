/* Sharing and waiting for the store of images; contracts in the header.
 *
 * One list of all loaded images, the last used first, under one lock that is taken once per call and never
 * while anything blocks. An image is loaded once however many ask for it meanwhile: they wait as operations
 * hung on its state. A state lives as long as it is on the list, has holders or is being loaded. */
#include "io/store.h"
#include "base/log.h"
#include "base/mem.h"
#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define NAME_LEN 64

const char store_error_name[] = "not the name of an image";
const char store_error_not_found[] = "no such image";
const char store_error_full[] = "no space left for images";
const char store_error_damaged[] = "the stored image is damaged";
const char store_error_busy[] = "too many image operations under way";
const char store_error_io[] = "the image store failed";

struct operation {
    struct letter letter; /* first: deliver casts */
    struct offload_job job;
    struct store *store;
    struct worker *worker;
    const char *err;
    const void *data; /* to put */
    size_t size;
    char name[NAME_LEN + 1];
    unsigned age;
    char *names; /* listed */
    struct blob *blob;
    struct operation *next; /* waiting for the same image */
    void (*on_put)(void *arg, const char *err, const char *sha256);
    void (*on_open)(void *arg, const char *err, struct blob *blob);
    void (*on_delete)(void *arg, const char *err);
    void (*on_list)(void *arg, const char *err, const char *names, size_t count);
    void *arg;
};

struct blob_state {
    struct blob blob; /* first: its state points here */
    struct offload_job job;
    struct store *store;
    size_t holders;
    bool loading, listed;
    uint64_t stamp; /* of its file, before it was loaded; 0: cannot be told */
    const char *err;
    struct operation *waiting;
    struct blob_state *next, *previous;
};

struct store {
    struct store_backend *backend;
    struct offload *pool;
    pthread_mutex_t lock;
    struct blob_state *first, *last;
    size_t idle, cache; /* bytes loaded that nobody holds, and how many may be */
};

struct store *store_new(struct store_backend *backend, struct offload *pool, size_t cache)
{
    struct store *store = x_new(struct store);
    store->backend = backend;
    store->pool = pool;
    store->cache = cache;
    pthread_mutex_init(&store->lock, NULL);
    return store;
}

bool store_name_valid(const char *name)
{
    return strspn(name, "0123456789abcdef") == NAME_LEN && name[NAME_LEN] == '\0';
}

static void hash(const void *data, size_t size, char name[NAME_LEN + 1])
{
    uint8_t digest[crypto_hash_sha256_BYTES];
    crypto_hash_sha256(digest, data, size);
    sodium_bin2hex(name, NAME_LEN + 1, digest, sizeof(digest));
}

/* -- the list (lock held) ---------------------------------------------------------------------------- */

static struct blob_state *list_find(struct store *store, const char *name)
{
    struct blob_state *state = store->first;
    while (state != NULL && memcmp(state->blob.sha256, name, NAME_LEN) != 0)
        state = state->next;
    return state;
}

static void list_remove(struct blob_state *state)
{
    struct store *store = state->store;
    *(state->previous == NULL ? &store->first : &state->previous->next) = state->next;
    *(state->next == NULL ? &store->last : &state->next->previous) = state->previous;
    state->listed = false;
}

static void list_push(struct blob_state *state)
{
    struct store *store = state->store;
    state->previous = NULL;
    state->next = store->first;
    *(store->first == NULL ? &store->last : &store->first->previous) = state;
    store->first = state;
    state->listed = true;
}

/* Takes what the cache has no room for off the list, least used first; the caller frees that chain. */
static struct blob_state *list_trim(struct store *store)
{
    struct blob_state *trimmed = NULL, *previous;
    for (struct blob_state *state = store->last; state != NULL && store->idle > store->cache;
         state = previous) {
        previous = state->previous;
        if (state->holders != 0 || state->loading)
            continue;
        list_remove(state);
        store->idle -= state->blob.size;
        state->next = trimmed;
        trimmed = state;
    }
    return trimmed;
}

static void free_states(struct blob_state *state)
{
    while (state != NULL) {
        struct blob_state *next = state->next;
        if (state->blob.data != NULL)
            state->store->backend->unload(state->store->backend, state->blob.data, state->blob.size);
        free(state);
        state = next;
    }
}

void store_free(struct store *store)
{
    free_states(store->first);
    store->backend->free(store->backend);
    pthread_mutex_destroy(&store->lock);
    free(store);
}

/* -- blobs ------------------------------------------------------------------------------------------- */

struct blob *blob_keep(struct blob *blob)
{
    pthread_mutex_lock(&blob->state->store->lock);
    blob->state->holders++;
    pthread_mutex_unlock(&blob->state->store->lock);
    return blob;
}

void blob_release(struct blob *blob)
{
    if (blob == NULL)
        return;
    struct blob_state *state = blob->state, *unused = NULL;
    struct store *store = state->store;
    pthread_mutex_lock(&store->lock);
    if (--state->holders == 0 && state->listed) {
        store->idle += blob->size;
        unused = list_trim(store);
    } else if (state->holders == 0) { /* deleted meanwhile */
        state->next = NULL;
        unused = state;
    }
    pthread_mutex_unlock(&store->lock);
    free_states(unused);
}

/* -- operations -------------------------------------------------------------------------------------- */

static void on_deliver(struct letter *letter, struct worker *worker)
{
    struct operation *op = (struct operation *)letter;
    if (op->on_put != NULL)
        op->on_put(op->arg, op->err, op->err == NULL ? op->name : NULL);
    else if (op->on_open != NULL)
        op->on_open(op->arg, op->err, op->blob);
    else if (op->on_list != NULL)
        op->on_list(op->arg, op->err, op->names, op->names == NULL ? 0 : strlen(op->names) / NAME_LEN);
    else
        op->on_delete(op->arg, op->err);
    free(op->names);
    free(op);
}

static struct operation *operation_new(struct store *store, struct worker *worker, void *arg)
{
    struct operation *op = x_new(struct operation);
    op->letter.deliver = on_deliver;
    op->store = store;
    op->worker = worker;
    op->arg = arg;
    return op;
}

static void finish(struct operation *op, const char *err)
{
    op->err = err;
    worker_post(op->worker, &op->letter);
}

static void on_job_done(struct offload_job *job)
{
    struct operation *op = H2O_STRUCT_FROM_MEMBER(struct operation, job, job);
    finish(op, op->err);
}

static void submit(struct operation *op, void (*run)(struct offload_job *job))
{
    op->job.run = run;
    op->job.done = on_job_done;
    if (!offload_submit(op->store->pool, &op->job))
        finish(op, store_error_busy);
}

static void run_put(struct offload_job *job)
{
    struct operation *op = H2O_STRUCT_FROM_MEMBER(struct operation, job, job);
    hash(op->data, op->size, op->name);
    op->err = op->store->backend->save(op->store->backend, op->name, op->data, op->size);
}

void store_put(struct store *store, struct worker *worker, const void *data, size_t size,
               void (*cb)(void *arg, const char *err, const char *sha256), void *arg)
{
    struct operation *op = operation_new(store, worker, arg);
    op->on_put = cb;
    op->data = data;
    op->size = size;
    submit(op, run_put);
}

static void run_delete(struct offload_job *job)
{
    struct operation *op = H2O_STRUCT_FROM_MEMBER(struct operation, job, job);
    struct store *store = op->store;
    struct blob_state *unused = NULL;
    op->err = store->backend->remove(store->backend, op->name, op->age);
    if (op->err != NULL)
        return;
    pthread_mutex_lock(&store->lock);
    struct blob_state *state = list_find(store, op->name);
    if (state != NULL) {
        list_remove(state);
        if (state->holders == 0 && !state->loading) {
            store->idle -= state->blob.size;
            state->next = NULL;
            unused = state;
        }
    }
    pthread_mutex_unlock(&store->lock);
    free_states(unused);
}

void store_delete(struct store *store, struct worker *worker, const char *sha256, unsigned age,
                  void (*cb)(void *arg, const char *err), void *arg)
{
    struct operation *op = operation_new(store, worker, arg);
    op->on_delete = cb;
    op->age = age;
    if (!store_name_valid(sha256)) {
        finish(op, store_error_name);
        return;
    }
    memcpy(op->name, sha256, NAME_LEN);
    submit(op, run_delete);
}

static void run_list(struct offload_job *job)
{
    struct operation *op = H2O_STRUCT_FROM_MEMBER(struct operation, job, job);
    op->err = op->store->backend->list(op->store->backend, op->age, &op->names);
}

void store_list(struct store *store, struct worker *worker, unsigned age,
                void (*cb)(void *arg, const char *err, const char *names, size_t count), void *arg)
{
    struct operation *op = operation_new(store, worker, arg);
    op->on_list = cb;
    op->age = age;
    submit(op, run_list);
}

/* -- opening ----------------------------------------------------------------------------------------- */

static void run_load(struct offload_job *job)
{
    struct blob_state *state = H2O_STRUCT_FROM_MEMBER(struct blob_state, job, job);
    struct store_backend *backend = state->store->backend;
    const uint8_t *data;
    char actual[NAME_LEN + 1];
    size_t size;
    state->stamp = backend->stamp(backend, state->blob.sha256);
    state->err = backend->load(backend, state->blob.sha256, &data, &size);
    if (state->err != NULL)
        return;
    /* This also brings the pages in, so that sending them does not wait for the disk on a loop thread. */
    hash(data, size, actual);
    if (strcmp(actual, state->blob.sha256) != 0) {
        log_error("stored image is damaged", LOG_STR("image", state->blob.sha256), LOG_STR("found", actual));
        backend->unload(backend, data, size);
        state->err = store_error_damaged;
        return;
    }
    state->blob.data = data;
    state->blob.size = size;
}

/* Each that waited becomes a holder; after an error nothing is kept. */
static void loaded(struct blob_state *state, const char *err)
{
    struct store *store = state->store;
    pthread_mutex_lock(&store->lock);
    struct operation *op = state->waiting, *next;
    state->waiting = NULL;
    state->loading = false;
    for (struct operation *waiting = op; waiting != NULL; waiting = waiting->next)
        state->holders++;
    if (err != NULL && state->listed)
        list_remove(state);
    pthread_mutex_unlock(&store->lock);
    for (; op != NULL; op = next) {
        next = op->next;
        op->blob = err == NULL ? &state->blob : NULL;
        finish(op, err);
    }
    if (err != NULL)
        free(state);
}

static void on_loaded(struct offload_job *job)
{
    struct blob_state *state = H2O_STRUCT_FROM_MEMBER(struct blob_state, job, job);
    loaded(state, state->err);
}

static struct blob_state *state_new(struct store *store, const char *name)
{
    struct blob_state *state = x_new(struct blob_state);
    memcpy(state->blob.sha256, name, NAME_LEN);
    state->blob.state = state;
    state->store = store;
    state->job.run = run_load;
    state->job.done = on_loaded;
    state->loading = true;
    return state;
}

/* Lock held. A file that was changed under an image is another; *unused: what is to be freed, if anything. */
static struct blob_state *find_unchanged(struct store *store, const char *name, uint64_t stamp,
                                         struct blob_state **unused)
{
    struct blob_state *state = list_find(store, name);
    if (state == NULL || state->loading || stamp == 0 || stamp == state->stamp)
        return state;
    list_remove(state);
    if (state->holders == 0) {
        store->idle -= state->blob.size;
        state->next = NULL;
        *unused = state;
    }
    return NULL;
}

void store_open(struct store *store, struct worker *worker, const char *sha256,
                void (*cb)(void *arg, const char *err, struct blob *blob), void *arg)
{
    struct operation *op = operation_new(store, worker, arg);
    op->on_open = cb;
    if (!store_name_valid(sha256)) {
        finish(op, store_error_name);
        return;
    }
    uint64_t stamp = store->backend->stamp(store->backend, sha256);
    struct blob_state *new = NULL, *unused = NULL;
    pthread_mutex_lock(&store->lock);
    struct blob_state *state = find_unchanged(store, sha256, stamp, &unused);
    if (state == NULL)
        state = new = state_new(store, sha256);
    else
        list_remove(state);
    list_push(state);
    bool waits = state->loading;
    if (waits) {
        op->next = state->waiting;
        state->waiting = op;
    } else {
        if (state->holders++ == 0)
            store->idle -= state->blob.size;
        op->blob = &state->blob;
    }
    pthread_mutex_unlock(&store->lock);
    free_states(unused);
    if (!waits)
        finish(op, NULL);
    else if (new != NULL && !offload_submit(store->pool, &new->job))
        loaded(new, store_error_busy);
}
