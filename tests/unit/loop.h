/* A worker whose loop a test runs itself, on its own thread. One a program: libh2o cannot destroy a loop. */
#pragma once
#include "net/worker.h"
#include <signal.h>
#include <stdlib.h>

static inline void loop_on_letters(h2o_multithread_receiver_t *receiver, h2o_linklist_t *letters)
{
    struct worker *worker = H2O_STRUCT_FROM_MEMBER(struct worker, mailbox, receiver);
    while (!h2o_linklist_is_empty(letters)) {
        struct letter *letter = H2O_STRUCT_FROM_MEMBER(struct letter, message.link, letters->next);
        h2o_linklist_unlink(&letter->message.link);
        letter->deliver(letter, worker);
    }
}

static inline struct worker *loop_worker(void)
{
    static struct worker worker;
    if (worker.loop == NULL) {
        signal(SIGPIPE, SIG_IGN);
        worker.loop = h2o_evloop_create();
        worker.queue = h2o_multithread_create_queue(worker.loop);
        h2o_multithread_register_receiver(worker.queue, &worker.mailbox, loop_on_letters);
    }
    if (worker.timers == NULL)
        worker.timers = timers_new();
    return &worker;
}

/* What a worker does in one turn, waiting `most` ms. */
static inline void loop_turn(struct worker *worker, void (*turn)(void *arg), void *arg, uint64_t most)
{
    if (turn != NULL)
        turn(arg);
    timers_run(worker->timers, 0);
    worker_settle(worker);
    if (turn != NULL)
        turn(arg);
    h2o_evloop_run(worker->loop, (int32_t)timers_wait(worker->timers, most));
}

/* Runs until `*flag` is at least `least`; false: not within `most` ms of an idle machine; a busy one gets
 * more. */
static inline bool loop_until(struct worker *worker, void (*turn)(void *arg), void *arg, const unsigned *flag,
                              unsigned least, uint64_t most)
{
    uint64_t end = clock_ms() + 5 * most;
    while (*flag < least && clock_ms() < end)
        loop_turn(worker, turn, arg, 20);
    return *flag >= least;
}

static inline void loop_for(struct worker *worker, void (*turn)(void *arg), void *arg, uint64_t ms)
{
    for (uint64_t end = clock_ms() + ms; clock_ms() < end;)
        loop_turn(worker, turn, arg, 20);
}

/* At the end of a test: what was put off, and the timers. */
static inline void loop_finish(struct worker *worker)
{
    loop_turn(worker, NULL, NULL, 0);
    loop_turn(worker, NULL, NULL, 0);
    timers_free(worker->timers);
    worker->timers = NULL;
}
