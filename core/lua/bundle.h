/* All scripts of one revision, read once: immutable, shared by the workers, counted. */
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct bundle_file {
    char *name; /* "routes/devices", as `require` and the loader know it */
    char
        *path; /* "scripts/routes/devices.lua", as messages show it: no more of the directory than its name */
    char *text;
    size_t len;
    double saved_at; /* Unix seconds */
};

struct bundle {
    atomic_uint refs;
    char revision[65]; /* SHA-256 over names and texts, hex */
    double read_at;    /* Unix seconds */
    size_t count;
    struct bundle_file files[]; /* sorted by name */
};

/* NULL and *error (the caller's) when a file cannot be read or is larger than 256 KiB. */
struct bundle *bundle_read(const char *directory, char **error) __attribute__((warn_unused_result));
/* One that is made of texts, empty at first, of no revision. A name that is there already stays what it is.
 * Only before it is shared. */
struct bundle *bundle_new(void);
void bundle_add(struct bundle **bundle, const char *name, const char *text, size_t len);
struct bundle *bundle_hold(struct bundle *bundle);
void bundle_release(struct bundle *bundle); /* any thread */
const struct bundle_file *bundle_find(const struct bundle *bundle, const char *name);
bool bundle_is_test(const struct bundle_file *file); /* NAME_test */
