/* Accepting, in batches. libh2o keeps a pointer to a listener's accept context during each TLS handshake,
 * which is why closing and freeing a listener are two steps. Worker thread. */
#include "net/listener.h"
#include "base/mem.h"
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    BATCH = 32,  /* connections accepted before others get their turn */
    PAUSE = 100, /* ms without accepting when descriptors or memory ran out */
    LAST = 4096, /* connections still taken when closing */
    /* Bytes; setting them ends the kernel's own tuning, which would let one connection take megabytes. With
     * less to send in, HTTP/2 frames wait in libh2o more often than is good for it. */
    SOCKET_BUFFER = 212992,
};

struct listener {
    struct worker *worker;
    struct guard *guard;
    h2o_accept_ctx_t accept;
    h2o_socket_t *sock; /* NULL: closed */
    struct timer resume;
};

/* False: nothing more is waiting, or nothing more can be taken. */
static bool accept_one(struct listener *listener)
{
    h2o_socket_t *sock = h2o_evloop_socket_accept(listener->sock);
    if (sock == NULL) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            /* The port stays readable: asking again at once would only burn the processor. */
            guard_make_room(listener->guard);
            h2o_socket_read_stop(listener->sock);
            timer_set(listener->worker->timers, &listener->resume, PAUSE);
            return false;
        }
        return errno == ECONNABORTED || errno == EINTR;
    }
    if (guard_admit(listener->guard, sock))
        h2o_accept(&listener->accept, sock);
    else
        h2o_socket_close(sock);
    return true;
}

static void on_accept(h2o_socket_t *sock, const char *err)
{
    struct listener *listener = sock->data;
    if (err != NULL)
        return;
    for (int i = 0; i < BATCH && accept_one(listener); i++)
        ;
}

static void on_resume(struct timer *timer)
{
    struct listener *listener = H2O_STRUCT_FROM_MEMBER(struct listener, resume, timer);
    h2o_socket_read_start(listener->sock, on_accept);
}

/* Returns the descriptor, or -1 and errno. `shared`: with others of this process. */
static int open_port(const struct addrinfo *address, bool shared)
{
    int on = 1, off = 0, buffer = SOCKET_BUFFER;
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    if (address->ai_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
        (!shared || setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) == 0) &&
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof(buffer)) ==
            0 && /* inherited by what is accepted */
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof(buffer)) == 0 &&
        bind(fd, address->ai_addr, address->ai_addrlen) == 0 && listen(fd, H2O_SOMAXCONN) == 0)
        return fd;
    int saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

/* The same by name; -1 and *error. */
static int open_named(const char *address, uint16_t port, bool shared, char **error)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE},
                    *found;
    char text[8];
    snprintf(text, sizeof(text), "%u", (unsigned)port);
    int ret = getaddrinfo(address, text, &hints, &found);
    if (ret != 0) {
        *error = x_printf("address %s: %s", address, gai_strerror(ret));
        return -1;
    }
    int fd = open_port(found, shared);
    if (fd < 0)
        *error = x_printf("cannot listen on %s port %u: %s", address, (unsigned)port, strerror(errno));
    freeaddrinfo(found);
    return fd;
}

bool listener_port_free(const char *address, uint16_t port, char **error)
{
    int fd = open_named(address, port, false, error);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

struct listener *listener_open(struct worker *worker, h2o_context_t *context,
                               const struct listener_config *config, char **error)
{
    int fd = open_named(config->address, config->port, true, error);
    if (fd < 0)
        return NULL;
    struct listener *listener = x_new(struct listener);
    listener->worker = worker;
    listener->guard = config->guard;
    listener->accept =
        (h2o_accept_ctx_t){.ctx = context, .hosts = context->globalconf->hosts, .ssl_ctx = config->tls};
    listener->resume.fire = on_resume;
    listener->sock = h2o_evloop_socket_create(worker->loop, fd, H2O_SOCKET_FLAG_DONT_READ);
    listener->sock->data = listener;
    h2o_socket_read_start(listener->sock, on_accept);
    return listener;
}

uint16_t listener_port(const struct listener *listener)
{
    struct sockaddr_storage address;
    h2o_socket_getsockname(listener->sock, (struct sockaddr *)&address);
    return (uint16_t)h2o_socket_getport((struct sockaddr *)&address);
}

void listener_close(struct listener *listener)
{
    if (listener->sock == NULL)
        return;
    for (int i = 0; i < LAST && accept_one(listener); i++)
        ;
    timer_cancel(listener->worker->timers, &listener->resume);
    h2o_socket_close(listener->sock);
    listener->sock = NULL;
}

void listener_free(struct listener *listener)
{
    listener_close(listener);
    free(listener);
}
