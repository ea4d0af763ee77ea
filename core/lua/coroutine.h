/* Coroutines: one for each request, message batch or task, run until it ends or waits for I/O.
 *
 * A bound function that must wait arms the I/O with its coroutine as argument and returns
 * lua_yieldk(L, 0, context, continuation). The completion, which comes on a later turn of the loop, pushes a
 * light userdata that points at its result and calls coroutine_resume(); the continuation then reads it
 * inside the protected resume, where making tables may fail safely. A waiting coroutine is never dropped:
 * whatever it waits for completes exactly once, if need be with an error. */
#pragma once
#include "lua/generation.h"

/* Takes one from the pool, or makes it; holds the generation until it ends. NULL: out of Lua memory. The
 * caller pushes a function and its arguments on coroutine->L, then resumes. */
struct coroutine *coroutine_new(struct generation *generation);

/* For a bound function that is about to wait: the coroutine to resume. Raises where nothing may wait: while
 * scripts load, and in what a C function calls back (string.gsub, table.sort, a schema's check). */
struct coroutine *coroutine_to_wait(lua_State *L);

/* Runs on. When the coroutine ends, on_end sees its `results` on top of the stack, or the error; then it is
 * back in the pool. */
void coroutine_resume(struct coroutine *coroutine, int arguments);

/* The usual completion: resumes with one light userdata. */
void coroutine_resume_with(struct coroutine *coroutine, void *result);

/* Text of an error with a traceback, or of a problem, for the log; owned by the caller. */
char *coroutine_error_text(struct coroutine *coroutine);
