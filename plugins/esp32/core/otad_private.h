/* Between the client's own files: otad_client.c (boot, connection, what to do next), otad_update.c (offers
 * and downloads), otad_report.c (what is told). */
#pragma once
#include "otad_client.h"

/* --- otad_client.c --- */
/* A number below `limit`; *state is the generator's. Not for secrets. */
uint32_t otad_random(uint64_t *state, uint32_t limit);
/* base doubled `times` times, at most `most`, then varied by half. */
uint32_t otad_backoff(struct otad_client *client, uint32_t base, unsigned times, uint32_t most);
/* The update has ended as `phase`, and why (NULL: well); it is saved and reported. The stage is
 * the caller's: another offer may be held. */
void otad_finish(struct otad_client *client, uint64_t now, enum otad_phase phase, const char *why);
/* From now on the running image is known by its offer's version. */
void otad_adopt(struct otad_client *client);

/* --- otad_update.c --- */
/* Judges an offer that was held until the time, or the running image, allows it. */
void otad_update_tick(struct otad_client *client, uint64_t now);
/* The next action of the update under way. False: nothing to do now. */
bool otad_update_poll(struct otad_client *client, uint64_t now, struct otad_action *action);
void otad_update_done(struct otad_client *client, uint64_t now, enum otad_act act, int32_t code);
/* When to poll again though nothing happens; UINT64_MAX: no such time. */
uint64_t otad_update_deadline(const struct otad_client *client);
/* There is no offer: what is under way ends, what has ended is taken note of. `told`: so the server said, and
 * the update is over; else none came, and should it come yet, it goes on. */
void otad_update_cleared(struct otad_client *client, bool told);
void otad_update_fail(struct otad_client *client, uint64_t now, const char *why);

/* --- otad_report.c --- */
void otad_report_set(struct otad_client *client, enum otad_state state, uint64_t update_id,
                     const char *error);
void otad_report_record(struct otad_client *client); /* what the record says */
void otad_report_progress(struct otad_client *client);
/* Queues a log line of these strings, the last one NULL. Out of room, the oldest goes. */
void otad_say(struct otad_client *client, const char *level, ...) __attribute__((sentinel));
/* "secure version too small", ... for the codes of ESP-IDF; the number for others. */
void otad_reason(const char *what, int32_t code, char *out, size_t size);
