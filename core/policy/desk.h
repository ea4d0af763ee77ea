/* Answers what the process of policies is asked: a frame in, frames out. No I/O and no limits of its own:
 * those are host_main's. One thread. */
#pragma once
#include "policy/frame.h"
#include "policy/host.h"

struct desk { /* starts as zero, but for zones and checker */
    struct policies policies;
    struct checker *checker;
    struct policy *slots[HOST_SLOTS];
    struct buffer out;
    void (*on_answer)(void *arg); /* a verdict was added to `out`, which may be sent and emptied; or NULL */
    void (*on_news)(void *arg);   /* `out` is to be sent before anything else runs; or NULL */
    void *arg;
};

/* False: the frame is none that a server sends. */
bool desk_serve(struct desk *desk, enum frame_kind kind, struct frame_reader *fields)
    __attribute__((warn_unused_result));
/* Forgets policies and answers. */
void desk_clear(struct desk *desk);
