/* Images as files of one directory, each named by its SHA-256 and mapped read-only when loaded.
 * Several processes may share the directory. Nobody else may write to it: a mapped file that is cut short
 * kills its readers (SIGBUS). */
#pragma once
#include "io/store.h"

/* Makes the directory (its parent must be there) and removes what killed writers left. NULL and *error (owned
 * by the caller). */
struct store_backend *store_file_new(const char *directory, char **error) __attribute__((warn_unused_result));
