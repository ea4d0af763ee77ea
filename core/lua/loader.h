/* Makes a generation of a bundle: opens the sandbox, runs all files but tests, checks and keeps what they
 * returned. */
#pragma once
#include "lua/generation.h"

/* The sandbox of a bundle, with no file of it run; NULL as below. */
struct generation *loader_open(struct runtime *runtime, struct bundle *bundle, struct problems *problems);

/* NULL when anything is wrong; `problems` then says what, of all files at once. */
struct generation *loader_load(struct runtime *runtime, struct bundle *bundle, struct problems *problems);
