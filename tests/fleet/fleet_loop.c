/* Two epoll sets: one of MQTT connections, whose user data is the fleet_watch, and in it another one of
 * curl's sockets, by number, as curl gives a socket up in the middle of a turn. Of downloads only a few are
 * served in a turn: curl reads up to 100 buffers at once, and thousands of them must not keep the broker
 * waiting. */
#include "fleet_loop.h"
#include "sim_fetch.h"
#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS = 512, DOWNLOADS = 4 };

struct sim_loop {
    int epoll, downloads;
    CURLM *curl;
    struct sim_timers timers;
    struct sim_timer curl_timer;
    struct epoll_event events[EVENTS];
    uint8_t buffer[FLEET_BUFFER];
};

uint64_t sim_loop_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

CURLM *sim_loop_curl(struct sim_loop *loop)
{
    return loop->curl;
}

struct sim_timers *sim_loop_timers(struct sim_loop *loop)
{
    return &loop->timers;
}

uint8_t *fleet_loop_buffer(struct sim_loop *loop)
{
    return loop->buffer;
}

static void control(int set, int fd, uint32_t before, uint32_t events, epoll_data_t data)
{
    struct epoll_event event = {.events = events, .data = data};
    int operation = !events ? EPOLL_CTL_DEL : before ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    if (epoll_ctl(set, operation, fd, &event) != 0 && events) {
        abort();
    }
}

void fleet_loop_watch(struct sim_loop *loop, int fd, struct fleet_watch *watch, uint32_t events)
{
    if (watch->events != events) {
        control(loop->epoll, fd, watch->events, events, (epoll_data_t){.ptr = watch});
        watch->events = events;
    }
}

/* --- curl --- */

static void curl_act(struct sim_loop *loop, curl_socket_t fd, int mask)
{
    int running, left;
    CURLMsg *message;
    curl_multi_socket_action(loop->curl, fd, mask, &running);
    while ((message = curl_multi_info_read(loop->curl, &left))) {
        if (message->msg == CURLMSG_DONE) {
            sim_fetch_done(message->easy_handle, message->data.result);
        }
    }
}

static int on_curl_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *known)
{
    struct sim_loop *loop = arg;
    uint32_t events = 0;
    if (what != CURL_POLL_REMOVE) {
        events = (what & CURL_POLL_IN ? EPOLLIN : 0u) | (what & CURL_POLL_OUT ? EPOLLOUT : 0u);
    }
    if (known || events) {
        control(loop->downloads, fd, known != NULL, events, (epoll_data_t){.fd = fd});
    }
    curl_multi_assign(loop->curl, fd, events ? loop : NULL);
    return 0;
}

static int on_curl_timer(CURLM *curl, long ms, void *arg)
{
    struct sim_loop *loop = arg;
    sim_timers_set(&loop->timers, &loop->curl_timer, ms < 0 ? UINT64_MAX : sim_loop_now() + (uint64_t)ms);
    return 0;
}

static void on_curl_due(void *arg)
{
    curl_act(arg, CURL_SOCKET_TIMEOUT, 0);
}

static void curl_ready(struct sim_loop *loop, int fd, uint32_t events)
{
    int mask = 0;
    mask |= events & (EPOLLIN | EPOLLHUP) ? CURL_CSELECT_IN : 0;
    mask |= events & EPOLLOUT ? CURL_CSELECT_OUT : 0;
    mask |= events & EPOLLERR ? CURL_CSELECT_ERR : 0;
    curl_act(loop, fd, mask);
}

/* --- turns --- */

struct sim_loop *sim_loop_new(void)
{
    struct sim_loop *loop = calloc(1, sizeof *loop);
    if (!loop || curl_global_init(CURL_GLOBAL_DEFAULT) != 0 || !(loop->curl = curl_multi_init()) ||
        (loop->epoll = epoll_create1(EPOLL_CLOEXEC)) < 0 ||
        (loop->downloads = epoll_create1(EPOLL_CLOEXEC)) < 0) {
        free(loop);
        return NULL;
    }
    control(loop->epoll, loop->downloads, 0, EPOLLIN, (epoll_data_t){.ptr = NULL});
    loop->curl_timer = (struct sim_timer){.on_due = on_curl_due, .arg = loop};
    curl_multi_setopt(loop->curl, CURLMOPT_SOCKETFUNCTION, on_curl_socket);
    curl_multi_setopt(loop->curl, CURLMOPT_SOCKETDATA, loop);
    curl_multi_setopt(loop->curl, CURLMOPT_TIMERFUNCTION, on_curl_timer);
    curl_multi_setopt(loop->curl, CURLMOPT_TIMERDATA, loop);
    curl_multi_setopt(loop->curl, CURLMOPT_MAXCONNECTS, 16L); /* devices share none: few wait for reuse */
    return loop;
}

void sim_loop_free(struct sim_loop *loop)
{
    curl_multi_cleanup(loop->curl);
    sim_timers_free(&loop->timers);
    close(loop->downloads);
    close(loop->epoll);
    free(loop);
}

static void serve_downloads(struct sim_loop *loop)
{
    struct epoll_event events[DOWNLOADS];
    int count = epoll_wait(loop->downloads, events, DOWNLOADS, 0);
    for (int i = 0; i < count; i++) {
        curl_ready(loop, events[i].data.fd, events[i].events);
    }
}

void sim_loop_turn(struct sim_loop *loop, int max_ms)
{
    sim_timers_run(&loop->timers, sim_loop_now());
    int wait = (int)sim_timers_wait(&loop->timers, sim_loop_now(), (uint64_t)max_ms);
    int count = epoll_wait(loop->epoll, loop->events, EVENTS, wait);
    bool downloads = false;
    for (int i = 0; i < count; i++) {
        struct fleet_watch *watch = loop->events[i].data.ptr;
        if (watch) {
            watch->on_ready(watch->arg, loop->events[i].events);
        } else {
            downloads = true;
        }
    }
    if (downloads) {
        serve_downloads(loop);
    }
}
