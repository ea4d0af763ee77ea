/* Workers and their mailboxes, with letters from many threads. */
#include "net/worker.h"
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { SENDERS = 4, EACH = 5000 };

/* Of the worker under test; no lock: only its thread touches it until it has been joined. */
struct desk {
    pthread_t thread;
    unsigned started, stopped, ended, turns, delivered;
    unsigned last[SENDERS]; /* number of the last letter of each */
    bool in_order, elsewhere;
    unsigned wanted;
};

static void on_start(struct worker *worker)
{
    struct desk *desk = worker->parts;
    desk->thread = pthread_self();
    desk->started++;
}

static void on_turn(struct worker *worker)
{
    ((struct desk *)worker->parts)->turns++;
}

static void on_stop(struct worker *worker)
{
    ((struct desk *)worker->parts)->stopped++;
}

static bool on_stopped(struct worker *worker)
{
    struct desk *desk = worker->parts;
    return desk->delivered >= desk->wanted;
}

static void on_end(struct worker *worker)
{
    ((struct desk *)worker->parts)->ended++;
}

static const struct worker_hooks hooks = {on_start, on_turn, on_stop, on_stopped, on_end};

struct parcel {
    struct letter letter; /* first: on_parcel casts */
    unsigned sender, number;
};

static void on_parcel(struct letter *letter, struct worker *worker)
{
    struct parcel *parcel = (struct parcel *)letter;
    struct desk *desk = worker->parts;
    desk->in_order &= parcel->number == ++desk->last[parcel->sender];
    desk->elsewhere |= !pthread_equal(pthread_self(), desk->thread);
    desk->delivered++;
    free(parcel);
}

struct sender {
    struct worker *worker;
    unsigned index;
};

static void *send_all(void *arg)
{
    struct sender *sender = arg;
    for (unsigned i = 1; i <= EACH; i++) {
        struct parcel *parcel = calloc(1, sizeof(*parcel));
        *parcel = (struct parcel){.letter.deliver = on_parcel, .sender = sender->index, .number = i};
        worker_post(sender->worker, &parcel->letter);
    }
    return NULL;
}

static void test_letters_arrive_once_in_order(void **state)
{
    struct desk desk = {.in_order = true, .wanted = SENDERS * EACH};
    struct sender senders[SENDERS];
    pthread_t threads[SENDERS];
    struct worker *worker = worker_new(3, &desk, &hooks);
    worker_start(worker);
    for (unsigned i = 0; i < SENDERS; i++) {
        senders[i] = (struct sender){worker, i};
        pthread_create(&threads[i], NULL, send_all, &senders[i]);
    }
    worker_stop(worker); /* asked at once: what is still coming is waited for */
    for (unsigned i = 0; i < SENDERS; i++)
        pthread_join(threads[i], NULL);
    worker_join(worker);
    assert_int_equal(desk.delivered, SENDERS * EACH);
    assert_true(desk.in_order);
    assert_false(desk.elsewhere);
    assert_int_equal(desk.started + desk.stopped + desk.ended, 3);
}

struct ball {
    struct letter letter; /* first: on_ball casts */
    struct worker *workers[2];
    unsigned left;
};

static void on_ball(struct letter *letter, struct worker *worker)
{
    struct ball *ball = (struct ball *)letter;
    ((struct desk *)worker->parts)->delivered++;
    if (ball->left-- > 0)
        worker_post(ball->workers[worker == ball->workers[0]], letter);
}

static void test_one_letter_to_and_fro(void **state)
{
    struct desk desks[2] = {{.wanted = 1001}, {.wanted = 1000}};
    struct ball ball = {.letter.deliver = on_ball, .left = 2000};
    for (unsigned i = 0; i < 2; i++) {
        ball.workers[i] = worker_new(i, &desks[i], &hooks);
        worker_start(ball.workers[i]);
    }
    worker_post(ball.workers[0], &ball.letter);
    for (unsigned i = 0; i < 2; i++)
        worker_stop(ball.workers[i]);
    for (unsigned i = 0; i < 2; i++)
        worker_join(ball.workers[i]);
    assert_int_equal(desks[0].delivered, 1001);
    assert_int_equal(desks[1].delivered, 1000);
}

/* -- what runs on the worker's thread ------------------------------------------------------------------ */

