#include "auth.h"
#include "authority.h"
#include "base/mem.h"
#include "clients.h"
#include "report.h"
#include "rules.h"
#include "shared.h"
#include <mosquitto.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    TICK_MS = 20,          /* under load the broker ticks far more often than this, when idle every 100 ms */
    START_MS = 2000,       /* the broker's start may wait so long for PostgreSQL */
    STEP_MS = 5,           /* a tick may wait so long for a connection under way */
    FILL_WITHIN_MS = 1000, /* an answer older than this is not passed on to Redis: see shared.h */
    TURN_MS = 1000, /* one turn of the broker's loop may wait so long for answers, and then for one more */
    ENDED = 16384,  /* devices remembered whose password ended last */
    PORTION = 256,  /* clients re-checked with one question */
};

static const char server_name[] = "otad";
static const uint8_t any_password[HASH_BYTES];             /* what stands for it in `ended` */
static const uint64_t year = UINT64_C(365) * 86400 * 1000; /* longer than a session is kept */

struct auth {
    const struct options *options;
    uint8_t server_hash[HASH_BYTES];
    struct cache *good, *refused;
    struct cache *ended; /* whose password has ended, until they come in with another */
    struct clients *clients;
    struct authority *authority;
    struct shared *shared;

    int32_t *
        doomed; /* ids of clients to disconnect at the next tick: not now, the broker may be at work on one */
    size_t doomed_count, doomed_room;

    size_t recheck_cursor;
    bool recheck_all; /* without pauses, until every client was checked once */
    uint64_t recheck_at;
    uint64_t tick_at; /* when the next may do something; 0: none came yet */
    uint64_t waited;  /* ms for PostgreSQL and Redis in this turn of the broker's loop */
    bool reloading;   /* from SIGHUP to the next tick */
    struct report refusals, outages, kicks, reloads;
};

static void on_up(void *arg)
{
    struct auth *auth = arg;
    cache_clear(auth->good);
    cache_clear(auth->refused);
    shared_distrust(auth->shared, report_clock());
    auth->recheck_cursor = 0;
    auth->recheck_all = true;
}

static void on_lost(void *arg)
{
    struct auth *auth = arg;
    cache_clear(auth->good);
    cache_clear(auth->refused);
}

static void doom(struct auth *auth, struct client *client)
{
    if (client->doomed)
        return;
    client->doomed = true;
    if (auth->doomed_count == auth->doomed_room) {
        auth->doomed_room = auth->doomed_room * 2 + 16;
        auth->doomed = x_realloc(auth->doomed, auth->doomed_room * sizeof(*auth->doomed));
    }
    auth->doomed[auth->doomed_count++] = client->id;
}

static void on_changed(void *arg, int32_t id)
{
    struct auth *auth = arg;
    cache_drop(auth->good, id);
    cache_drop(auth->refused, id);
    cache_put(auth->ended, id, any_password, report_clock() + year);
    shared_revoke(auth->shared, id);
    struct client *client = clients_newest(auth->clients, id);
    if (client != NULL)
        doom(auth, client);
}

static const struct authority_events authority_events = {on_up, on_lost, on_changed};

struct auth *auth_new(const struct options *options, char *error, size_t error_size)
{
    struct auth *auth = x_new(struct auth);
    auth->options = options;
    auth->good = cache_new((size_t)options->cache_size);
    auth->refused = cache_new((size_t)options->refused_size);
    auth->ended = cache_new(ENDED);
    auth->clients = clients_new();
    auth->authority =
        authority_new(options->database_url, (int)options->database_timeout, &authority_events, auth);
    auth->shared = shared_new(options->redis_url, (int)options->redis_timeout, (int)options->redis_ttl);
    if (auth->shared == NULL) {
        snprintf(error, error_size,
                 "plugin_opt_redis_url must be redis://[[user]:password@]host[:port][/db] or "
                 "unix:/path");
    } else if (options_server_hash(options, auth->server_hash, error, error_size)) {
        authority_tick(auth->authority, report_clock(), START_MS);
        return auth;
    }
    auth_free(auth);
    return NULL;
}

void auth_free(struct auth *auth)
{
    if (auth->shared != NULL)
        shared_free(auth->shared);
    authority_free(auth->authority);
    clients_free(auth->clients);
    cache_free(auth->ended);
    cache_free(auth->refused);
    cache_free(auth->good);
    sodium_memzero(auth->server_hash, sizeof(auth->server_hash));
    free(auth->doomed);
    free(auth);
}

/* ---- letting in ---- */

static enum answer check_device(struct auth *auth, int32_t id, const uint8_t hash[HASH_BYTES])
{
    uint64_t now = report_clock();
    authority_news(auth->authority, now);
    if (!authority_up(auth->authority))
        return ANSWER_NONE;
    if (cache_has(auth->good, id, hash, now))
        return ANSWER_YES;
    /* Keyed by what was tried: it never stands in the way of another password. */
    if (cache_has(auth->refused, id, hash, now))
        return ANSWER_NO;

