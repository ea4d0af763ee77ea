/* What scripts do without being asked over HTTP: tasks at intervals, and the handler of what devices told. */
#pragma once
#include "fleet/ingest.h"
#include "lua/generation.h"

/* Take what a file returned, on top of the stack. Protected call only. */
void tasks_add(struct generation *generation, lua_State *L, const struct bundle_file *file);
void tasks_set_handler(int *handler, lua_State *L, const struct bundle_file *file);

/* Runs the tasks of the generation in force, each at its interval and never twice at once; one that failed,
 * as for a database that is not there yet, after 5 s where its interval is longer. One worker of the process
 * does this. */
struct tasks;
struct tasks *tasks_new(struct runtime *runtime);
void tasks_stop(struct tasks *tasks); /* starts no more */
bool tasks_idle(const struct tasks *tasks);
void tasks_free(struct tasks *tasks);

/* Hands changes to scripts/topics/status.lua: all of one loop turn in one call. */
struct changes;
struct changes *changes_new(struct runtime *runtime);
void changes_free(struct changes *changes); /* before ingest_free(): what waits is answered */
void changes_take(struct changes *changes, struct ingest_change *change);
