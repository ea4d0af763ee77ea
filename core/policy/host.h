/* The server's end of the process of policies (policy/host_main): starts it, asks it, ends it when it hangs
 * and starts it anew. What a policy does there costs at most its own call.
 *
 * Everything here blocks: for offload threads, never for an event loop. Any thread; one request at a time,
 * others wait. The process is the program itself, started by /proc/self/exe with one socket and no
 * environment; it ends with the thread that started it, at the latest. Use one host for rollouts and another
 * for people. */
#pragma once
#include "base/buffer.h"
#include "policy/check.h"
#include "policy/policy.h"
#include <stdatomic.h>

enum { HOST_SLOTS = 16, HOST_FD = 3 }; /* policies kept loaded; the socket's descriptor over there */

struct host;

struct host *host_new(void);        /* the process is started when first needed */
void host_close(struct host *host); /* any thread: whoever waits for it waits no longer than a moment */
void host_free(struct host *host);

/* Whether the policy is sound; appends {"problems": [{"file", "line", "severity", "message"}], "declaration":
 * {...} or null}. */
bool host_load(struct host *host, const struct policy_source *source, struct buffer *json);

/* What is wrong with a source that may be hostile (policy/check), a policy or a library of policies
 * ("lib/policy/x"); appends {"problems": [...]} as host_load() does, with warnings and columns. False: it has
 * errors. */
bool host_check(struct host *host, const struct policy_source *source, enum check_kind kind,
                struct buffer *json);

/* policy_admit() for many devices; each gets a verdict. A device for which the policy does not come back is
 * held, `failed`, and the others are asked in a new process. After some of those, or 2 s, the rest is held to
 * be asked again in a second, without `failed`: asked is who can be. The same where no process starts. */
void host_admit(struct host *host, const struct policy_source *source, const struct policy_moment *moment,
                const struct policy_text *devices, size_t count, struct policy_verdict *verdicts);
void host_advance(struct host *host, const struct policy_source *source, const struct policy_moment *moment,
                  struct policy_text stats, struct policy_verdict *verdict);

/* simulate_run() and replay_run() (policy/simulate.h, policy/replay.h) over there: up to 20 s of processor
 * time. Others wait meanwhile. `devices` and `decisions` may have 60 MiB together. */
bool host_simulate(struct host *host, const struct policy_source *source, struct policy_text request,
                   const struct policy_text *devices, size_t count, struct buffer *json);
bool host_replay(struct host *host, const struct policy_source *source, const struct policy_source *other,
                 struct policy_text request, const struct policy_text *decisions, size_t count,
                 struct buffer *json);

/* test_run() (policy/test_run.h) over there. A test for which the process does not come back, or ends, has
 * failed, and the others run in a new one; some 20 s in all. False: the answer has problems. */
bool host_test(struct host *host, const struct policy_source *source, const struct policy_text *tests,
               struct buffer *json);

/* Of a host that one thread alone uses: its simulations, replays and tests end as soon as *unwanted, until
 * this is called with NULL. */
void host_heed(struct host *host, const atomic_bool *unwanted);

struct host_counts {
    uint64_t started, overran,
        crashed; /* processes; those ended for taking too long; those ended otherwise */
};
struct host_counts host_counts(struct host *host);

/* `otad policy-host`: what runs over there. */
int host_main(int argc, char **argv);
