/* What the parts of policy/host share: host.c starts, asks and ends the process, host_work.c has it do long
 * work. All of it under the host's lock. */
#pragma once
#include "policy/frame.h"
#include "policy/host.h"
#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>
#include <sys/types.h>
#include <time.h>

enum {
    MOST_BUSY = 200 /* ms of processor time without an answer; the process itself ends far earlier */
};

struct slot {
    bool used;
    unsigned char key[crypto_hash_sha256_BYTES]; /* of name, text and libraries */
};

struct host {
    pthread_mutex_t lock;
    pid_t pid; /* 0: none runs */
    int fd;
    clockid_t clock; /* its processor time */
    struct buffer in;
    size_t taken; /* of `in`: the frame handed out last */
    int most_busy;
    atomic_bool closed;
    const atomic_bool *unwanted; /* NULL: somebody waits for the work, whatever happens */
    struct slot slots[HOST_SLOTS];
    size_t next_slot;
    uint64_t test; /* that began last */
    struct host_counts counts;
};

/* How waiting for a frame ended. */
enum end { ANSWERED, OVERRAN, CRASHED, LATE, UNWANTED };

bool host_start(struct host *host); /* unless it runs */
bool host_send(struct host *host, const struct buffer *frames);
/* The next frame that answers the request; it stays until the next call. `until`: ms of CLOCK_MONOTONIC. */
enum end host_next(struct host *host, enum frame_kind wanted, int64_t until, struct frame_reader *fields);
void host_count_end(struct host *host, enum end end); /* of the process, which is gone then */

static inline bool host_is_unwanted(const struct host *host)
{
    return host->unwanted != NULL && atomic_load(host->unwanted);
}

static inline int64_t host_clock(clockid_t clock)
{
    struct timespec now = {0};
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}
