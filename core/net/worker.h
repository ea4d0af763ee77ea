/* A worker: one thread with one h2o event loop, its timers and its mailbox. Everything a connection touches
 * belongs to one worker; workers share nothing mutable and talk by posting letters.
 *
 * Parts of higher layers (PostgreSQL, Redis, scripts, ingest) are made on the worker's thread by the hooks
 * that main.c gives, and found by those who need them through `struct app`, not here. */
#pragma once
#include "net/timer.h"
#include <h2o.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>

struct worker;

/* Embedded in what is sent; `deliver` runs on the receiving worker's thread and then owns the letter. */
struct letter {
    h2o_multithread_message_t message; /* first: the mailbox casts */
    void (*deliver)(struct letter *letter, struct worker *worker);
};

struct worker {
    unsigned index;
    h2o_loop_t *loop;
    struct timers *timers;
    void *parts; /* main.c's, for its hooks */
    /* private */
    pthread_t thread;
    sem_t ready; /* loop and mailbox are made */
    h2o_multithread_queue_t *queue;
    h2o_multithread_receiver_t mailbox;
    struct letter stop_letter;
    bool stopping;
    const struct worker_hooks *hooks;
};

struct worker_hooks {
    void (*start)(struct worker *worker); /* on its thread, before the loop runs */
    void (*turn)(struct worker *worker);  /* after every turn of the loop: flush what was gathered */
    /* Asked to stop: called once with the loop still running; the worker ends when `stopped` says so. */
    void (*stop)(struct worker *worker);
    bool (*stopped)(struct worker *worker);
    void (*end)(struct worker *worker); /* loop no longer running: free the parts */
};

struct worker *worker_new(unsigned index, void *parts, const struct worker_hooks *hooks);
void worker_start(struct worker *worker); /* returns when letters may be posted */
void worker_stop(struct worker *worker);  /* any thread; returns at once */
void worker_join(
    struct worker *worker); /* waits for the thread, then frees the worker; nobody posts any more */

/* Any thread. Letters from one sender arrive in order. Never blocks: bounding is the sender's duty. */
void worker_post(struct worker *worker, struct letter *letter);

/* Runs `call` with `arg` on this worker's next loop turn: for completions that must not run inline. */
void worker_defer(struct worker *worker, void (*call)(void *arg), void *arg);

/* Calls back for writes that were done at once. Whoever runs a loop himself does this between whatever may
 * write and h2o_evloop_run(): libh2o assumes that all writes begin within the loop. One that was done at once
 * and filled the socket's buffer would be polled for, called back for, and polled for still, and abort the
 * process when the buffer drains. */
void worker_settle(struct worker *worker);

/* Wraps a foreign library's descriptor for reading and writing on the loop. The descriptor is dup()ed, so
 * the library may close its own; h2o_socket_close() ends the watch. */
h2o_socket_t *worker_watch(struct worker *worker, int fd);
