/* The file backend of the store; contracts in store.h. Pool threads, several at once; immutable after start.
 *
 * A file is written under a temporary name, flushed, renamed and its directory flushed: at no moment does its
 * final name lead to anything but all of it. A writer holds a lock on its temporary file; what the sweep at
 * start can lock has no writer any more. */
#include "io/store_file.h"
#include "base/buffer.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define TEMPORARY ".tmp-"
#define TEMPORARY_SIZE (sizeof(TEMPORARY) + 16)

struct store_file {
    struct store_backend backend; /* first: the functions cast */
    int directory;
};

static const uint8_t nothing[1];

/* From errno. */
static const char *failed(const char *what, const char *name)
{
    const char *cause = strerrorname_np(errno);
    log_error("image store failed", LOG_STR("at", what), LOG_STR("image", name),
              LOG_STR("cause", cause ? cause : "?"));
    return errno == ENOSPC || errno == EDQUOT || errno == EFBIG ? store_error_full : store_error_io;
}

static int open_image(struct store_file *store, const char *name)
{
    return openat(store->directory, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
}

static const char *map_image(int fd, const char *name, const uint8_t **data, size_t *size)
{
    const char *err = NULL;
    struct stat st;
    if (fstat(fd, &st) != 0) {
        err = failed("stat", name);
    } else if (!S_ISREG(st.st_mode)) {
        err = store_error_damaged;
    } else if (st.st_size == 0) { /* cannot be mapped */
        *data = nothing;
        *size = 0;
    } else {
        void *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
        if (map == MAP_FAILED)
            err = failed("map", name);
        *data = map;
        *size = (size_t)st.st_size;
    }
    return err;
}

static const char *load(struct store_backend *backend, const char *name, const uint8_t **data, size_t *size)
{
    int fd = open_image((struct store_file *)backend, name);
    if (fd < 0)
        return errno == ENOENT ? store_error_not_found : failed("open", name);
    const char *err = map_image(fd, name, data, size);
    close(fd);
    return err;
}

/* What the kernel remembers of a file in use anyway. */
static uint64_t stamp(struct store_backend *backend, const char *name)
{
    struct stat st;
    uint64_t number = 14695981039346656037u; /* FNV-1a, in words */
    if (fstatat(((struct store_file *)backend)->directory, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return 0;
    const uint64_t words[] = {st.st_ino,
                              (uint64_t)st.st_size,
                              (uint64_t)st.st_mtim.tv_sec,
                              (uint64_t)st.st_mtim.tv_nsec,
                              (uint64_t)st.st_ctim.tv_sec,
                              (uint64_t)st.st_ctim.tv_nsec};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        number = (number ^ words[i]) * 1099511628211u;
    return number | 1;
}

static void unload(struct store_backend *backend, const uint8_t *data, size_t size)
{
    if (size != 0)
        munmap((void *)data, size);
}

/* With a lock against who removes it for its age: either that one sees that it is young again, or we see that
 * it has gone. */
static bool is_there(struct store_file *store, const char *name, const void *data, size_t size)
{
    const uint8_t *present;
    size_t present_size;
    struct stat st;
    bool same = false;
    int fd = open_image(store, name);
    if (fd < 0)
        return false;
    if (flock(fd, LOCK_SH) == 0 && fstat(fd, &st) == 0 && st.st_nlink != 0 &&
        map_image(fd, name, &present, &present_size) == NULL) {
        same = present_size == size && memcmp(present, data, size) == 0 && futimens(fd, NULL) == 0;
        unload(&store->backend, present, present_size);
    }
    close(fd);
    return same;
}

/* A locked file of a new name, or -1 and errno. */
static int temporary_new(struct store_file *store, char name[TEMPORARY_SIZE])
{
    for (;;) {
        struct stat st;
        uint8_t random[8];
        char hex[2 * sizeof(random) + 1];
        randombytes_buf(random, sizeof(random));
        sodium_bin2hex(hex, sizeof(hex), random, sizeof(random));
        snprintf(name, TEMPORARY_SIZE, "%s%s", TEMPORARY, hex);
        int fd = openat(store->directory, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
        if (fd < 0)
            return -1;
        /* The sweep of another process may have come between the two. */
        if (flock(fd, LOCK_EX) != 0 || fstat(fd, &st) != 0 || st.st_nlink != 0)
            return fd;
        close(fd);
    }
}

static const char *save(struct store_backend *backend, const char *name, const void *data, size_t size)
{
    struct store_file *store = (struct store_file *)backend;
    char temporary[TEMPORARY_SIZE];
    const char *err = NULL;
    if (is_there(store, name, data,
                 size)) /* its writer may have been killed before the directory was flushed */
        return fsync(store->directory) == 0 ? NULL : failed("flush directory", name);
    int fd = temporary_new(store, temporary);
    if (fd < 0)
        err = failed("create", name);
    else if (!file_write(fd, data, size))
        err = failed("write", name);
    else if (fsync(fd) != 0)
        err = failed("flush", name);
    else if (renameat(store->directory, temporary, store->directory, name) != 0)
        err = failed("rename", name);
    else if (fsync(store->directory) != 0)
        err = failed("flush directory", name);
    if (fd >= 0) {
        if (err != NULL)
            unlinkat(store->directory, temporary, 0);
        close(fd);
    }
    return err;
}

static bool is_old(const struct stat *st, unsigned age)
{
    return st->st_mtime <= time(NULL) - (time_t)age;
}

/* Locked until it is closed; -1: gone, or not that old. */
static int hold_old(struct store_file *store, const char *name, unsigned age)
{
    struct stat st;
    int fd = open_image(store, name);
    if (fd >= 0 &&
        (flock(fd, LOCK_EX) != 0 || fstat(fd, &st) != 0 || st.st_nlink == 0 || !is_old(&st, age))) {
        close(fd);
        fd = -1;
    }
    return fd;
}

static const char *remove_file(struct store_backend *backend, const char *name, unsigned age)
{
    struct store_file *store = (struct store_file *)backend;
    const char *err = NULL;
    int fd = age == 0 ? -1 : hold_old(store, name, age);
    if (age != 0 && fd < 0)
        return NULL;
    if (unlinkat(store->directory, name, 0) != 0 && errno != ENOENT)
        err = failed("delete", name);
    else if (fsync(store->directory) != 0)
        err = failed("flush directory", name);
    if (fd >= 0)
        close(fd);
    return err;
}

static DIR *open_directory(int directory)
{
    int copy = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* with a position of its own */
    DIR *entries = copy < 0 ? NULL : fdopendir(copy);
    if (entries == NULL && copy >= 0)
        close(copy);
    return entries;
}

static const char *list(struct store_backend *backend, unsigned age, char **names)
{
    struct store_file *store = (struct store_file *)backend;
    struct buffer found = {0};
    struct dirent *entry;
    struct stat st;
    DIR *entries = open_directory(store->directory);
    if (entries == NULL)
        return failed("list", "");
    while ((entry = readdir(entries)) != NULL) {
        if (store_name_valid(entry->d_name) &&
            fstatat(store->directory, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
            is_old(&st, age))
            buffer_puts(&found, entry->d_name);
    }
    closedir(entries);
    *names = buffer_text(&found);
    return NULL;
}

static void store_file_free(struct store_backend *backend)
{
    close(((struct store_file *)backend)->directory);
    free(backend);
}

/* False and errno. */
static bool sweep(int directory)
{
    DIR *entries = open_directory(directory);
    struct dirent *entry;
    if (entries == NULL)
        return false;
    while ((entry = readdir(entries)) != NULL) {
        if (strncmp(entry->d_name, TEMPORARY, strlen(TEMPORARY)) != 0)
            continue;
        int fd = openat(directory, entry->d_name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        if (fd < 0)
            continue;
        if (flock(fd, LOCK_EX | LOCK_NB) == 0 && unlinkat(directory, entry->d_name, 0) == 0)
            log_info("removed an unfinished image", LOG_STR("file", entry->d_name));
        close(fd);
    }
    closedir(entries);
    return true;
}

struct store_backend *store_file_new(const char *directory, char **error)
{
    int fd = -1;
    if (sodium_init() < 0) {
        *error = x_strdup("libsodium does not start");
        return NULL;
    }
    if ((mkdir(directory, 0750) != 0 && errno != EEXIST) ||
        (fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0 || !sweep(fd)) {
        *error = x_printf("%s: the directory of the images cannot be used: %m", directory);
        if (fd >= 0)
            close(fd);
        return NULL;
    }
    struct store_file *store = x_new(struct store_file);
    store->backend = (struct store_backend){save, load, stamp, unload, remove_file, list, store_file_free};
    store->directory = fd;
    return &store->backend;
}
