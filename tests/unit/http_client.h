/* A client on the thread that runs the server's loop: connects to 127.0.0.1, sends, and turns the loop until
 * the server has closed. */
#pragma once
#include "loop.h"
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h> /* needs those above */

/* A connection that has sent these bytes. */
static inline int client_dial(uint16_t port, const char *bytes, size_t len)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                  .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(send(fd, bytes, len, MSG_NOSIGNAL), len);
    return fd;
}

/* Reads until the server closes, closes, and ends the text; the number of bytes. */
static inline size_t client_take(struct worker *worker, int fd, char *text, size_t size)
{
    size_t len = 0;
    for (uint64_t end = clock_ms() + 30000;;) {
        ssize_t n = recv(fd, text + len, size - 1 - len, MSG_DONTWAIT);
        if (n > 0)
            len += (size_t)n;
        else if (n == 0 || errno != EAGAIN)
            break;
        else if (clock_ms() > end)
            fail_msg("no end of the answer after %zu bytes: %.*s", len, (int)(len < 400 ? len : 400), text);
        else
            loop_turn(worker, NULL, NULL, 2);
    }
    close(fd);
    text[len] = '\0';
    return len;
}
