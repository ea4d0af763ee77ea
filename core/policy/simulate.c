#include "base/mem.h"
#include "policy/simulate_private.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    WATCH = 30, /* seconds between comparisons of updated devices with the others */
    SHORTEST_PAUSE = 5,
    LONGEST_PAUSE = 30, /* between calls of advance while nothing happens */
    MOST_CALLS = 2500000,
    MOST_LINES = 1000 /* of the timeline */
};

/* --- Stages --------------------------------------------------------------------------------------------- */

static void keep_stats(struct sim *sim, struct rollout_stats *stats)
{
    double age = sim->back ? HUGE_VAL : sim->now - sim->stage_entered; /* going back, no stage soaks */
    rollout_stats(&sim->plan.rollout, sim->stage, age, &sim->tally, &sim->known, stats);
    if (sim->stage >= 0 && !sim->back) {
        sim->stages[sim->stage].left = *stats;
        sim->stages[sim->stage].until = sim->now;
    }
}

static void note_line(struct sim *sim, const struct rollout_stats *stats, enum policy_answer answer,
                      const char *reason, int line, const char *file)
{
    if (sim->timeline_count == MOST_LINES) { /* the last one tells how it ended */
        free(sim->timeline[--sim->timeline_count].reason);
        free(sim->timeline[sim->timeline_count].file);
    }
    sim->timeline = x_realloc(sim->timeline, (sim->timeline_count + 1) * sizeof(*sim->timeline));
    sim->timeline[sim->timeline_count++] =
        (struct sim_line){sim->now, sim->stage, *stats, answer, x_strdup(reason), x_strdup(file), line};
}

static void enter_stage(struct sim *sim)
{
    double share = sim->plan.rollout.stages[++sim->stage].share;
    size_t reached = share >= 1 ? sim->members : (size_t)ceil(share * (double)sim->members);
    reached = reached == 0 && sim->members > 0 ? 1 : reached;
    /* Those of the same bucket come along. */
    while (reached > 0 && reached < sim->members &&
           sim->devices[sim->order[reached]].bucket == sim->devices[sim->order[reached - 1]].bucket)
        reached++;
    sim->stage_entered = sim->now;
    sim->resumed = false;
    sim->watched = -WATCH * LONGEST_PAUSE;
    for (; sim->entered < reached; sim->entered++) {
        uint32_t i = sim->order[sim->entered];
        sim_count(sim, i, -1);
        sim->devices[i].in_stage = true;
        sim_count(sim, i, 1);
        if (sim->devices[i].state == ROLLOUT_WAITING)
            sim_ask_later(sim, i, sim->now);
    }
    if (!sim->back)
        sim->stages[sim->stage].entered = sim->stages[sim->stage].until = sim->now;
}

/* How updated devices do against those that wait and were heard of shortly before the stage began. */
static void compare(struct sim *sim)
{
    int every = (int)(sim->members / 1000);
    if (sim->now - sim->watched < (every > WATCH ? every : WATCH))
        return;
    sim->watched = sim->now;
    sim->control.devices = sim->control.vanished = 0;
    sim->updated.vanished = sim->tally.all[ROLLOUT_VANISHED];
    sim->updated.devices = sim->tally.all[ROLLOUT_SUCCEEDED] + sim->updated.vanished;
    for (size_t k = 0; k < sim->members; k++) {
        uint32_t i = sim->order[k];
        if (sim->devices[i].state != ROLLOUT_WAITING && sim->devices[i].state != ROLLOUT_HELD)
            continue;
        int32_t silent = world_silent(sim->world, i, sim->now);
        if (sim->now - silent > sim->stage_entered - 3600) {
            sim->control.devices++;
            sim->control.vanished += silent > sim->plan.rollout.vanish_after;
        }
    }
}

