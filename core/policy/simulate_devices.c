#include "base/mem.h"
#include "policy/simulate_private.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    BATCH = 500, /* devices decided at once, as the driver does */
    OFFLINE_AGAIN = 600,
    SAMPLE = 20,
    SPAN = 60 /* a revision is reverted when that many calls fail within seconds, */
};
static const double MOST_FAILED = 0.2; /* and more than this share */

static void push(struct heap *heap, int32_t at, uint32_t order, uint32_t device)
{
    if (at != WORLD_NEVER)
        heap_push(heap, (uint64_t)(uint32_t)at << 32 | order, device);
}

int32_t sim_first_time(const struct heap *heap)
{
    return heap->count == 0 ? WORLD_NEVER : (int32_t)(heap->entries[0].key >> 32);
}

/* --- Devices -------------------------------------------------------------------------------------------- */

bool sim_under_way(int state)
{
    return state >= ROLLOUT_PENDING && state <= ROLLOUT_INSTALLING;
}

void sim_count(struct sim *sim, uint32_t i, int n)
{
    const struct sim_device *device = &sim->devices[i];
    rollout_count(&sim->tally, (enum rollout_device_state)device->state, device->in_stage, device->asleep,
                  device->retry, n);
    if (sim_under_way(device->state)) {
        sim->offers_waiting += device->asleep ? n : 0;
        if (sim->groups != NULL) {
            struct sim_group *group = &sim->groups[world_group(sim->world, i)];
            group->busy += n;
            group->asleep += device->asleep ? n : 0;
        }
    }
    sim->changed = true;
}

/* The devices that wait for room in the group become due again, as many as there is room for. */
static void let_in(struct sim *sim, int group)
{
    struct sim_group *at = &sim->groups[group];
    for (int room = sim->plan.spread - at->busy; room > 0 && at->first >= 0; room--) {
        uint32_t i = (uint32_t)at->first;
        at->first = sim->devices[i].next;
        push(&sim->asks, sim->devices[i].ask_at, sim->devices[i].bucket, i);
    }
}

void sim_become(struct sim *sim, uint32_t i, enum rollout_device_state state, bool asleep, bool retry)
{
    struct sim_device *device = &sim->devices[i];
    bool was_busy = sim_under_way(device->state);
    sim_count(sim, i, -1);
    if (device->reason != 0)
        sim->reasons[device->reason].count--;
    device->reason = 0;
    device->state = (uint8_t)state;
    device->asleep = asleep;
    device->retry = retry;
    sim_count(sim, i, 1);
    if (sim->groups != NULL && was_busy && !sim_under_way((int)state))
        let_in(sim, world_group(sim->world, i));
}

void sim_ask_later(struct sim *sim, uint32_t i, int32_t at)
{
    sim->devices[i].ask_at = at;
    push(&sim->asks, at, sim->devices[i].bucket, i);
}

static void plan_event(struct sim *sim, uint32_t i, int32_t at, enum sim_event event)
{
    sim->devices[i].event = (uint8_t)event;
    push(&sim->events, at, i, i);
}

int32_t sim_later(int32_t at, double seconds)
{
    double sum = at + ceil(seconds);
    return sum >= WORLD_NEVER ? WORLD_NEVER : (int32_t)sum;
}

/* One that has succeeded is watched for a while: silent for long then, it counts as vanished. */
static void watch_silence(struct sim *sim, uint32_t i)
{
    int32_t at = world_sleeps(sim->world, i, sim->now);
    if (at >= sim->devices[i].watched) /* never, too */
        return;
    int32_t silent = sim_later(at, sim->plan.rollout.vanish_after);
    if (world_wakes(sim->world, i, at) > silent)
        plan_event(sim, i, silent > sim->now ? silent : sim->now + 1, SIM_FALLS_SILENT);
    else
        plan_event(sim, i, world_wakes(sim->world, i, at) + 1, SIM_COMES_BACK);
}

static void end_attempt(struct sim *sim, uint32_t i)
{
    struct sim_device *device = &sim->devices[i];
    struct world_attempt attempt = world_attempt(sim->world, i, device->attempts, sim->back);
    double retry = rollout_retry(&sim->plan.rollout, device->attempts);
    bool again = (attempt.ends == ROLLOUT_FAILED || attempt.ends == ROLLOUT_TIMED_OUT) && retry >= 0;
    if (sim->back && attempt.ends == ROLLOUT_SUCCEEDED)
        attempt.ends = ROLLOUT_ROLLED_BACK;
    sim_become(sim, i, attempt.ends, false, again);
    if (again)
        sim_ask_later(sim, i, sim_later(sim->now, retry));
    if (attempt.vanishes)
        world_vanish(sim->world, i, sim->now + 1 + (int32_t)(device->bucket % 60));
    if (attempt.ends == ROLLOUT_SUCCEEDED) {
        device->watched = sim_later(sim->now, rollout_watched(&sim->plan.rollout, sim->stage));
        watch_silence(sim, i);
    }
}

