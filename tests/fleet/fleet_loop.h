/* sim_loop.h over epoll, for thousands of connections on one thread: what costs is what happens, not what
 * exists. Besides timers and curl's sockets it watches those of MQTT connections (fleet_link.c). */
#pragma once
#include "sim_loop.h"
#include <stdbool.h>
#include <sys/epoll.h>

struct fleet_watch {
    void (*on_ready)(void *arg, uint32_t events); /* of epoll; may come for a socket closed meanwhile */
    void *arg;
    uint32_t events; /* what is waited for now */
};

/* Changes what is waited for; 0: nothing. The struct must stay until the next turn. */
void fleet_loop_watch(struct sim_loop *loop, int fd, struct fleet_watch *watch, uint32_t events);
/* 64 KiB for use within one call. */
uint8_t *fleet_loop_buffer(struct sim_loop *loop);
enum { FLEET_BUFFER = 65536 };