/* The rollout goes back: what is under way ends, and those that run the new image wait for their turn. */
static void turn_back(struct sim *sim)
{
    sim->back = true;
    sim->asks.count = sim->events.count = sim->entered = 0;
    for (int g = 0; sim->groups != NULL && g < world_groups(sim->world); g++)
        sim->groups[g].first = -1;
    for (size_t k = 0; k < sim->members; k++) {
        uint32_t i = sim->order[k];
        struct sim_device *device = &sim->devices[i];
        enum rollout_device_state state = (enum rollout_device_state)device->state;
        if (state == ROLLOUT_SUCCEEDED || state == ROLLOUT_VANISHED)
            state = ROLLOUT_WAITING;
        else if (state <= ROLLOUT_INSTALLING)
            state = ROLLOUT_CANCELLED;
        sim_become(sim, i, state, false, false);
        sim_count(sim, i, -1);
        device->in_stage = false;
        sim_count(sim, i, 1);
        device->attempts = device->asked = 0;
        device->said = 0;
    }
    sim->stage = -1;
    sim->credit = 0;
    sim->credited = sim->now;
}

static void move_on(struct sim *sim, const struct policy_verdict *verdict)
{
    switch (verdict->answer) {
    case POLICY_ADVANCE:
        if (sim->stage + 1 < sim->plan.rollout.stage_count)
            enter_stage(sim);
        else
            sim_end(sim, "completed", verdict->reason, verdict->line, verdict->file);
        break;
    case POLICY_PAUSE:
        sim->resumed = sim->resumes-- > 0;
        if (sim->resumed) {
            sim->known = (struct rollout_known){-1, -1};
            break;
        }
        sim_end(sim, "paused", verdict->reason, verdict->line, verdict->file);
        break;
    case POLICY_ABORT:
        for (size_t k = 0; k < sim->members; k++) {
            if (sim_under_way(sim->devices[sim->order[k]].state))
                sim_become(sim, sim->order[k], ROLLOUT_CANCELLED, false, false);
        }
        sim_end(sim, "aborted", verdict->reason, verdict->line, verdict->file);
        break;
    case POLICY_ROLLBACK:
        sim->reason = x_strdup(verdict->reason);
        sim->file = x_strdup(verdict->file);
        sim->line = verdict->line;
        turn_back(sim);
        break;
    default:
        break;
    }
}

static void advance(struct sim *sim)
{
    struct policy_moment moment = {.now = sim->start + sim->now};
    struct rollout_stats stats;
    struct policy_verdict verdict;
    compare(sim);
    keep_stats(sim, &stats);
    moment.rollout = sim_rollout(sim);
    policy_advance(sim->policy, &moment, sim_stats(sim, &stats), &verdict);
    sim->advances++;
    if (verdict.answer == POLICY_DEFAULT) {
        const char *name =
            rollout_default_advance(&sim->plan.rollout, &stats, sim->stage, sim->now - sim->stage_entered,
                                    verdict.reason, sizeof(verdict.reason));
        verdict.answer = *name == 'h' ? POLICY_HOLD : *name == 'p' ? POLICY_PAUSE : POLICY_ADVANCE;
    } else {
        sim_note_call(sim, &verdict);
    }
    if (!sim->decided || verdict.answer != POLICY_HOLD || verdict.line != sim->last_line ||
        sim->last_answer != POLICY_HOLD)
        note_line(sim, &stats, verdict.answer, verdict.reason, verdict.line, verdict.file);
    sim->decided = true;
    sim->last_answer = verdict.answer;
    sim->last_line = verdict.line;
    if (sim->outcome == NULL)
        move_on(sim, &verdict);
}

static void advance_back(struct sim *sim)
{
    struct rollout_stats stats;
    keep_stats(sim, &stats);
    if (!stats.stage_done)
        return;
    note_line(sim, &stats, POLICY_ADVANCE, "all devices of the stage are back", 0, "");
    if (sim->stage + 1 < sim->plan.rollout.stage_count)
        enter_stage(sim);
    else
        sim->outcome = "rolled_back"; /* for the reason that it turned back */
}

/* --- Time ----------------------------------------------------------------------------------------------- */

