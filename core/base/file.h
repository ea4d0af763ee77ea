/* Small files that are read whole (keys, secrets) and the steps that make a written file durable.
 * Any thread; everything here blocks, so no event loop may call it once the server runs.
 *
 * A secret must belong to its owner alone: a file that group or others may read, write or execute is
 * refused, with a text that says how to mend it. There is no other way to load a key in otad. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum file_kind { FILE_PUBLIC, FILE_SECRET };

/* Reads a regular file of at most `size` bytes into the caller's buffer; returns its length. Otherwise -1 and
 * *error (owned by the caller), which names the file and the cause but none of its content. */
ssize_t file_load(const char *path, enum file_kind kind, void *buffer, size_t size, char **error)
    __attribute__((warn_unused_result));

/* The next path of a comma-separated list, less spaces around it; empty ones are passed over. NULL: no more.
 * *rest is a writable copy and moves on. */
char *file_list_next(char **rest);

/* Writes all of it, or false and errno. */
bool file_write(int fd, const void *data, size_t len) __attribute__((warn_unused_result));

/* fsync()s the directory that holds `path`: its entry outlives a power cut. False and errno. */
bool file_sync_parent(const char *path) __attribute__((warn_unused_result));
