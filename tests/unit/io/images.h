/* What the tests of the store share. */
#pragma once
#include <dirent.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

/* The SHA-256 in hex. */
static inline void image_name(const void *data, size_t size, char out[80])
{
    uint8_t digest[32];
    crypto_hash_sha256(digest, data, size);
    sodium_bin2hex(out, 80, digest, 32);
}

/* How many names begin so. */
static inline unsigned count_files(const char *directory, const char *prefix)
{
    unsigned count = 0;
    DIR *entries = opendir(directory);
    struct dirent *entry;
    if (entries == NULL)
        abort();
    while ((entry = readdir(entries)) != NULL)
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
                 strncmp(entry->d_name, prefix, strlen(prefix)) == 0;
    closedir(entries);
    return count;
}
