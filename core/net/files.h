/* Static files in memory: a directory that a build made, read once. What the build compressed stands beside
 * the file, as NAME.br and NAME.gz, and becomes another encoding of it. Immutable; any thread. */
#pragma once
#include "net/encoding.h"
#include <stddef.h>
#include <stdint.h>

enum { FILES_MOST_BYTES = 32 << 20 }; /* of a directory, all encodings together */

struct files;

struct files_body {
    uint8_t *data; /* NULL: not in this encoding */
    size_t len;
    char etag[33]; /* of these bytes */
};

struct files_entry {
    char *name;       /* below the directory: "media/logo.svg" */
    const char *type; /* media type, by the extension */
    bool hashed;      /* its name holds a hash of its content, so that it never changes */
    struct files_body bodies[ENCODINGS];
};

/* All but hidden ones, links followed. One that is not there is empty. NULL and *error (the caller's): it
 * cannot be read, or is larger than the above. */
struct files *files_load(const char *directory, char **error) __attribute__((warn_unused_result));
void files_free(struct files *files);
/* NULL: no such file. */
const struct files_entry *files_find(const struct files *files, h2o_iovec_t name);
size_t files_count(const struct files *files, size_t *bytes);

/* "main-5QJ2ABCD.js": what bundlers put there, 8 or more characters between - or . and a dot. */
bool files_name_hashed(const char *name);
const char *files_type(const char *name);