    if (auth->waited >= TURN_MS)
        return ANSWER_NONE;
    bool in_redis = shared_has(auth->shared, id, hash, now);
    enum answer answer = in_redis ? ANSWER_YES : authority_ask(auth->authority, id, hash);
    if (answer == ANSWER_YES)
        cache_put(auth->good, id, hash, now + (uint64_t)auth->options->cache_ttl * 1000);
    if (answer == ANSWER_NO)
        cache_put(auth->refused, id, hash, now + (uint64_t)auth->options->refused_ttl * 1000);
    if (answer == ANSWER_YES && !in_redis && report_clock() - now < FILL_WITHIN_MS)
        shared_fill(auth->shared, id, hash);
    auth->waited += report_clock() - now;
    return answer;
}

static int refuse(struct auth *auth, struct mosquitto *connection, const char *username, const char *why)
{
    const char *address = mosquitto_client_address(connection);
    report(&auth->refusals, MOSQ_LOG_NOTICE, "refused %.40s from %s: %s",
           username != NULL && rules_plain(username) ? username : "a client", address != NULL ? address : "?",
           why);
    return MOSQ_ERR_AUTH;
}

int auth_connect(struct auth *auth, struct mosquitto *connection, const char *username, const char *password)
{
    const char *client_id = mosquitto_client_id(connection);
    int32_t id = username != NULL ? rules_device(username) : 0;
    const struct client *known = id != 0 ? clients_find(auth->clients, id, connection) : NULL;

    if (auth->tick_at == 0) {
        report(&auth->outages, MOSQ_LOG_ERR, "the broker does not tick: per_listener_settings must be false");
        return MOSQ_ERR_UNKNOWN;
    }
    /* On SIGHUP the broker asks again for every session it knows, those of absent devices included. Nobody
     * comes in this way; an absent one would be "disconnected" by a refusal, which Mosquitto 2.0.11 does
     * not survive unharmed. A new WebSocket client can come between, any other cannot. */
    if (auth->reloading && known == NULL && mosquitto_client_protocol(connection) != mp_websockets)
        return MOSQ_ERR_SUCCESS;

    if (username == NULL || password == NULL)
        return refuse(auth, connection, username, "no user name or password");
    if (client_id == NULL || !rules_plain(client_id) || !rules_plain(username))
        return refuse(auth, connection, username, "unfit user name or client id");

    uint8_t hash[HASH_BYTES];
    crypto_hash_sha256(hash, (const unsigned char *)password, strlen(password));
    if (strcmp(username, server_name) == 0) {
        if (strncmp(client_id, "device-", 7) == 0)
            return refuse(auth, connection, username, "a device's client id");
        if (sodium_memcmp(hash, auth->server_hash, sizeof(hash)) != 0)
            return refuse(auth, connection, username, "wrong password");
        return MOSQ_ERR_SUCCESS;
    }
    if (id == 0)
        return refuse(auth, connection, username, "unknown user name");
    if (strcmp(client_id, username) != 0)
        return refuse(auth, connection, username, "the client id is not the user name");
    if (auth->reloading && known != NULL && !known->doomed &&
        sodium_memcmp(known->hash, hash, sizeof(hash)) == 0)
        return MOSQ_ERR_SUCCESS; /* connected: whatever happens to PostgreSQL, it stays */

    switch (check_device(auth, id, hash)) {
    case ANSWER_YES:
        clients_put(auth->clients, id, connection, hash);
        cache_drop(auth->ended, id);
        return MOSQ_ERR_SUCCESS;
    case ANSWER_NO:
        return refuse(auth, connection, username, "wrong password, or no such device");
    default:
        report(&auth->outages, MOSQ_LOG_WARNING, "turned %s away: PostgreSQL %s", username,
               auth->waited >= TURN_MS ? "is too slow" : "cannot be asked");
        return MOSQ_ERR_UNKNOWN;
    }
}

void auth_disconnect(struct auth *auth, struct mosquitto *connection)
{
    /* Comes for refused clients too, who can name any user: only the connection itself counts. */
    const char *username = mosquitto_client_username(connection);
    int32_t id = username != NULL ? rules_device(username) : 0;
    if (id != 0)
        clients_remove(auth->clients, id, connection);
}

void auth_reload(struct auth *auth)
{
    char error[512];
    uint8_t hash[HASH_BYTES];
    auth->reloading = auth->tick_at != 0; /* only a tick ends it */
    if (options_server_hash(auth->options, hash, error, sizeof(error)))
        memcpy(auth->server_hash, hash, sizeof(hash));
    else
        report(&auth->reloads, MOSQ_LOG_ERR, "%s; the old password stays", error);
}

