/* Timers of one event loop: any number of one-shot deadlines in a binary heap. Loop thread only.
 * libh2o 2.2.5 has only lists of one fixed duration each; ours take any. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct timers;

/* Embedded by its owner; zero-initialized is "not set". */
struct timer {
    void (*fire)(struct timer *timer); /* not set any more when called: may set itself again */
    uint64_t at;                       /* ms, monotonic */
    size_t slot;                       /* 1 + place in the heap; 0: not set */
};

uint64_t clock_ms(void); /* monotonic */
double clock_unix(void); /* Unix seconds, by the wall clock, which may be set */

struct timers *timers_new(void);
void timers_free(struct timers *timers);
void timer_set(struct timers *timers, struct timer *timer, uint64_t after_ms); /* again: moves it */
void timer_cancel(struct timers *timers, struct timer *timer);                 /* not set: nothing */
/* Fires what is due; returns ms until the next (at most `most`). */
uint64_t timers_run(struct timers *timers, uint64_t most);
uint64_t timers_wait(const struct timers *timers, uint64_t most); /* the same, and fires nothing */
