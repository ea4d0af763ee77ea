#include "net/timer.h"
#include "base/mem.h"
#include <stdlib.h>
#include <time.h>

struct timers {
    struct timer **heap; /* heap[0] is the earliest */
    size_t count, room;
};

uint64_t clock_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

double clock_unix(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

struct timers *timers_new(void)
{
    return x_new(struct timers);
}

void timers_free(struct timers *timers)
{
    for (size_t i = 0; i < timers->count; i++)
        timers->heap[i]->slot = 0;
    free(timers->heap);
    free(timers);
}

static void place(struct timers *timers, size_t i, struct timer *timer)
{
    timers->heap[i] = timer;
    timer->slot = i + 1;
}

/* Moves the timer at `i` to where it belongs. */
static void sift(struct timers *timers, size_t i)
{
    struct timer *timer = timers->heap[i];
    for (; i > 0 && timers->heap[(i - 1) / 2]->at > timer->at; i = (i - 1) / 2)
        place(timers, i, timers->heap[(i - 1) / 2]);
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= timers->count)
            break;
        if (child + 1 < timers->count && timers->heap[child + 1]->at < timers->heap[child]->at)
            child++;
        if (timers->heap[child]->at >= timer->at)
            break;
        place(timers, i, timers->heap[child]);
        i = child;
    }
    place(timers, i, timer);
}

void timer_set(struct timers *timers, struct timer *timer, uint64_t after_ms)
{
    timer->at = clock_ms() + after_ms;
    if (timer->slot == 0) {
        if (timers->count == timers->room) {
            timers->room = timers->room == 0 ? 64 : timers->room * 2;
            timers->heap = x_realloc(timers->heap, timers->room * sizeof(*timers->heap));
        }
        place(timers, timers->count++, timer);
    }
    sift(timers, timer->slot - 1);
}

void timer_cancel(struct timers *timers, struct timer *timer)
{
    if (timer->slot == 0)
        return;
    size_t i = timer->slot - 1;
    struct timer *last = timers->heap[--timers->count];
    timer->slot = 0;
    if (last != timer) {
        place(timers, i, last);
        sift(timers, i);
    }
}

uint64_t timers_wait(const struct timers *timers, uint64_t most)
{
    if (timers->count == 0)
        return most;
    uint64_t at = timers->heap[0]->at, now = clock_ms();
    uint64_t left = at > now ? at - now : 0;
    return left < most ? left : most;
}

uint64_t timers_run(struct timers *timers, uint64_t most)
{
    uint64_t now = timers->count == 0 ? 0 : clock_ms();
    while (timers->count > 0 && timers->heap[0]->at <= now) {
        struct timer *due = timers->heap[0];
        timer_cancel(timers, due);
        due->fire(due);
    }
    return timers_wait(timers, most);
}