struct errand {
    struct letter letter; /* first */
    struct worker *worker;
    h2o_socket_t *watch;
    int fd;
    bool inside;
    unsigned deferred, read;
};

static void on_read(h2o_socket_t *watch, const char *err)
{
    struct errand *errand = watch->data;
    uint64_t value;
    assert_int_equal(read(errand->fd, &value, sizeof(value)), sizeof(value));
    errand->read += (unsigned)value;
    h2o_socket_close(errand->watch);
    close(errand->fd); /* ours is still open: the watch had a copy */
    ((struct desk *)errand->worker->parts)->delivered++;
}

static void on_deferred(void *arg)
{
    struct errand *errand = arg;
    uint64_t five = 5;
    assert_false(errand->inside);
    errand->deferred++;
    assert_int_equal(write(errand->fd, &five, sizeof(five)), sizeof(five));
}

static void on_errand(struct letter *letter, struct worker *worker)
{
    struct errand *errand = (struct errand *)letter;
    errand->fd = eventfd(0, EFD_CLOEXEC);
    errand->watch = worker_watch(worker, errand->fd);
    errand->watch->data = errand;
    h2o_socket_read_start(errand->watch, on_read);
    errand->inside = true;
    worker_defer(worker, on_deferred, errand);
    errand->inside = false;
}

static void test_defer_and_watch(void **state)
{
    struct desk desk = {.wanted = 1};
    struct worker *worker = worker_new(0, &desk, &hooks);
    struct errand errand = {.letter.deliver = on_errand, .worker = worker};
    worker_start(worker);
    worker_post(worker, &errand.letter);
    worker_stop(worker);
    worker_join(worker);
    assert_int_equal(errand.deferred, 1);
    assert_int_equal(errand.read, 5);
    assert_true(desk.turns >= 2);
}

/* -- a write outside the loop, done at once, that leaves no room behind it ------------------------------- */

enum { CROWD = 96 * 1024 };

struct crowd {
    struct letter letter; /* first */
    struct worker *worker;
    h2o_socket_t *sock;
    struct timer timer;
    int peer;
    char bytes[CROWD];
};

static void on_nothing(h2o_socket_t *sock, const char *err)
{
}

static void on_drain(struct timer *timer)
{
    struct crowd *crowd = H2O_STRUCT_FROM_MEMBER(struct crowd, timer, timer);
    while (read(crowd->peer, crowd->bytes, sizeof(crowd->bytes)) > 0)
        ;
    h2o_evloop_run(crowd->worker->loop, 0); /* there it was polled for still, and aborted */
    h2o_socket_close(crowd->sock);
    close(crowd->peer);
    ((struct desk *)crowd->worker->parts)->delivered++;
}

static void on_crowd_written(h2o_socket_t *sock, const char *err)
{
    struct crowd *crowd = sock->data;
    assert_null(err);
    crowd->timer.fire = on_drain;
    timer_set(crowd->worker->timers, &crowd->timer, 50);
}

static void on_crowd_due(void *arg)
{
    struct crowd *crowd = arg;
    h2o_socket_read_start(crowd->sock, on_nothing);
    h2o_socket_write(crowd->sock, &(h2o_iovec_t){crowd->bytes, sizeof(crowd->bytes)}, 1, on_crowd_written);
}

static void on_crowd(struct letter *letter, struct worker *worker)
{
    struct crowd *crowd = (struct crowd *)letter;
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &(int){CROWD},
               sizeof(int)); /* is doubled; writable: a quarter */
    crowd->sock = h2o_evloop_socket_create(worker->loop, pair[0], 0);
    crowd->sock->data = crowd;
    crowd->peer = pair[1];
    worker_defer(worker, on_crowd_due, crowd);
}

static void test_a_write_of_a_timer_that_fills_the_buffer(void **state)
{
    struct desk desk = {.wanted = 1};
    struct worker *worker = worker_new(0, &desk, &hooks);
    struct crowd *crowd = calloc(1, sizeof(*crowd));
    crowd->letter.deliver = on_crowd;
    crowd->worker = worker;
    worker_start(worker);
    worker_post(worker, &crowd->letter);
    worker_stop(worker);
    worker_join(worker);
    free(crowd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_letters_arrive_once_in_order),
        cmocka_unit_test(test_one_letter_to_and_fro),
        cmocka_unit_test(test_defer_and_watch),
        cmocka_unit_test(test_a_write_of_a_timer_that_fills_the_buffer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
