/* For LD_PRELOAD: counts calls of some functions of the C library, and lets a chosen one fail.
 *
 * The file that OTAD_FAULTS names is a table, one row a function, shared with the test (tests/lib/faults.py),
 * which writes `at` and `error`: the call whose number since the test set `calls` to 0 is `at` fails with
 * that errno, once. Rows are named by this program, so that the test knows of no order.
 *
 * What is counted is what may fail in earnest. Reading and writing count for sockets and regular
 * files, of which the log is one apart: never for the pipes that wake threads, which fail for no reason but a
 * bug. Mapping counts for files. Calls that the C library makes inside itself are not seen. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

/* The C library's own declarations of these stand behind macros or attributes that a definition would not
 * fit. */
#pragma GCC diagnostic ignored "-Wmissing-prototypes"
#pragma GCC diagnostic ignored "-Wnonnull-compare"

enum function {
    OPEN,
    READ_FILE,
    WRITE_FILE,
    WRITE_LOG,
    FSYNC,
    RENAME,
    UNLINK,
    MMAP,
    FLOCK,
    SOCKET,
    CONNECT,
    ACCEPT,
    READ_SOCKET,
    WRITE_SOCKET,
    EPOLL_CTL,
    EPOLL_WAIT,
    POLL,
    MALLOC,
    CALLOC,
    REALLOC,
    FUNCTIONS
};

static const char *const names[FUNCTIONS] = {
    "open",      "read_file",  "write_file", "write_log", "fsync",  "rename",      "unlink",
    "mmap",      "flock",      "socket",     "connect",   "accept", "read_socket", "write_socket",
    "epoll_ctl", "epoll_wait", "poll",       "malloc",    "calloc", "realloc",
};

struct row { /* 112 bytes, as faults.py reads them */
    char name[16];
    _Atomic uint64_t calls, at, fired;
    int32_t error, unused;
    char caller[64]; /* of memory: the file of the program or library that asked for it */
};

static struct row *table; /* NULL: nothing fails */

