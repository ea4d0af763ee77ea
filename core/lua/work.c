#include "lua/work.h"
#include "lua/modules.h"

static void on_run(struct offload_job *job)
{
    struct work *work = H2O_STRUCT_FROM_MEMBER(struct work, job, job);
    work->run(work);
}

static void on_delivered(struct letter *letter, struct worker *worker)
{
    struct work *work = H2O_STRUCT_FROM_MEMBER(struct work, letter, letter);
    coroutine_resume_with(work->coroutine, work);
}

static void on_done(struct offload_job *job)
{
    struct work *work = H2O_STRUCT_FROM_MEMBER(struct work, job, job);
    worker_post(work->coroutine->generation->runtime->worker, &work->letter);
}

int work_start(lua_State *L, struct work *work, lua_KFunction continuation)
{
    const struct services *services = runtime_of(L)->services;
    struct offload *pool = work->pool != NULL ? work->pool : services->offload;
    work->coroutine = coroutine_of(L);
    work->job.run = on_run;
    work->job.done = on_done;
    work->letter.deliver = on_delivered;
    if (pool == NULL || !lua_isyieldable(L) || !offload_submit(pool, &work->job)) {
        work->drop(work);
        fail_unless_there(L, pool, "offload");
        (void)coroutine_to_wait(L);
        return fail_raise(L, 503, "The server has too much work of this kind.");
    }
    return lua_yieldk(L, 0, 0, continuation);
}