void sim_happen(struct sim *sim, uint32_t i)
{
    struct sim_device *device = &sim->devices[i];
    struct world_attempt attempt;
    switch ((enum sim_event)device->event) {
    case SIM_TAKES:
        sim_become(sim, i, ROLLOUT_DOWNLOADING, false, false);
        attempt = world_attempt(sim->world, i, device->attempts, sim->back);
        plan_event(sim, i,
                   attempt.ends == ROLLOUT_TIMED_OUT ? sim_later(sim->now, sim->plan.rollout.timeout)
                                                     : sim->now + attempt.takes,
                   SIM_ENDS);
        break;
    case SIM_GIVES_UP: /* the offer waited in vain; once the device is there it is asked again */
        sim_become(sim, i, ROLLOUT_TIMED_OUT, true, false);
        if (!sim->back)
            plan_event(sim, i, world_wakes(sim->world, i, sim->now), SIM_WAKES);
        break;
    case SIM_ENDS:
        end_attempt(sim, i);
        break;
    case SIM_WAKES:
        sim_become(sim, i, ROLLOUT_WAITING, false, false);
        sim_ask_later(sim, i, sim->now);
        break;
    case SIM_FALLS_SILENT:
        sim_become(sim, i, ROLLOUT_VANISHED, false, false);
        plan_event(sim, i, world_wakes(sim->world, i, sim->now), SIM_COMES_BACK);
        break;
    case SIM_COMES_BACK:
        if (device->state == ROLLOUT_VANISHED)
            sim_become(sim, i, ROLLOUT_SUCCEEDED, false, false);
        watch_silence(sim, i);
        break;
    }
}

/* --- Offers --------------------------------------------------------------------------------------------- */

static void offer_to(struct sim *sim, uint32_t i)
{
    int32_t wakes = world_wakes(sim->world, i, sim->now), tired = sim_later(sim->now, sim->plan.rollout.wait);
    sim->devices[i].attempts++;
    sim_become(sim, i, ROLLOUT_OFFERED, wakes > sim->now, false);
    if (wakes <= tired)
        plan_event(sim, i, wakes > sim->now ? wakes : sim->now + 1, SIM_TAKES);
    else
        plan_event(sim, i, tired, SIM_GIVES_UP);
}

static uint32_t hash_text(uint32_t hash, const char *text)
{
    for (; *text != '\0'; text++)
        hash = (hash ^ (unsigned char)*text) * 16777619u;
    return hash;
}

/* How often this has been said in a row before. */
static int repeat(struct sim_device *device, const char *verdict, const char *reason)
{
    uint32_t said = hash_text(hash_text(2166136261u, verdict) * 16777619u, reason) | 1;
    int before = device->said == said ? device->asked : 0;
    device->said = said;
    device->asked = (uint16_t)(before < UINT16_MAX ? before + 1 : before);
    return before;
}

/* Reason 0 is none; the last one holds what is one too many. */
static uint8_t reason_number(struct sim *sim, enum policy_answer answer, const char *text, int line)
{
    int i = 1;
    while (i < sim->reason_count && (sim->reasons[i].answer != answer || sim->reasons[i].line != line ||
                                     strcmp(sim->reasons[i].text, text) != 0))
        i++;
    if (i == SIM_REASONS)
        return SIM_REASONS - 1;
    if (i >= sim->reason_count) {
        bool last = i == SIM_REASONS - 1;
        sim->reasons[i] = (struct sim_reason){answer, x_strdup(last ? "other reasons" : text), line, 0};
        sim->reason_count = i + 1;
    }
    return (uint8_t)i;
}

/* One that ended badly stays what it is until it is tried again, and for good where it is not to be. */
static void hold(struct sim *sim, uint32_t i, enum policy_answer answer, const char *reason, int line,
                 bool asleep)
{
    struct sim_device *device = &sim->devices[i];
    if (device->retry)
        sim_become(sim, i, (enum rollout_device_state)device->state, answer == POLICY_HOLD,
                   answer == POLICY_HOLD);
    else if (answer == POLICY_SKIP)
        sim_become(sim, i, ROLLOUT_SKIPPED, false, false);
    else
        sim_become(sim, i, ROLLOUT_HELD, asleep, false);
    device->reason = reason_number(sim, answer, reason, line);
    sim->reasons[device->reason].count++;
}

void sim_end(struct sim *sim, const char *outcome, const char *reason, int line, const char *file)
{
    sim->outcome = outcome;
    sim->reason = x_strdup(reason);
    sim->file = x_strdup(file);
    sim->line = line;
}

