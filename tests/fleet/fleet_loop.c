/* Two epoll sets: one of MQTT connections, whose user data is the fleet_watch, and in it another one of
 * curl's sockets, by number, as curl gives a socket up in the middle of a turn.
 *
 * Thousands of downloads must not keep the broker waiting. curl reads up to 100 buffers in one call, and does
 * so for every transfer whose timer has passed: so there are many multi handles, and each turn serves the
 * timers of one of them and the sockets of a few transfers. */
#include "fleet_loop.h"
#include "sim_fetch.h"
#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS = 512, DOWNLOADS = 4, PARTS = 256 };

struct part {
    struct sim_loop *loop;
    CURLM *curl;
    struct sim_timer timer;
    bool due;
};

struct sim_loop {
    int epoll, downloads;
    struct part parts[PARTS];
    unsigned next_part, next_due,
        due_count; /* for a new transfer; to look for timers from; parts that are due */
    struct sim_timers timers;
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
    return loop->parts[loop->next_part++ % PARTS].curl;
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

static void curl_act(struct part *part, curl_socket_t fd, int mask)
{
    int running, left;
    CURLMsg *message;
    curl_multi_socket_action(part->curl, fd, mask, &running);
    while ((message = curl_multi_info_read(part->curl, &left))) {
        if (message->msg == CURLMSG_DONE) {
            sim_fetch_done(message->easy_handle, message->data.result);
        }
    }
}

static int on_curl_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *known)
{
    struct part *part = arg;
    uint64_t number = (uint64_t)(part - part->loop->parts) << 32 | (uint32_t)fd;
    uint32_t events = 0;
    if (what != CURL_POLL_REMOVE) {
        events = (what & CURL_POLL_IN ? EPOLLIN : 0u) | (what & CURL_POLL_OUT ? EPOLLOUT : 0u);
    }
    if (known || events) {
        control(part->loop->downloads, fd, known != NULL, events, (epoll_data_t){.u64 = number});
    }
    curl_multi_assign(part->curl, fd, events ? part : NULL);
    return 0;
}

static void set_due(struct part *part, bool due)
{
    part->loop->due_count += due && !part->due;
    part->loop->due_count -= !due && part->due;
    part->due = due;
}

static int on_curl_timer(CURLM *curl, long ms, void *arg)
{
    struct part *part = arg;
    set_due(part, false);
    sim_timers_set(&part->loop->timers, &part->timer, ms < 0 ? UINT64_MAX : sim_loop_now() + (uint64_t)ms);
    return 0;
}

static void on_curl_due(void *arg)
{
    set_due(arg, true);
}

static bool part_init(struct part *part, struct sim_loop *loop)
{
    *part = (struct part){.loop = loop, .curl = curl_multi_init()};
    part->timer = (struct sim_timer){.on_due = on_curl_due, .arg = part};
    curl_multi_setopt(part->curl, CURLMOPT_SOCKETFUNCTION, on_curl_socket);
    curl_multi_setopt(part->curl, CURLMOPT_SOCKETDATA, part);
    curl_multi_setopt(part->curl, CURLMOPT_TIMERFUNCTION, on_curl_timer);
    curl_multi_setopt(part->curl, CURLMOPT_TIMERDATA, part);
    curl_multi_setopt(part->curl, CURLMOPT_MAXCONNECTS, 1L); /* devices share no connections */
    return part->curl;
}

static void serve_timers(struct sim_loop *loop)
{
    if (loop->due_count > 0) {
        while (!loop->parts[loop->next_due].due) {
            loop->next_due = (loop->next_due + 1) % PARTS;
        }
        struct part *part = &loop->parts[loop->next_due];
        loop->next_due = (loop->next_due + 1) % PARTS;
        set_due(part, false);
        curl_act(part, CURL_SOCKET_TIMEOUT, 0);
    }
}

static void serve_sockets(struct sim_loop *loop)
{
    struct epoll_event events[DOWNLOADS];
    int count = epoll_wait(loop->downloads, events, DOWNLOADS, 0);
    for (int i = 0; i < count; i++) {
        uint32_t ready = events[i].events;
        int mask = 0;
        mask |= ready & (EPOLLIN | EPOLLHUP) ? CURL_CSELECT_IN : 0;
        mask |= ready & EPOLLOUT ? CURL_CSELECT_OUT : 0;
        mask |= ready & EPOLLERR ? CURL_CSELECT_ERR : 0;
        curl_act(&loop->parts[events[i].data.u64 >> 32], (int)(uint32_t)events[i].data.u64, mask);
    }
}

/* --- turns --- */

struct sim_loop *sim_loop_new(void)
{
    struct sim_loop *loop = calloc(1, sizeof *loop);
    if (!loop || curl_global_init(CURL_GLOBAL_DEFAULT) != 0) {
        free(loop);
        return NULL;
    }
    loop->epoll = epoll_create1(EPOLL_CLOEXEC);
    loop->downloads = epoll_create1(EPOLL_CLOEXEC);
    bool good = loop->epoll >= 0 && loop->downloads >= 0;
    for (int i = 0; i < PARTS; i++) {
        good = part_init(&loop->parts[i], loop) && good;
    }
    if (!good) {
        sim_loop_free(loop);
        return NULL;
    }
    control(loop->epoll, loop->downloads, 0, EPOLLIN, (epoll_data_t){.ptr = NULL});
    return loop;
}

void sim_loop_free(struct sim_loop *loop)
{
    for (int i = 0; i < PARTS; i++) {
        curl_multi_cleanup(loop->parts[i].curl);
    }
    sim_timers_free(&loop->timers);
    close(loop->downloads);
    close(loop->epoll);
    free(loop);
}

void sim_loop_turn(struct sim_loop *loop, int max_ms)
{
    sim_timers_run(&loop->timers, sim_loop_now());
    uint64_t wait = loop->due_count ? 0 : sim_timers_wait(&loop->timers, sim_loop_now(), (uint64_t)max_ms);
    int count = epoll_wait(loop->epoll, loop->events, EVENTS, (int)wait);
    bool downloads = false;
    for (int i = 0; i < count; i++) {
        struct fleet_watch *watch = loop->events[i].data.ptr;
        if (watch) {
            watch->on_ready(watch->arg, loop->events[i].events);
        } else {
            downloads = true;
        }
    }
    serve_timers(loop);
    if (downloads) {
        serve_sockets(loop);
    }
}