/* When something may happen next. */
static int32_t next_time(struct sim *sim)
{
    const struct rollout_plan *plan = &sim->plan.rollout;
    int32_t next = sim_first_time(&sim->events), asks = sim_first_time(&sim->asks);
    int32_t soaked = sim_later(sim->stage_entered, sim->stage < 0 ? 0 : plan->stages[sim->stage].soak);
    if (asks <= sim->now) { /* rate or concurrency keep them waiting */
        double credit = sim->credit;
        int room = rollout_budget(plan, sim->stage, sim->now - sim->credited, rollout_under_way(&sim->tally),
                                  &credit);
        double rate = plan->per_minute / 60 * pow(plan->growth, sim->stage > 0 ? sim->stage : 0);
        bool full = plan->concurrency > 0 && rollout_under_way(&sim->tally) >= plan->concurrency;
        asks = full ? WORLD_NEVER
                    : sim_later(sim->now, room > 0 || rate <= 0 ? 1 : fmax((1 - credit) / rate, 1));
    }
    next = asks < next ? asks : next;
    next = sim->advance_at < next ? sim->advance_at : next;
    if (soaked > sim->now && soaked < next)
        next = soaked;
    return next > sim->now ? next : sim->now + 1;
}

static void tick(struct sim *sim)
{
    sim->changed = false;
    while (sim_first_time(&sim->events) <= sim->now)
        sim_happen(sim, heap_pop(&sim->events));
    if (sim->stage < 0) {
        enter_stage(sim);
        if (!sim->back) {
            struct rollout_stats stats;
            keep_stats(sim, &stats);
            note_line(sim, &stats, POLICY_ADVANCE, "begins", 0, "");
        }
    } else {
        sim_offer(sim);
        if (sim->outcome == NULL && sim->back)
            advance_back(sim);
        else if (sim->outcome == NULL)
            advance(sim);
    }
    sim->pause_between = sim->changed ? SHORTEST_PAUSE : sim->pause_between * 2;
    if (sim->pause_between > LONGEST_PAUSE)
        sim->pause_between = LONGEST_PAUSE;
    sim->advance_at = sim_later(sim->now, sim->pause_between);
}

/* What the stage still waits for. */
static char *why_running(struct sim *sim)
{
    const int *stage = sim->tally.stage;
    int counts[] = {stage[ROLLOUT_HELD], stage[ROLLOUT_WAITING], 0, sim->tally.retries};
    static const char *const words[] = {"held", "not asked yet", "under way", "to be tried again"};
    struct buffer text = {0};
    const char *comma = ": the stage waits for devices that are ";
    if (sim->admits >= MOST_CALLS)
        return x_strdup("given up after asking for 2,500,000 devices");
    for (int i = ROLLOUT_PENDING; i <= ROLLOUT_INSTALLING; i++)
        counts[2] += stage[i];
    buffer_puts(&text, "the time was over");
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        if (counts[i] > 0) {
            buffer_printf(&text, "%s%s (%d)", comma, words[i], counts[i]);
            comma = ", ";
        }
    }
    char *why = x_strdup(buffer_text(&text));
    buffer_free(&text);
    return why;
}

static void run(struct sim *sim)
{
    struct rollout_stats stats;
    sim->advance_at = 0;
    for (;;) {
        tick(sim);
        if (sim->outcome != NULL)
            break;
        int32_t next = next_time(sim);
        if (next > sim->until || sim->admits >= MOST_CALLS) {
            char *reason = why_running(sim);
            sim->now = sim->admits >= MOST_CALLS ? sim->now : sim->until;
            free(sim->reason);
            free(sim->file);
            sim_end(sim, "running", reason, 0, "");
            free(reason);
            break;
        }
        sim->now = next;
    }
    if (!sim->back)
        keep_stats(sim, &stats);
}

bool simulate_run(struct policies *policies, const struct policy_source *source, struct policy_text request,
                  const struct policy_text *devices, size_t device_count, struct buffer *json)
{
    struct sim *sim = x_new(struct sim);
    bool ok = sim_open(sim, policies, source, request, devices, device_count, json);
    if (ok) {
        run(sim);
        sim_put_answer(sim, json);
    }
    sim_close(sim);
    free(sim);
    return ok;
}
