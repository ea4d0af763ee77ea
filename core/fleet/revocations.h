/* Sessions whose access tokens are refused although they have not expired. One set per worker, fed by the
 * database (channel otad_sessions) and, for this instance's own logouts, at once. An entry is forgotten once
 * every token of its session has expired, by the wall clock and by the one that is never set, so the set
 * stays small. Worker thread only. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct revocations;

struct revocations *revocations_new(uint64_t token_life_ms);
void revocations_free(struct revocations *revocations);
void revocations_add(struct revocations *revocations, const char *sid); /* not a UUID: nothing */
bool revocations_has(const struct revocations *revocations, const char *sid);
