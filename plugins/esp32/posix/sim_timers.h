/* Timers of a loop: a binary heap of structs that their users own. Any number of them may be due at once;
 * setting, moving and clearing cost the logarithm of how many are set. Owner: the loop's thread. */
#pragma once
#include <stddef.h>
#include <stdint.h>

struct sim_timer {
    void (*on_due)(void *arg); /* the timer is not set any more when it is called */
    void *arg;
    uint64_t at;  /* while it is set */
    size_t place; /* in the heap, from 1 on; 0: not set */
};

struct sim_timers {
    struct sim_timer **heap;
    size_t count, room;
};

void sim_timers_free(struct sim_timers *timers);
/* Sets or moves it. UINT64_MAX clears it. */
void sim_timers_set(struct sim_timers *timers, struct sim_timer *timer, uint64_t at);
/* Calls those due at `now`, the earliest first, also what the calls themselves set. */
void sim_timers_run(struct sim_timers *timers, uint64_t now);
/* Until the next one, at most `most`. */
uint64_t sim_timers_wait(const struct sim_timers *timers, uint64_t now, uint64_t most);
