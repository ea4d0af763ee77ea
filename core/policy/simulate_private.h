/* A simulation under way: simulate.c runs it, simulate_devices.c does what happens to devices,
 * simulate_json.c reads requests and writes answers. */
#pragma once
#include "policy/heap.h"
#include "policy/plan.h"
#include "policy/simulate.h"
#include "policy/world.h"
#include <jansson.h>

/* What happens to a device next, besides being asked. */
enum sim_event { SIM_TAKES = 1, SIM_GIVES_UP, SIM_ENDS, SIM_WAKES, SIM_FALLS_SILENT, SIM_COMES_BACK };

struct sim_device {
    uint32_t bucket, said; /* said: hash of the last verdict and reason, 0: none */
    int32_t next;          /* of those that wait for room in their group; -1 */
    int32_t ask_at;
    uint16_t attempts, asked; /* asked: how often in a row that was said */
    uint8_t state, event, reason;
    bool in_stage, asleep, retry;
    int32_t watched; /* until when silence makes it vanished: set when its update ends well */
};

struct sim_group {
    int32_t first, last; /* devices that wait for room, in order; -1 */
    int busy, asleep;    /* under way; of these waiting for devices that are offline */
    int asked;           /* in this batch */
};

enum { SIM_REASONS = 64 };

struct sim_reason { /* why devices are held or skipped */
    enum policy_answer answer;
    char *text;
    int line, count;
};

struct sim_line { /* of the timeline */
    int32_t at;
    int stage;
    struct rollout_stats stats;
    enum policy_answer answer;
    char *reason, *file;
    int line;
};

struct sim_stage {
    int32_t entered;
    struct rollout_stats left; /* as it was left, or is */
    int32_t until;             /* WORLD_NEVER: never entered */
};

struct sim {
    struct policy *policy;
    struct plan plan;
    struct world *world;
    json_t *request, *declaration;
    struct buffer head, rollout_text, text; /* of the rollout as policies see it; scratch */
    double start;
    int64_t rollout;
    uint64_t seed;
    int32_t now, until; /* seconds since the beginning */

    struct sim_device *devices;
    uint32_t *order; /* those that are not excluded, by bucket */
    size_t count, members, entered;
    struct heap asks, events; /* by time; asks of the same time by bucket */
    struct sim_group *groups; /* NULL: not spread */
    struct rollout_tally tally;
    struct rollout_known known;
    int offers_waiting; /* for devices that are offline */

    int stage;
    int32_t stage_entered, credited, advance_at, watched;
    int pause_between; /* calls of advance */
    double credit;
    bool back, changed, resumed; /* resumed: in this stage */
    int resumes;                 /* that are left */
    struct {
        int devices, vanished;
    } control, updated;

    enum policy_answer last_answer; /* of advance, and its line */
    int last_line;
    bool decided;
    struct sim_reason reasons[SIM_REASONS];
    int reason_count;
    struct sim_line *timeline;
    size_t timeline_count;
    struct sim_stage stages[ROLLOUT_MOST_STAGES];
    uint64_t admits, advances;
    int window_calls, window_failed; /* of the last minute */
    int32_t window_at;

    const char *outcome; /* NULL: goes on */
    char *reason, *file;
    int line;
};

/* simulate_devices.c: */
bool sim_under_way(int state);
void sim_count(struct sim *sim, uint32_t device, int n); /* adds it to the counts, or takes it out of them */
void sim_become(struct sim *sim, uint32_t device, enum rollout_device_state state, bool asleep, bool retry);
void sim_ask_later(struct sim *sim, uint32_t device, int32_t at);
void sim_happen(struct sim *sim, uint32_t device); /* its event */
void sim_offer(struct sim *sim); /* asks for all that are due, as far as rate and concurrency go */
void sim_note_call(struct sim *sim, const struct policy_verdict *verdict);
void sim_end(struct sim *sim, const char *outcome, const char *reason, int line, const char *file);
int32_t sim_first_time(const struct heap *heap); /* WORLD_NEVER: it is empty */
int32_t sim_later(int32_t at, double seconds);

/* simulate_json.c: */
/* Fills in request, world and policy. False: problems were written. */
bool sim_open(struct sim *sim, struct policies *policies, const struct policy_source *source,
              struct policy_text request, const struct policy_text *devices, size_t count,
              struct buffer *json);
void sim_close(struct sim *sim);
void sim_put_answer(struct sim *sim, struct buffer *json);

/* The rollout, and `stats`, as policies see them; valid until the next of these. */
struct policy_text sim_rollout(struct sim *sim);
struct policy_text sim_stats(struct sim *sim, const struct rollout_stats *stats);
