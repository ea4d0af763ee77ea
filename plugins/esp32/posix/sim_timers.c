/* The heap: heap[i] is never due after heap[2i + 1] and heap[2i + 2]; each timer knows its place. */
#include "sim_timers.h"
#include <stdlib.h>

void sim_timers_free(struct sim_timers *timers)
{
    free(timers->heap);
    *timers = (struct sim_timers){0};
}

static void put(struct sim_timers *timers, size_t i, struct sim_timer *timer)
{
    timers->heap[i] = timer;
    timer->place = i + 1;
}

/* Moves the timer from i to where it belongs. */
static void settle(struct sim_timers *timers, size_t i, struct sim_timer *timer)
{
    while (i > 0 && timer->at < timers->heap[(i - 1) / 2]->at) {
        put(timers, i, timers->heap[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    for (size_t child; (child = 2 * i + 1) < timers->count; i = child) {
        child += child + 1 < timers->count && timers->heap[child + 1]->at < timers->heap[child]->at;
        if (timer->at <= timers->heap[child]->at) {
            break;
        }
        put(timers, i, timers->heap[child]);
    }
    put(timers, i, timer);
}

static void clear(struct sim_timers *timers, struct sim_timer *timer)
{
    size_t i = timer->place - 1;
    struct sim_timer *last = timers->heap[--timers->count];
    timer->place = 0;
    if (last != timer) {
        settle(timers, i, last);
    }
}

void sim_timers_set(struct sim_timers *timers, struct sim_timer *timer, uint64_t at)
{
    if (at == UINT64_MAX) {
        if (timer->place) {
            clear(timers, timer);
        }
        return;
    }
    timer->at = at;
    if (timer->place) {
        settle(timers, timer->place - 1, timer);
        return;
    }
    if (timers->count == timers->room) {
        timers->room = timers->room ? 2 * timers->room : 64;
        struct sim_timer **grown = realloc(timers->heap, timers->room * sizeof *grown);
        if (!grown) {
            abort();
        }
        timers->heap = grown;
    }
    settle(timers, timers->count++, timer);
}

void sim_timers_run(struct sim_timers *timers, uint64_t now)
{
    while (timers->count > 0 && timers->heap[0]->at <= now) {
        struct sim_timer *timer = timers->heap[0];
        clear(timers, timer);
        timer->on_due(timer->arg);
    }
}

uint64_t sim_timers_wait(const struct sim_timers *timers, uint64_t now, uint64_t most)
{
    if (timers->count == 0 || timers->heap[0]->at >= now + most) {
        return most;
    }
    return timers->heap[0]->at <= now ? 0 : timers->heap[0]->at - now;
}
