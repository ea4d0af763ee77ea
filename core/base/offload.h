/* A pool of threads for work that would stall an event loop: Argon2id, hashing and writing of files.
 * Bounded: what does not fit is refused at once. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

struct offload;

/* Embedded in the caller's own structure, which must live until `done` has been called. */
struct offload_job {
    void (*run)(struct offload_job *job); /* on a pool thread; may block */
    void (*done)(
        struct offload_job *job); /* on the same pool thread, right after: post the result to its loop */
    struct offload_job *next;     /* the pool's */
};

struct offload *offload_new(size_t threads, size_t queue);
/* False: the queue is full (answer 503). Any thread. */
bool offload_submit(struct offload *pool, struct offload_job *job) __attribute__((warn_unused_result));
size_t offload_depth(struct offload *pool); /* jobs that no thread has begun */
void offload_stop(struct offload *pool);    /* finishes what was taken, refuses from then on */
void offload_free(struct offload *pool);    /* stops it, if it still runs */