/* ---- topics ---- */

/* Nothing of a device may stay retained: it would be told again, as if new, to each later subscriber, and
 * outlive the device. The flag of a message is taken away in auth_message(), which wills do not pass: they
 * come to auth_access() only, after their connection is gone or taken over. */
static bool is_will(const struct auth *auth, int32_t id, const struct mosquitto *connection)
{
    const struct client *newest = clients_newest(auth->clients, id);
    return newest == NULL || newest->connection != connection;
}

int auth_access(struct auth *auth, struct mosquitto *connection, const struct mosquitto_evt_acl_check *event)
{
    const char *username = mosquitto_client_username(connection);
    enum rules_access access;
    switch (event->access) {
    case MOSQ_ACL_READ:
        access = RULES_READ;
        break;
    case MOSQ_ACL_WRITE:
        access = RULES_WRITE;
        break;
    case MOSQ_ACL_SUBSCRIBE:
        access = RULES_SUBSCRIBE;
        break;
    case MOSQ_ACL_UNSUBSCRIBE:
        return MOSQ_ERR_SUCCESS;
    default:
        return MOSQ_ERR_ACL_DENIED;
    }
    if (username == NULL)
        return MOSQ_ERR_ACL_DENIED;
    if (strcmp(username, server_name) == 0)
        return rules_server_may(access, event->topic) ? MOSQ_ERR_SUCCESS : MOSQ_ERR_ACL_DENIED;

    int32_t id = rules_device(username);
    if (!rules_device_may(id, access, event->topic, event->payloadlen))
        return MOSQ_ERR_ACL_DENIED;
    if (access != RULES_WRITE || !is_will(auth, id, connection))
        return MOSQ_ERR_SUCCESS;
    if (cache_has(auth->ended, id, any_password, report_clock()))
        return MOSQ_ERR_ACL_DENIED; /* delayed, as MQTT 5 can have it, beyond the end of its password */
    if (event->retain) {
        mosquitto_broker_publish_copy(NULL, event->topic, (int)event->payloadlen, event->payload, event->qos,
                                      false, NULL);
        return MOSQ_ERR_ACL_DENIED;
    }
    return MOSQ_ERR_SUCCESS;
}

void auth_message(struct auth *auth, struct mosquitto_evt_message *message)
{
    const char *username = mosquitto_client_username(message->client);
    if (username == NULL || strcmp(username, server_name) != 0)
        message->retain = false;
}

/* ---- throwing out ---- */

/* Checks the next portion of the connected. With none it is still a question: one that finds out whether the
 * connection lives. */
static void recheck(struct auth *auth, uint64_t now)
{
    struct client *portion[PORTION];
    int32_t ids[PORTION];
    const uint8_t *hashes[PORTION];
    bool bad[PORTION];
    size_t count;

    auth->recheck_at = now + (uint64_t)auth->options->recheck_interval;
    bool more = clients_walk(auth->clients, &auth->recheck_cursor, portion, PORTION, &count);
    for (size_t i = 0; i < count; i++) {
        ids[i] = portion[i]->id;
        hashes[i] = portion[i]->hash;
    }
    if (!authority_ask_many(auth->authority, count, ids, hashes, bad)) {
        auth->recheck_cursor = 0; /* lost: all over again when it is back */
        return;
    }
    for (size_t i = 0; i < count; i++) {
        if (bad[i])
            doom(auth, portion[i]);
    }
    if (!more)
        auth->recheck_all = false;
}

static void kick_doomed(struct auth *auth)
{
    for (size_t i = 0; i < auth->doomed_count; i++) {
        const struct client *client = clients_newest(auth->clients, auth->doomed[i]);
        if (client == NULL || !client->doomed)
            continue; /* gone, or back with a good password */
        char name[32];
        snprintf(name, sizeof(name), "device-%d", client->id);
        report(&auth->kicks, MOSQ_LOG_NOTICE, "%s disconnected: its credentials have ended", name);
        /* By client id, which is its user name: by user name the broker would search all connections. It
         * must be connected, as those in `clients` are: it is not safe for the session of an absent one. */
        mosquitto_kick_client_by_clientid(name, false);
    }
    auth->doomed_count = 0;
}

void auth_tick(struct auth *auth)
{
    uint64_t now = report_clock();
    auth->reloading = false;
    auth->waited = 0;
    if (now < auth->tick_at)
        return;
    auth->tick_at = now + TICK_MS;
    authority_tick(auth->authority, now, STEP_MS);
    shared_tick(auth->shared, now);
    if (authority_up(auth->authority) && (auth->recheck_all || now >= auth->recheck_at))
        recheck(auth, now);
    kick_doomed(auth);
}
