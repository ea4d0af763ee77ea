/* Whole files and durability; contracts in the header. No state.
 *
 * Permissions are read from the opened descriptor, never from the path, so the file that was checked is the
 * file that is read. O_NONBLOCK keeps a FIFO in a key's place from hanging the start. */
#include "base/file.h"
#include "base/mem.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static ssize_t read_all(int fd, char *buffer, size_t size)
{
    size_t len = 0;
    while (len < size) {
        ssize_t n = read(fd, buffer + len, size - len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        len += (size_t)n;
    }
    return (ssize_t)len;
}

ssize_t file_load(const char *path, enum file_kind kind, void *buffer, size_t size, char **error)
{
    ssize_t len = -1;
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0) {
        *error = x_printf("%s: %m", path);
        return -1;
    }
    if (fstat(fd, &st) != 0)
        *error = x_printf("%s: %m", path);
    else if (!S_ISREG(st.st_mode))
        *error = x_printf("%s: not a regular file", path);
    else if (kind == FILE_SECRET && (st.st_mode & (S_IRWXG | S_IRWXO)) != 0)
        *error = x_printf("%s: a secret that others than its owner may use (mode %04o); run: chmod 600 %s",
                          path, (unsigned)st.st_mode & 07777, path);
    else if (st.st_size > (off_t)size)
        *error = x_printf("%s: larger than the %zu bytes such a file may have", path, size);
    else if ((len = read_all(fd, buffer, size)) < 0)
        *error = x_printf("%s: %m", path);
    close(fd);
    return len;
}

char *file_list_next(char **rest)
{
    char *path;
    while ((path = strsep(rest, ",")) != NULL) {
        path += strspn(path, " \t\n");
        size_t len = strlen(path);
        while (len != 0 && strchr(" \t\n", path[len - 1]) != NULL)
            len--;
        path[len] = '\0';
        if (len != 0)
            return path;
    }
    return NULL;
}

bool file_write(int fd, const void *data, size_t len)
{
    const char *at = data;
    while (len != 0) {
        ssize_t n = write(fd, at, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        at += n;
        len -= (size_t)n;
    }
    return true;
}

bool file_sync_parent(const char *path)
{
    const char *slash = strrchr(path, '/');
    char directory[4096] = ".";
    if (slash != NULL) {
        size_t len = slash == path ? 1 : (size_t)(slash - path);
        if (len >= sizeof(directory)) {
            errno = ENAMETOOLONG;
            return false;
        }
        memcpy(directory, path, len);
        directory[len] = '\0';
    }
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool synced = fsync(fd) == 0;
    int saved = errno;
    close(fd);
    errno = saved;
    return synced;
}