/* As the server does: a revision whose calls fail is not kept. */
void sim_note_call(struct sim *sim, const struct policy_verdict *verdict)
{
    if (sim->outcome != NULL)
        return;
    if (sim->now - sim->window_at > SPAN) {
        sim->window_at = sim->now;
        sim->window_calls = sim->window_failed = 0;
    }
    sim->window_calls++;
    sim->window_failed += verdict->failed;
    if (sim->window_failed < SAMPLE || sim->window_failed <= MOST_FAILED * sim->window_calls)
        return;
    char *reason =
        x_printf("%d of %d calls failed: %s", sim->window_failed, sim->window_calls, verdict->reason);
    sim_end(sim, "reverted", reason, verdict->line, verdict->file);
    free(reason);
}

/* Whether an offer may wait for it, which is offline: such take at most half of what may be under way. */
static bool may_wait(struct sim *sim, uint32_t i, int *sleepers)
{
    struct sim_group *group = sim->groups == NULL ? NULL : &sim->groups[world_group(sim->world, i)];
    return (*sleepers)-- > 0 && (group == NULL || group->asleep < sim->plan.spread / 2);
}

/* Whether it was offered the firmware. */
static bool ask(struct sim *sim, const struct policy_moment *moment, uint32_t i, int *sleepers)
{
    struct sim_device *device = &sim->devices[i];
    struct policy_verdict verdict;
    int32_t wakes = world_wakes(sim->world, i, sim->now);
    if (wakes > sim->now && !may_wait(sim, i, sleepers)) {
        int32_t again = sim->now + OFFLINE_AGAIN;
        static const char reason[] =
            "the device is offline, and as many offers as may be wait for such already";
        repeat(device, "hold", reason);
        hold(sim, i, POLICY_HOLD, reason, 0, true);
        if (wakes < again && !device->retry)
            plan_event(sim, i, wakes, SIM_WAKES);
        else
            sim_ask_later(sim, i, again);
        return false;
    }
    if (sim->back) {
        offer_to(sim, i);
        return true;
    }
    sim->text.len = 0;
    world_put_device(sim->world, i, sim->now, device->attempts, &sim->text);
    policy_admit(sim->policy, moment, (struct policy_text){buffer_text(&sim->text), sim->text.len}, &verdict);
    sim->admits++;
    sim_note_call(sim, &verdict);
    int before = repeat(device, policy_answer_name(verdict.answer), verdict.reason);
    if (verdict.answer == POLICY_OFFER) {
        offer_to(sim, i);
        return true;
    }
    hold(sim, i, verdict.answer, verdict.reason, verdict.line, false);
    if (verdict.answer == POLICY_HOLD)
        sim_ask_later(sim, i,
                      sim_later(sim->now, verdict.again > 0 ? verdict.again : rollout_ask_again(before)));
    return false;
}

/* The devices to be asked now, up to `most`, in the order in which they became due. */
static size_t take_due(struct sim *sim, size_t most, uint32_t *due)
{
    size_t n = 0;
    while (n < most && sim_first_time(&sim->asks) <= sim->now) {
        uint32_t i = heap_pop(&sim->asks);
        if (sim->groups != NULL) {
            struct sim_group *group = &sim->groups[world_group(sim->world, i)];
            if (group->busy + group->asked >= sim->plan.spread) {
                if (group->first < 0)
                    group->first = (int32_t)i;
                else
                    sim->devices[group->last].next = (int32_t)i;
                group->last = (int32_t)i;
                sim->devices[i].next = -1;
                continue;
            }
            group->asked++;
        }
        due[n++] = i;
    }
    return n;
}

static void end_batch(struct sim *sim, const uint32_t *due, size_t n)
{
    for (size_t k = 0; sim->groups != NULL && k < n; k++)
        sim->groups[world_group(sim->world, due[k])].asked = 0;
    for (size_t k = 0; sim->groups != NULL && k < n; k++)
        let_in(sim, world_group(sim->world, due[k]));
}

void sim_offer(struct sim *sim)
{
    const struct rollout_plan *plan = &sim->plan.rollout;
    struct policy_moment moment = {.now = sim->start + sim->now};
    double elapsed = sim->now - sim->credited, credit = sim->credit;
    uint32_t due[BATCH];
    if (sim_first_time(&sim->asks) > sim->now)
        return;
    moment.rollout = sim_rollout(sim);
    for (size_t n = BATCH; n == BATCH && sim->outcome == NULL;) {
        int room = rollout_budget(plan, sim->stage, elapsed, rollout_under_way(&sim->tally), &credit);
        int sleepers = plan->concurrency > 0 ? plan->concurrency / 2 - sim->offers_waiting : BATCH;
        elapsed = 0;
        n = take_due(sim, (size_t)(room < BATCH ? room : BATCH), due);
        if (n == 0)
            return;
        for (size_t k = 0; k < n; k++) {
            if (ask(sim, &moment, due[k], &sleepers) && plan->per_minute > 0)
                credit--;
        }
        end_batch(sim, due, n);
        sim->credit = credit;
        sim->credited = sim->now;
    }
}
