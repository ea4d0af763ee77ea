/* The process of policies: `otad policy-host`, started by policy/host with a socket as descriptor 3. It has
 * no environment, no files and no secrets (policy/jail), reads requests and answers them in order.
 *
 * A timer counts the processor time of the process. A call into Lua that outlasts several of its ticks
 * computes where Lua's own limit does not reach, in C: the signal's handler, on the same thread, sends what
 * is answered so far, says that this call ran too long, and ends the process. So exactly the call that is to
 * blame is lost. Answers are gathered, and sent at each tick at the latest. */
#include "base/mem.h"
#include "policy/desk.h"
#include "policy/host.h"
#include "policy/jail.h"
#include <errno.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    TICK = 5,       /* ms of processor time */
    MOST_TICKS = 4, /* in one call: more than Lua's own limit, POLICY_TIME */
    SEND_AT = 64 * 1024
};

struct room {
    struct desk desk;
    struct buffer in;
    size_t taken;                  /* of `in`: the frame being served */
    volatile sig_atomic_t tick;    /* since answers were sent last */
    volatile sig_atomic_t writing; /* the handler must not write in between */
    uint64_t seen;                 /* the handler's: the call at the last tick, */
    int ticks;                     /* and how many it has lasted */
};

static void send_all(const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(HOST_FD, data, len);
        if (n < 0 && errno != EINTR)
            _exit(0); /* nobody is there to answer */
        data += n > 0 ? n : 0;
        len -= n > 0 ? (size_t)n : 0;
    }
}

static void flush(struct room *room)
{
    room->writing = 1;
    send_all(room->desk.out.data, room->desk.out.len);
    room->desk.out.len = 0;
    room->tick = 0;
    room->writing = 0;
}

static void on_tick(int number, siginfo_t *info, void *context)
{
    static const char overrun[FRAME_HEADER] = {[FRAME_HEADER - 1] = FRAME_OVERRUN};
    struct room *room = info->si_value.sival_ptr;
    uint64_t call = room->desk.policies.calls;
    room->tick = 1;
    if (call % 2 == 0 || call != room->seen) {
        room->seen = call;
        room->ticks = 0;
    } else if (++room->ticks >= MOST_TICKS && !room->writing) {
        send_all(room->desk.out.data, room->desk.out.len); /* nobody adds to it during a call */
        send_all(overrun, sizeof(overrun));
        _exit(0);
    }
}

static void start_ticking(struct room *room)
{
    struct sigaction action = {.sa_sigaction = on_tick, .sa_flags = SA_SIGINFO | SA_RESTART};
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL,
                             .sigev_signo = SIGALRM,
                             .sigev_value.sival_ptr = room};
    struct itimerspec every = {{0, TICK * 1000000}, {0, TICK * 1000000}};
    timer_t timer;
    if (sigaction(SIGALRM, &action, NULL) != 0 ||
        timer_create(CLOCK_PROCESS_CPUTIME_ID, &event, &timer) != 0 ||
        timer_settime(timer, 0, &every, NULL) != 0)
        _exit(1);
}

static void on_answer(void *arg)
{
    struct room *room = arg;
    if (room->tick || room->desk.out.len >= SEND_AT)
        flush(room);
}

static int by_byte(const void *a, const void *b)
{
    return *(const char *)a - *(const char *)b;
}

/* What the C library asks the system for once, and the jail would not let it: randomness, the zone of the
 * machine, and, to sort more than a kilobyte, how much memory there is. */
static void ask_ahead(void)
{
    char block[4096] = {0};
    json_object_seed(0);
    tzset();
    qsort(block, sizeof(block), 1, by_byte);
}

static void on_news(void *arg)
{
    flush(arg);
}

/* Waits for the next frame, which becomes the first of `in`. */
static void receive(struct room *room, enum frame_kind *kind, struct frame_reader *fields)
{
    char block[64 * 1024];
    for (;;) {
        room->taken = frame_next(room->in.data, room->in.len, kind, fields);
        if (room->taken == SIZE_MAX)
            _exit(1);
        if (room->taken != 0)
            return;
        ssize_t n = read(HOST_FD, block, sizeof(block));
        if (n == 0 || (n < 0 && errno != EINTR))
            _exit(0);
        buffer_put(&room->in, block, n > 0 ? (size_t)n : 0);
    }
}

static void done_with_frame(struct room *room)
{
    room->in.len -= room->taken;
    memmove(room->in.data, room->in.data + room->taken, room->in.len);
}

/* Time zones are files: the server reads them for us. It sends nothing else meanwhile, but the frame being
 * served must stay where it is. */
static bool load_zone(void *arg, const char *name, struct buffer *out)
{
    struct room *room = arg;
    struct buffer served = room->in;
    size_t taken = room->taken, begin = frame_begin(&room->desk.out, FRAME_ZONE_WANTED);
    frame_put_text(&room->desk.out, (struct policy_text){name, strlen(name)});
    frame_end(&room->desk.out, begin);
    flush(room);
    room->in = (struct buffer){0};
    enum frame_kind kind;
    struct frame_reader fields;
    receive(room, &kind, &fields);
    bool there = frame_take_number(&fields) != 0;
    struct policy_text text = frame_take_text(&fields);
    if (kind != FRAME_ZONE || fields.bad)
        _exit(1);
    buffer_put(out, text.text, text.len);
    buffer_free(&room->in);
    room->in = served;
    room->taken = taken;
    return there;
}

int host_main(int argc, char **argv)
{
    int type;
    socklen_t size = sizeof(type);
    if (getsockopt(HOST_FD, SOL_SOCKET, SO_TYPE, &type, &size) != 0) {
        fputs("otad policy-host: only the server starts this\n", stderr);
        return 2;
    }
    struct room *room = x_new(struct room);
    room->desk.policies.zones = zones_new(load_zone, room);
    room->desk.on_answer = on_answer;
    room->desk.on_news = on_news;
    room->desk.arg = room;
    room->desk.checker = checker_new(NULL); /* reads its files, which the jail would not let it */
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* besides the end of the socket: it is not read while policies run */
    ask_ahead();
    start_ticking(room);
    jail_enter(HOST_FD);
    for (;;) {
        enum frame_kind kind;
        struct frame_reader fields;
        receive(room, &kind, &fields);
        if (!desk_serve(&room->desk, kind, &fields))
            _exit(1);
        flush(room);
        done_with_frame(room);
    }
}
