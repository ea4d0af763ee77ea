#include "net/worker.h"
#include "base/log.h"
#include "base/mem.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

enum { LONGEST_WAIT = 1000 }; /* ms the loop sleeps when nothing is due */

static void on_letters(h2o_multithread_receiver_t *receiver, h2o_linklist_t *letters)
{
    struct worker *worker = H2O_STRUCT_FROM_MEMBER(struct worker, mailbox, receiver);
    while (!h2o_linklist_is_empty(letters)) {
        struct letter *letter = H2O_STRUCT_FROM_MEMBER(struct letter, message.link, letters->next);
        h2o_linklist_unlink(&letter->message.link);
        letter->deliver(letter, worker);
    }
}

struct worker *worker_new(unsigned index, void *parts, const struct worker_hooks *hooks)
{
    struct worker *worker = x_new(struct worker);
    worker->index = index;
    worker->parts = parts;
    worker->hooks = hooks;
    worker->timers = timers_new();
    sem_init(&worker->ready, 0, 0);
    return worker;
}

/* libh2o has lost track of the socket whose epoll_ctl failed: it would hang for ever. The parent starts anew.
 */
static void fail(int reason)
{
    log_fatal("the event loop failed", LOG_STR("error", strerror(reason)));
    abort();
}

void worker_settle(struct worker *worker)
{
    h2o_timeout__do_post_callback(worker->loop);
}

static void *run(void *arg)
{
    struct worker *worker = arg;
    /* Made here and not in worker_new: a socket's buffer belongs to the free list of the thread that made it
     * (h2o_socket_buffer_prototype), which several workers would then share without a lock. */
    worker->loop = h2o_evloop_create();
    worker->queue = h2o_multithread_create_queue(worker->loop);
    h2o_multithread_register_receiver(worker->queue, &worker->mailbox, on_letters);
    sem_post(&worker->ready);
    worker->hooks->start(worker);
    while (!worker->stopping || !worker->hooks->stopped(worker)) {
        worker->hooks->turn(worker);
        timers_run(worker->timers, 0);
        worker_settle(worker);
        worker->hooks->turn(worker); /* what timers gathered must not wait for the next event */
        uint64_t wait = timers_wait(worker->timers, worker->stopping ? 10 : LONGEST_WAIT);
        if (h2o_evloop_run(worker->loop, (int32_t)wait) != 0 && errno != EINTR)
            fail(errno);
    }
    worker->hooks->end(worker);
    return NULL;
}

void worker_start(struct worker *worker)
{
    if (pthread_create(&worker->thread, NULL, run, worker) != 0)
        abort();
    sem_wait(&worker->ready);
}

static void on_stop(struct letter *letter, struct worker *worker)
{
    if (!worker->stopping) {
        worker->stopping = true;
        worker->hooks->stop(worker);
    }
}

void worker_stop(struct worker *worker)
{
    worker->stop_letter.deliver = on_stop;
    worker_post(worker, &worker->stop_letter);
}

void worker_join(struct worker *worker)
{
    pthread_join(worker->thread, NULL);
    /* The loop and its queue stay: libh2o has no way to destroy a loop, and the queue's buffer would go to
     * the free list of a thread that has ended. */
    while (!h2o_linklist_is_empty(&worker->mailbox._messages)) /* too late to be read; libh2o insists */
        h2o_linklist_unlink(worker->mailbox._messages.next);
    h2o_multithread_unregister_receiver(worker->queue, &worker->mailbox);
    sem_destroy(&worker->ready);
    timers_free(worker->timers);
    free(worker);
}

void worker_post(struct worker *worker, struct letter *letter)
{
    letter->message = (h2o_multithread_message_t){0};
    h2o_multithread_send_message(&worker->mailbox, &letter->message);
}

struct deferred {
    struct timer timer; /* first: on_deferred casts */
    void (*call)(void *arg);
    void *arg;
};

static void on_deferred(struct timer *timer)
{
    struct deferred deferred = *(struct deferred *)timer;
    free(timer);
    deferred.call(deferred.arg);
}

void worker_defer(struct worker *worker, void (*call)(void *arg), void *arg)
{
    struct deferred *deferred = x_new(struct deferred);
    deferred->timer.fire = on_deferred;
    deferred->call = call;
    deferred->arg = arg;
    timer_set(worker->timers, &deferred->timer, 0);
}

h2o_socket_t *worker_watch(struct worker *worker, int fd)
{
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (copy < 0)
        abort(); /* descriptors are capped far above what connections may take */
    return h2o_evloop_socket_create(worker->loop, copy, H2O_SOCKET_FLAG_DONT_READ);
}
