/* A directory of a test's own, gone again at its end. */
#pragma once
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct scratch {
    char path[64];
    char name[512]; /* of the last scratch_path */
};

static inline int scratch_setup(void **state)
{
    struct scratch *scratch = calloc(1, sizeof(*scratch));
    strcpy(scratch->path, "/tmp/otad-test-XXXXXX");
    *state = scratch;
    return mkdtemp(scratch->path) == NULL;
}

static inline int scratch_remove(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    return remove(path);
}

static inline int scratch_teardown(void **state)
{
    struct scratch *scratch = *state;
    int failed = nftw(scratch->path, scratch_remove, 8, FTW_DEPTH | FTW_PHYS);
    free(scratch);
    return failed;
}

/* Good until the next call. */
static inline const char *scratch_path(struct scratch *scratch, const char *name)
{
    if (snprintf(scratch->name, sizeof(scratch->name), "%s/%s", scratch->path, name) >=
        (int)sizeof(scratch->name))
        abort();
    return scratch->name;
}

static inline const char *scratch_write(struct scratch *scratch, const char *name, const void *data,
                                        size_t len, mode_t mode)
{
    const char *path = scratch_path(scratch, name);
    FILE *file = fopen(path, "w");
    if (file == NULL || fwrite(data, 1, len, file) != len || fclose(file) != 0 || chmod(path, mode) != 0)
        abort();
    return path;
}