__attribute__((constructor)) static void attach(void)
{
    const char *path = getenv("OTAD_FAULTS");
    size_t size = FUNCTIONS * sizeof(struct row);
    int fd = path == NULL ? -1 : (open)(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return;
    struct row *map = ftruncate(fd, (off_t)size) != 0
                          ? MAP_FAILED
                          : (mmap)(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (map == MAP_FAILED)
        abort();
    for (int i = 0; i < FUNCTIONS; i++)
        strcpy(map[i].name, names[i]);
    table = map;
}

static bool fails(enum function function)
{
    if (table == NULL)
        return false;
    struct row *row = &table[function];
    if (atomic_fetch_add(&row->calls, 1) + 1 != atomic_load(&row->at))
        return false;
    atomic_fetch_add(&row->fired, 1);
    errno = row->error;
    return true;
}

/* errno as it was, since those who call these may be in the midst of telling an error. */
static bool is_socket(int fd)
{
    int saved = errno, type;
    socklen_t len = sizeof(type);
    bool is = getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0;
    errno = saved;
    return is;
}

static bool is_file(int fd)
{
    int saved = errno;
    bool is = lseek(fd, 0, SEEK_CUR) >= 0;
    errno = saved;
    return is;
}

#define REAL(name, ...)                                                                                      \
    static __typeof__(name) *real;                                                                           \
    if (real == NULL)                                                                                        \
        real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name);                                                  \
    return real(__VA_ARGS__)

/* -- files ------------------------------------------------------------------------------------------- */

#define OPENING(name, head, ...)                                                                             \
    int name(head const char *path, int flags, ...)                                                          \
    {                                                                                                        \
        va_list args;                                                                                        \
        va_start(args, flags);                                                                               \
        mode_t mode = (flags & (O_CREAT | __O_TMPFILE)) != 0 ? va_arg(args, mode_t) : 0;                     \
        va_end(args);                                                                                        \
        if (fails(OPEN))                                                                                     \
            return -1;                                                                                       \
        REAL(name, __VA_ARGS__ path, flags, mode);                                                           \
    }
#define COMMA ,
#define DIRECTORY int directory COMMA
OPENING(open, , )
OPENING(open64, , )
OPENING(openat, DIRECTORY, directory COMMA)
OPENING(openat64, DIRECTORY, directory COMMA)

int fsync(int fd)
{
    if (fails(FSYNC))
        return -1;
    REAL(fsync, fd);
}

int renameat(int from_directory, const char *from, int to_directory, const char *to)
{
    if (fails(RENAME))
        return -1;
    REAL(renameat, from_directory, from, to_directory, to);
}

int rename(const char *from, const char *to)
{
    if (fails(RENAME))
        return -1;
    REAL(rename, from, to);
}

int unlinkat(int directory, const char *path, int flags)
{
    if (fails(UNLINK))
        return -1;
    REAL(unlinkat, directory, path, flags);
}

void *mmap(void *at, size_t len, int protection, int flags, int fd, off_t offset)
{
    if (fd >= 0 && fails(MMAP))
        return MAP_FAILED;
    REAL(mmap, at, len, protection, flags, fd, offset);
}

int flock(int fd, int operation)
{
    if (fails(FLOCK))
        return -1;
    REAL(flock, fd, operation);
}

/* A connection on which this went wrong is at its end, and its other side sees that. */
static bool breaks(enum function function, int fd)
{
    if (!fails(function))
        return false;
    int error = errno;
    shutdown(fd, SHUT_RDWR);
    errno = error;
    return true;
}

/* -- sockets ----------------------------------------------------------------------------------------- */

int socket(int domain, int type, int protocol)
{
    if (fails(SOCKET))
        return -1;
    REAL(socket, domain, type, protocol);
}

int connect(int fd, const struct sockaddr *address, socklen_t len)
{
    if (fails(CONNECT))
        return -1;
    REAL(connect, fd, address, len);
}

int accept(int fd, struct sockaddr *address, socklen_t *len)
{
    if (fails(ACCEPT))
        return -1;
    REAL(accept, fd, address, len);
}

int accept4(int fd, struct sockaddr *address, socklen_t *len, int flags)
{
    if (fails(ACCEPT))
        return -1;
    REAL(accept4, fd, address, len, flags);
}

ssize_t read(int fd, void *buffer, size_t len)
{
    if (is_socket(fd) ? breaks(READ_SOCKET, fd) : is_file(fd) && fails(READ_FILE))
        return -1;
    REAL(read, fd, buffer, len);
}

ssize_t recv(int fd, void *buffer, size_t len, int flags)
{
    if (breaks(READ_SOCKET, fd))
        return -1;
    REAL(recv, fd, buffer, len, flags);
}

/* The log's lines come from any thread at any time: they are counted for themselves. */
ssize_t write(int fd, const void *data, size_t len)
{
    if (is_socket(fd) ? breaks(WRITE_SOCKET, fd)
                      : is_file(fd) && fails(fd == STDERR_FILENO ? WRITE_LOG : WRITE_FILE))
        return -1;
    REAL(write, fd, data, len);
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    if (is_socket(fd) && breaks(WRITE_SOCKET, fd))
        return -1;
    REAL(writev, fd, parts, count);
}

ssize_t send(int fd, const void *data, size_t len, int flags)
{
    if (breaks(WRITE_SOCKET, fd))
        return -1;
    REAL(send, fd, data, len, flags);
}

int epoll_ctl(int set, int operation, int fd, struct epoll_event *event)
{
    if (operation != EPOLL_CTL_DEL && fails(EPOLL_CTL))
        return -1;
    REAL(epoll_ctl, set, operation, fd, event);
}

int epoll_wait(int set, struct epoll_event *events, int most, int timeout)
{
    if (fails(EPOLL_WAIT))
        return -1;
    REAL(epoll_wait, set, events, most, timeout);
}

int poll(struct pollfd *fds, nfds_t count, int timeout)
{
    if (fails(POLL))
        return -1;
    REAL(poll, fds, count, timeout);
}

/* -- memory: dlsym itself allocates, hence the C library's own names. AddressSanitizer's stand before these.
 * ----- */

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *block, size_t size);

/* Notes whose call it was that failed, which is at `address`. */
static void *none(enum function function, const void *address)
{
    Dl_info info;
    int error = errno;
    const char *file = dladdr(address, &info) != 0 && info.dli_fname != NULL ? info.dli_fname : "";
    const char *name = strrchr(file, '/');
    strncpy(table[function].caller, name == NULL ? file : name + 1, sizeof(table->caller) - 1);
    errno = error;
    return NULL;
}

void *malloc(size_t size)
{
    return fails(MALLOC) ? none(MALLOC, __builtin_return_address(0)) : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    return fails(CALLOC) ? none(CALLOC, __builtin_return_address(0)) : __libc_calloc(count, size);
}

void *realloc(void *block, size_t size)
{
    return fails(REALLOC) ? none(REALLOC, __builtin_return_address(0)) : __libc_realloc(block, size);
}
