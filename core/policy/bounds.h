/* The bounds of one policy's Lua state: processor time and memory of a call, and where in the scripts it was.
 *
 * Time is looked at by a hook: every 1000 instructions, and with the next instruction once a function came
 * back at another tick of the coarse clock, for what functions in C do counts as one instruction. Memory is
 * refused by the allocator. A call that is beyond its bounds is ended with an error that no pcall swallows
 * for good. */
#pragma once
#include "policy/policy.h"
#include <lua.h>
#include <time.h>

struct bounds_place {
    const char *source; /* lives as long as its function; NULL: nowhere */
    int line;
};

struct bounds {
    lua_State *L;
    struct policies *policies;
    size_t memory; /* bytes in use */
    /* Of the call under way, or the last. */
    struct bounds_place last, fault; /* where a function returned last, and where it went wrong */
    int refusals;                    /* of memory, one after the other */
    bool timed, ended, hurried;      /* clock was read; must end; looks at it with the next instruction */
    int64_t glanced;                 /* the coarse clock at the last look, ms */
    struct timespec began;
};

/* Makes the state, in which garbage is collected only when memory is short. Its extra space has the address
 * of `bounds`, which does not move. The caller closes it. */
void bounds_open(struct bounds *bounds, struct policies *policies);

/* Like lua_pcall of `call` with `arg` as light userdata; on failure the error's value is on top. */
int bounds_run(struct bounds *bounds, lua_CFunction call, void *arg);

/* What the call that just failed with `status` says. Lives as long as the value on top. */
const char *bounds_words(const struct bounds *bounds, int status);
