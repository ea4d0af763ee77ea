#include "lua/bundle.h"
#include "base/mem.h"
#include "net/timer.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LARGEST_FILE = 256 * 1024, MOST_FILES = 1000, DEEPEST = 4 };

static bool read_text(const char *path, struct bundle_file *file, char **error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        *error = x_printf("%s: %s", path, strerror(errno));
        return false;
    }
    file->text = x_alloc(LARGEST_FILE + 1);
    ssize_t n = 0;
    while (file->len <= LARGEST_FILE &&
           (n = read(fd, file->text + file->len, LARGEST_FILE + 1 - file->len)) > 0)
        file->len += (size_t)n;
    if (n < 0)
        *error = x_printf("%s: %s", path, strerror(errno));
    close(fd);
    if (n < 0)
        return false;
    if (file->len > LARGEST_FILE) {
        *error = x_printf("%s: larger than 256 KiB", path);
        return false;
    }
    file->text = x_realloc(file->text, file->len + 1);
    file->text[file->len] = '\0';
    return true;
}

static void drop_file(struct bundle_file *file)
{
    free(file->name);
    free(file->path);
    free(file->text);
}

/* Takes each .lua file below `directory`, whose names begin with `prefix`; messages call the whole `shown`.
 */
static bool read_directory(struct bundle **bundle, const char *directory, const char *shown,
                           const char *prefix, int depth, char **error)
{
    struct dirent **entries;
    int count = scandir(directory, &entries, NULL, alphasort);
    if (count < 0) {
        *error = x_printf("%s: %s", directory, strerror(errno));
        return false;
    }
    bool ok = true;
    for (int i = 0; i < count; i++) {
        const char *entry = entries[i]->d_name;
        size_t len = strlen(entry);
        char *path = x_printf("%s%s%s", directory, directory[strlen(directory) - 1] == '/' ? "" : "/", entry);
        struct stat info;
        if (!ok || *entry == '.' || stat(path, &info) != 0) {
            /* hidden (an editor's), or gone again */
        } else if (S_ISDIR(info.st_mode) && depth < DEEPEST) {
            char *below = x_printf("%s%s/", prefix, entry);
            ok = read_directory(bundle, path, shown, below, depth + 1, error);
            free(below);
        } else if (S_ISREG(info.st_mode) && len > 4 && strcmp(entry + len - 4, ".lua") == 0) {
            size_t n = (*bundle)->count;
            struct bundle_file file = {.name = x_printf("%s%.*s", prefix, (int)(len - 4), entry),
                                       .path = x_printf("%s/%s%s", shown, prefix, entry),
                                       .saved_at =
                                           (double)info.st_mtim.tv_sec + (double)info.st_mtim.tv_nsec / 1e9};
            ok = n < MOST_FILES && read_text(path, &file, error);
            if (n >= MOST_FILES)
                *error = x_printf("%s: more than %d files", directory, MOST_FILES);
            if (ok) {
                *bundle = x_realloc(*bundle, sizeof(**bundle) + (n + 1) * sizeof(file));
                (*bundle)->files[n] = file;
                (*bundle)->count++;
            } else {
                drop_file(&file);
            }
        }
        free(path);
        free(entries[i]);
    }
    free(entries);
    return ok;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct bundle_file *)a)->name, ((const struct bundle_file *)b)->name);
}

static void name_revision(struct bundle *bundle)
{
    crypto_hash_sha256_state state;
    unsigned char hash[crypto_hash_sha256_BYTES];
    crypto_hash_sha256_init(&state);
    for (size_t i = 0; i < bundle->count; i++) {
        const struct bundle_file *file = &bundle->files[i];
        crypto_hash_sha256_update(&state, (const unsigned char *)file->name, strlen(file->name) + 1);
        crypto_hash_sha256_update(&state, (const unsigned char *)&file->len, sizeof(file->len));
        crypto_hash_sha256_update(&state, (const unsigned char *)file->text, file->len);
    }
    crypto_hash_sha256_final(&state, hash);
    sodium_bin2hex(bundle->revision, sizeof(bundle->revision), hash, sizeof(hash));
}

struct bundle *bundle_new(void)
{
    struct bundle *bundle = x_new(struct bundle);
    atomic_init(&bundle->refs, 1);
    return bundle;
}

void bundle_add(struct bundle **bundle, const char *name, const char *text, size_t len)
{
    size_t at = 0, count = (*bundle)->count;
    while (at < count && strcmp((*bundle)->files[at].name, name) < 0)
        at++;
    if (at < count && strcmp((*bundle)->files[at].name, name) == 0)
        return;
    *bundle = x_realloc(*bundle, sizeof(**bundle) + (count + 1) * sizeof((*bundle)->files[0]));
    struct bundle_file *file = &(*bundle)->files[at];
    memmove(file + 1, file, (count - at) * sizeof(*file));
    *file = (struct bundle_file){.name = x_strdup(name),
                                 .path = x_printf("scripts/%s.lua", name),
                                 .text = x_memdup(text, len),
                                 .len = len};
    (*bundle)->count++;
}

struct bundle *bundle_read(const char *directory, char **error)
{
    struct bundle *bundle = bundle_new();
    size_t len = strlen(directory), start;
    while (len > 1 && directory[len - 1] == '/')
        len--;
    for (start = len; start > 0 && directory[start - 1] != '/'; start--)
        ;
    char *shown = x_memdup(directory + start, len - start);
    bool ok = read_directory(&bundle, directory, shown, "", 0, error);
    free(shown);
    if (!ok) {
        bundle_release(bundle);
        return NULL;
    }
    qsort(bundle->files, bundle->count, sizeof(bundle->files[0]), by_name);
    bundle->read_at = clock_unix();
    name_revision(bundle);
    return bundle;
}

struct bundle *bundle_hold(struct bundle *bundle)
{
    atomic_fetch_add(&bundle->refs, 1);
    return bundle;
}

void bundle_release(struct bundle *bundle)
{
    if (bundle == NULL || atomic_fetch_sub(&bundle->refs, 1) != 1)
        return;
    for (size_t i = 0; i < bundle->count; i++)
        drop_file(&bundle->files[i]);
    free(bundle);
}

const struct bundle_file *bundle_find(const struct bundle *bundle, const char *name)
{
    struct bundle_file key = {.name = (char *)name};
    return bsearch(&key, bundle->files, bundle->count, sizeof(key), by_name);
}

bool bundle_is_test(const struct bundle_file *file)
{
    size_t len = strlen(file->name);
    return len > 5 && strcmp(file->name + len - 5, "_test") == 0;
}
