/* Work of a coroutine on the offload pool: `run` on a pool thread, then the coroutine goes on with
 * `continuation`, which finds the work as the light userdata on top of the stack and must free it. */
#pragma once
#include "base/offload.h"
#include "lua/coroutine.h"

struct work {
    struct offload_job job;
    struct letter letter;
    struct coroutine *coroutine;
    struct offload *pool; /* NULL: services.offload */
    void (*run)(struct work *work);
    void (*drop)(struct work *work); /* frees it */
};

/* Call as `return work_start(...)`. Raises 503 when the pool is full; the work is dropped then. */
int work_start(lua_State *L, struct work *work, lua_KFunction continuation);
