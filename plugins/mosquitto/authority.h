/* PostgreSQL, whose word on a device's password is final: one connection that both answers questions and
 * listens for changed credentials. So an answer proves that news arrived up to then, and as long as the
 * connection stands nothing is missed.
 *
 * It connects without blocking, a step a tick. A question blocks the broker, for `timeout` at most; then the
 * connection counts as lost and is made again after a pause. Of news only authority_tick and authority_news
 * tell, never a question: so what a question found can be remembered first, and be dropped by the news that
 * overtook it. One thread. */
#pragma once
#include "cache.h"
#include <stddef.h>

struct authority;

struct authority_events {
    void (*on_up)(void *arg);   /* listening from now on: what is known from before is stale */
    void (*on_lost)(void *arg); /* news may be missed from now on; a question may find that out */
    void (*on_changed)(void *arg, int32_t id); /* the password of this device is not good any more */
};

enum answer { ANSWER_YES, ANSWER_NO, ANSWER_NONE }; /* NONE: cannot tell now */

/* `events` and `url` must outlive it. */
struct authority *authority_new(const char *url, int timeout, const struct authority_events *events,
                                void *arg);
void authority_free(struct authority *authority);

/* Moves a connection under way on, for at most `patience` ms, and hands out news. */
void authority_tick(struct authority *authority, uint64_t now, int patience);
/* Hands out the news that have arrived. Cheap: no more than one system call when there are none. */
void authority_news(struct authority *authority, uint64_t now);
bool authority_up(const struct authority *authority);

/* Is this the SHA-256 of the device's password? NO also for a device that has none. */
enum answer authority_ask(struct authority *authority, int32_t id, const uint8_t hash[HASH_BYTES]);

/* The same for `count` pairs in one question: bad[i] tells whether pair i is no longer good. False: cannot
 * tell. */
bool authority_ask_many(struct authority *authority, size_t count, const int32_t *ids,
                        const uint8_t *const *hashes, bool *bad);
