#include "net/files.h"
#include "base/file.h"
#include "base/mem.h"
#include <dirent.h>
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { MOST_FILES = 4096, DEEPEST = 8 };

struct files {
    struct files_entry *entries; /* by name */
    size_t count, bytes;
};

const char *files_type(const char *name)
{
    static const struct {
        const char *extension, *type;
    } types[] = {{"html", "text/html; charset=utf-8"},
                 {"js", "text/javascript; charset=utf-8"},
                 {"mjs", "text/javascript; charset=utf-8"},
                 {"css", "text/css; charset=utf-8"},
                 {"json", "application/json"},
                 {"map", "application/json"},
                 {"webmanifest", "application/manifest+json"},
                 {"txt", "text/plain; charset=utf-8"},
                 {"xml", "application/xml"},
                 {"svg", "image/svg+xml"},
                 {"png", "image/png"},
                 {"jpg", "image/jpeg"},
                 {"jpeg", "image/jpeg"},
                 {"gif", "image/gif"},
                 {"webp", "image/webp"},
                 {"avif", "image/avif"},
                 {"ico", "image/x-icon"},
                 {"woff", "font/woff"},
                 {"woff2", "font/woff2"},
                 {"ttf", "font/ttf"},
                 {"wasm", "application/wasm"}};
    const char *dot = strrchr(name, '.');
    for (size_t i = 0; dot != NULL && i < sizeof(types) / sizeof(types[0]); i++) {
        if (strcmp(dot + 1, types[i].extension) == 0)
            return types[i].type;
    }
    return "application/octet-stream";
}

/* Eight capitals and digits (esbuild), or eight and more hexadecimal digits; words and dates are neither. */
static bool is_hash(const char *text, size_t len)
{
    static const char capitals[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", hex[] = "0123456789abcdef";
    size_t digits = strspn(text, "0123456789");
    if (len < 8 || digits >= len)
        return false;
    return (len == 8 && strspn(text, capitals) == len) ||
           (strspn(text, hex) == len && strcspn(text, "0123456789") < len);
}

bool files_name_hashed(const char *name)
{
    const char *slash = strrchr(name, '/'), *at = slash == NULL ? name : slash + 1;
    while ((at = strpbrk(at, "-.")) != NULL) {
        size_t len = strcspn(++at, "-.");
        if (at[len] == '.' && is_hash(at, len))
            return true;
    }
    return false;
}

static bool read_body(struct files *files, const char *path, off_t size, struct files_body *body,
                      char **error)
{
    unsigned char hash[crypto_hash_sha256_BYTES];
    if (size > (off_t)(FILES_MOST_BYTES - files->bytes)) {
        *error = x_printf("%s: the directory holds more than %d MiB", path, FILES_MOST_BYTES >> 20);
        return false;
    }
    body->data = x_alloc((size_t)size + 1);
    ssize_t len = file_load(path, FILE_PUBLIC, body->data, (size_t)size, error);
    if (len < 0)
        return false;
    body->len = (size_t)len;
    files->bytes += body->len;
    crypto_hash_sha256(hash, body->data, body->len);
    sodium_bin2hex(body->etag, sizeof(body->etag), hash, (sizeof(body->etag) - 1) / 2);
    return true;
}

static bool add_file(struct files *files, const char *path, off_t size, char *name, char **error)
{
    if (files->count == MOST_FILES) {
        *error = x_printf("%s: the directory holds more than %d files", path, MOST_FILES);
        free(name);
        return false;
    }
    files->entries = x_realloc(files->entries, (files->count + 1) * sizeof(files->entries[0]));
    struct files_entry *entry = &files->entries[files->count++];
    *entry = (struct files_entry){.name = name, .type = files_type(name), .hashed = files_name_hashed(name)};
    return read_body(files, path, size, &entry->bodies[ENCODING_IDENTITY], error);
}

static bool read_directory(struct files *files, const char *directory, const char *prefix, int depth,
                           char **error)
{
    struct dirent **found;
    int count = scandir(directory, &found, NULL, alphasort);
    if (count < 0) {
        if (depth == 0 && errno == ENOENT)
            return true;
        *error = x_printf("%s: %m", directory);
        return false;
    }
    bool ok = true;
    for (int i = 0; i < count; i++) {
        const char *name = found[i]->d_name;
        char *path = x_printf("%s/%s", directory, name);
        struct stat info;
        if (!ok || *name == '.' || stat(path, &info) != 0) {
            /* hidden, or gone again */
        } else if (S_ISDIR(info.st_mode) && depth < DEEPEST) {
            char *below = x_printf("%s%s/", prefix, name);
            ok = read_directory(files, path, below, depth + 1, error);
            free(below);
        } else if (S_ISREG(info.st_mode)) {
            ok = add_file(files, path, info.st_size, x_printf("%s%s", prefix, name), error);
        }
        free(path);
        free(found[i]);
    }
    free(found);
    return ok;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct files_entry *)a)->name, ((const struct files_entry *)b)->name);
}

/* Makes `entry` an encoding of the file whose name it has but for the suffix, where there is that file; one
 * that saves nothing is dropped. */
static bool fold(struct files *files, struct files_entry *entry)
{
    static const char *const suffixes[ENCODINGS] = {NULL, ".gz", ".br"};
    size_t len = strlen(entry->name);
    for (int i = ENCODING_GZIP; i < ENCODINGS; i++) {
        if (len <= 3 || strcmp(entry->name + len - 3, suffixes[i]) != 0)
            continue;
        h2o_iovec_t name = {entry->name, len - 3};
        struct files_entry *whole = (struct files_entry *)files_find(files, name);
        if (whole == NULL || entry->bodies[ENCODING_GZIP].data != NULL ||
            entry->bodies[ENCODING_BR].data != NULL)
            continue;
        struct files_body *body = &entry->bodies[ENCODING_IDENTITY];
        if (body->len < whole->bodies[ENCODING_IDENTITY].len) {
            whole->bodies[i] = *body;
        } else {
            files->bytes -= body->len;
            free(body->data);
        }
        body->data = NULL;
        return true;
    }
    return false;
}

static void fold_all(struct files *files)
{
    for (size_t i = files->count; i-- > 0;) { /* backwards: what is folded stands behind its file */
        struct files_entry *entry = &files->entries[i];
        if (fold(files, entry)) {
            free(entry->name);
            memmove(entry, entry + 1, (files->count - i - 1) * sizeof(*entry));
            files->count--;
        }
    }
}

struct files *files_load(const char *directory, char **error)
{
    struct files *files = x_new(struct files);
    if (!read_directory(files, directory, "", 0, error)) {
        files_free(files);
        return NULL;
    }
    if (files->count != 0)
        qsort(files->entries, files->count, sizeof(files->entries[0]), by_name);
    fold_all(files);
    return files;
}

void files_free(struct files *files)
{
    if (files == NULL)
        return;
    for (size_t i = 0; i < files->count; i++) {
        for (int j = 0; j < ENCODINGS; j++)
            free(files->entries[i].bodies[j].data);
        free(files->entries[i].name);
    }
    free(files->entries);
    free(files);
}

const struct files_entry *files_find(const struct files *files, h2o_iovec_t name)
{
    size_t low = 0, high = files->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2, len = strlen(files->entries[middle].name);
        int order = memcmp(files->entries[middle].name, name.base, len < name.len ? len : name.len);
        if (order == 0 && len == name.len)
            return &files->entries[middle];
        if (order < 0 || (order == 0 && len < name.len))
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

size_t files_count(const struct files *files, size_t *bytes)
{
    *bytes = files->bytes;
    return files->count;
}
