/* Redis: what one broker learned from PostgreSQL, for all brokers and for the time after a restart. Key
 * otad:mqtt:<id>, value the SHA-256 of the device's password as 64 hex digits, or "-" while it must not be
 * filled; either expires after the TTL. Only brokers write these keys.
 *
 * It must never bring back a revoked password, so:
 *   - a revocation writes "-" and a filling never overwrites anything: a broker that read PostgreSQL before
 *     the change and writes after it does no harm;
 *   - nothing is believed until TTL + 5 s of uninterrupted connection to Redis, and of listening to
 * PostgreSQL, have passed: by then whatever was filled before is gone, and every revocation since has been
 * written. Failing to write one breaks the connection, so that the second rule covers it.
 *
 * Calls block for the time-out at most; after a failure Redis is left alone for a while, 30 s at most. Many
 * revocations at once count as a failure if they take too long together. */
#pragma once
#include "cache.h"

struct shared;

/* NULL: not a URL it understands; see options.h. `url` NULL: a Redis that never answers. */
struct shared *shared_new(const char *url, int timeout, int ttl);
void shared_free(struct shared *shared);

void shared_tick(struct shared *shared, uint64_t now); /* connects when it is time to */
void shared_distrust(struct shared *shared, uint64_t now);

/* True: the device's password has this SHA-256. False: ask PostgreSQL. */
bool shared_has(struct shared *shared, int32_t id, const uint8_t hash[HASH_BYTES], uint64_t now);
void shared_fill(struct shared *shared, int32_t id, const uint8_t hash[HASH_BYTES]);
void shared_revoke(struct shared *shared, int32_t id);
