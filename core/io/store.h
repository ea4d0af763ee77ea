/* The store of images: bytes named by their SHA-256, so what has a name never changes.
 *
 * The store does the waiting, sharing and checking; a backend (store_file.c; an object store later) only
 * moves bytes, on the offload pool. Calls are made on a worker's thread and answered there: the callback is
 * called exactly once, never inline, with err NULL or one of the constants below. The pool must be freed
 * (which finishes its jobs) while the workers still run, the store after both.
 *
 * A name is 64 lower-case hex digits and nothing else ever reaches a disk or a URL. Whoever deletes an image
 * has to know that no upload of the same bytes is under way: the store knows names, not who needs them. */
#pragma once
#include "base/offload.h"
#include "net/worker.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

extern const char store_error_name[]; /* not a SHA-256 */
extern const char store_error_not_found[];
extern const char store_error_full[];    /* no space left: 507 */
extern const char store_error_damaged[]; /* the bytes are not those the name says */
extern const char store_error_busy[];    /* the pool's queue is full: 503 */
extern const char store_error_io[];      /* anything else; the cause is in the log */

/* Bytes of one image, shared by all who read them, on any thread; immutable. Valid until the holder's
 * blob_release, also when the image is deleted meanwhile. */
struct blob {
    const uint8_t *data;
    size_t size;
    char sha256[65];
    struct blob_state *state; /* store.c's */
};
struct blob *blob_keep(struct blob *blob); /* one more holder; any thread */
void blob_release(struct blob *blob);      /* any thread; NULL: nothing */

/* What a backend does. All but `stamp`, `free` and `unload` run on pool threads and may block; they return
 * NULL or one of the constants above. Names are valid. */
struct store_backend {
    /* Whole or absent, whenever the process is killed; durable on return. The same bytes again are fine, and
     * saved now. */
    const char *(*save)(struct store_backend *backend, const char *name, const void *data, size_t size);
    /* The bytes stay until `unload`; they need not be checked. */
    const char *(*load)(struct store_backend *backend, const char *name, const uint8_t **data, size_t *size);
    /* A number that is another once the bytes of that name may be others; 0: cannot be told. Called on loop
     * threads: does not wait for a disk. */
    uint64_t (*stamp)(struct store_backend *backend, const char *name);
    void (*unload)(struct store_backend *backend, const uint8_t *data, size_t size); /* any thread */
    /* Only if it was last saved `age` s ago or more; 0: whenever it was. Not there, or younger: fine. */
    const char *(*remove)(struct store_backend *backend, const char *name, unsigned age);
    /* The names of all that were last saved `age` s ago or more, one behind the other; the caller's. */
    const char *(*list)(struct store_backend *backend, unsigned age, char **names);
    void (*free)(struct store_backend *backend);
};

struct store;

/* Takes over the backend. Up to `cache` bytes of images that nobody reads stay loaded; those being read are
 * loaded once, whatever that sums up to. */
struct store *store_new(struct store_backend *backend, struct offload *pool, size_t cache);
void store_free(struct store *store); /* no call under way, no blob held */

bool store_name_valid(const char *name);

/* `data` stays the caller's and must live until the callback; `sha256` only during it. */
void store_put(struct store *store, struct worker *worker, const void *data, size_t size,
               void (*cb)(void *arg, const char *err, const char *sha256), void *arg);
/* The bytes have been hashed before anybody gets them, anew whenever their file has changed. The callback
 * becomes a holder of the blob. */
void store_open(struct store *store, struct worker *worker, const char *sha256,
                void (*cb)(void *arg, const char *err, struct blob *blob), void *arg);
/* age: as for the backend. What is being put again at the same time is kept with an age above 0. */
void store_delete(struct store *store, struct worker *worker, const char *sha256, unsigned age,
                  void (*cb)(void *arg, const char *err), void *arg);
/* `names`, during the callback: `count` of them, each 64 characters, with nothing in between. */
void store_list(struct store *store, struct worker *worker, unsigned age,
                void (*cb)(void *arg, const char *err, const char *names, size_t count), void *arg);
