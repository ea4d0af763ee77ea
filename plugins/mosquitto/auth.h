/* The decisions: who is let in, who is thrown out. Everything runs on the broker's one thread, inside its
 * callbacks; a question to PostgreSQL or Redis blocks it, each within its time-out.
 *
 * A device is let in if the SHA-256 of its password is found in the process cache, in Redis or in PostgreSQL,
 * in this order; only PostgreSQL's "no" refuses. While PostgreSQL is away caches are not believed, since a
 * password may have been revoked unheard: nobody new is let in, those connected stay. When it is back, every
 * connected device is checked again. */
#pragma once
#include "options.h"

struct auth;
struct mosquitto;

/* `options` must outlive it. Waits up to 2 s for PostgreSQL; works without, later. NULL and `error`: wrong
 * options. */
struct auth *auth_new(const struct options *options, char *error, size_t error_size);
void auth_free(struct auth *auth);

/* Each returns a MOSQ_ERR_*: SUCCESS; AUTH or ACL_DENIED: refused; UNKNOWN: cannot tell now, so the
 * connection is closed without the answer "not authorised", on which some devices would give up. The right
 * word would be "server unavailable" (CONNACK 3, in MQTT 5 0x88), but a plugin has no say in it: for AUTH
 * Mosquitto 2.0.11 sends "not authorised", for everything else it closes without CONNACK (handle_connect.c).
 * A device sees a lost connection, and tries again with its back-off. */
int auth_connect(struct auth *auth, struct mosquitto *connection, const char *username, const char *password);
int auth_access(struct auth *auth, struct mosquitto *connection, const struct mosquitto_evt_acl_check *event);

void auth_disconnect(struct auth *auth, struct mosquitto *connection);
void auth_message(struct auth *auth, struct mosquitto_evt_message *message);
void auth_reload(struct auth *auth);
void auth_tick(struct auth *auth);
