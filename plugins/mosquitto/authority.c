#include "authority.h"
#include "base/mem.h"
#include "queries.h"
#include "report.h"
#include <arpa/inet.h>
#include <errno.h>
#include <libpq-fe.h>
#include <mosquitto.h>
#include <poll.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    CONNECT_MS = 5000,    /* from the first step until everything is prepared */
    PAUSE_FIRST_MS = 250, /* doubles up to ... */
    PAUSE_MOST_MS =
        2000, /* connecting costs the broker nothing, and it shall be back soon after PostgreSQL */
    PAUSE_SLOW_MS = 4000, /* after a question that timed out: each of those stalls the broker */
};

enum state { DOWN, CONNECTING, PREPARING, UP };

struct authority {
    const char *url;
    int timeout;
    const struct authority_events *events;
    void *arg;

    enum state state;
    PGconn *conn;                      /* NULL if DOWN */
    PostgresPollingStatusType waiting; /* CONNECTING: for what */
    unsigned prepared;                 /* PREPARING: how many of the steps are done ... */
    bool sent;                         /* ... and whether the next is under way */
    uint64_t deadline;                 /* CONNECTING, PREPARING */
    uint64_t retry_at;                 /* DOWN */
    uint64_t pause;                    /* ms, after the next failure to connect */
    struct report trouble, news;
};

struct authority *authority_new(const char *url, int timeout, const struct authority_events *events,
                                void *arg)
{
    struct authority *a = x_new(struct authority);
    a->url = url;
    a->timeout = timeout;
    a->events = events;
    a->arg = arg;
    a->pause = PAUSE_FIRST_MS;
    return a;
}

void authority_free(struct authority *a)
{
    PQfinish(a->conn);
    free(a);
}

bool authority_up(const struct authority *a)
{
    return a->state == UP;
}

static void lose(struct authority *a, const char *why, uint64_t pause)
{
    bool was_up = a->state == UP;
    report(&a->trouble, MOSQ_LOG_WARNING, "PostgreSQL %s: %s", was_up ? "lost" : "not reached", why);
    PQfinish(a->conn);
    a->conn = NULL;
    a->state = DOWN;
    a->retry_at = report_clock() + pause;
    if (was_up)
        a->events->on_lost(a->arg);
}

static void fail_to_connect(struct authority *a, const char *why)
{
    lose(a, why, a->pause);
    a->pause = a->pause * 2 < PAUSE_MOST_MS ? a->pause * 2 : PAUSE_MOST_MS;
}

/* Waits for the socket, `ms` at most. False: not ready. The broker's signals interrupt a plugin too. */
static bool wait_for(const struct authority *a, short events, int ms)
{
    struct pollfd fd = {.fd = PQsocket(a->conn), .events = events};
    uint64_t now = report_clock(), until = now + (uint64_t)ms;
    int ready = -1;
    errno = 0;
    while (fd.fd >= 0 && (ready = poll(&fd, 1, (int)(until - now))) < 0 && errno == EINTR) {
        now = report_clock();
        now = now < until ? now : until;
    }
    return ready > 0;
}

static void start(struct authority *a, uint64_t now)
{
    /* A peer that has vanished without a word must be noticed: keepalives for the silence, the user time-out
     * for what is unacknowledged. */
    static const char *const names[] = {"dbname",
                                        "application_name",
                                        "client_encoding",
                                        "keepalives_idle",
                                        "keepalives_interval",
                                        "keepalives_count",
                                        "tcp_user_timeout",
                                        NULL};
    const char *const values[] = {a->url, "otad-broker", "UTF8", "5", "2", "3", "5000", NULL};
    a->conn = PQconnectStartParams(names, values, 1);
    if (a->conn == NULL) {
        fail_to_connect(a, "out of memory");
        return;
    }
    a->state = CONNECTING;
    a->waiting = PGRES_POLLING_WRITING;
    a->deadline = now + CONNECT_MS;
    if (PQstatus(a->conn) == CONNECTION_BAD)
        fail_to_connect(a, PQerrorMessage(a->conn));
}

/* The steps between connected and ready; false: all done. */
static bool send_step(struct authority *a, int *sent)
{
    switch (a->prepared) {
    case 0:
        *sent = PQsendQuery(a->conn, SQL_BROKER_LISTEN);
        return true;
    case 1:
        *sent = PQsendPrepare(a->conn, "broker_credential", SQL_BROKER_CREDENTIAL, 0, NULL);
        return true;
    case 2:
        *sent = PQsendPrepare(a->conn, "broker_credentials", SQL_BROKER_CREDENTIALS, 0, NULL);
        return true;
    default:
        return false;
    }
}

/* One step on the way from CONNECTING to UP. False: must wait for the socket (*events). */
static bool step(struct authority *a, short *events)
{
    if (a->state == CONNECTING) {
        *events = a->waiting == PGRES_POLLING_READING ? POLLIN : POLLOUT;
        if (!wait_for(a, *events, 0))
            return false;
        a->waiting = PQconnectPoll(a->conn);
        if (a->waiting == PGRES_POLLING_FAILED) {
            fail_to_connect(a, PQerrorMessage(a->conn));
        } else if (a->waiting == PGRES_POLLING_OK) {
            a->state = PREPARING;
            a->prepared = 0;
            a->sent = false;
            PQsetnonblocking(a->conn, 1);
        }
        return true;
    }

    *events = POLLIN;
    if (!a->sent) {
        int sent = 0;
        if (!send_step(a, &sent)) {
            a->state = UP;
            a->pause = PAUSE_FIRST_MS;
            report(&a->news, MOSQ_LOG_NOTICE, "PostgreSQL connected");
            a->events->on_up(a->arg);
            return true;
        }
        a->sent = true;
        if (!sent || PQflush(a->conn) < 0) {
            fail_to_connect(a, PQerrorMessage(a->conn));
            return true;
        }
    }
    if (!PQconsumeInput(a->conn)) {
        fail_to_connect(a, PQerrorMessage(a->conn));
        return true;
    }
    while (!PQisBusy(a->conn)) {
        PGresult *result = PQgetResult(a->conn);
        if (result == NULL) {
            a->sent = false;
            a->prepared++;
            return true;
        }
        bool fine = PQresultStatus(result) == PGRES_COMMAND_OK;
        PQclear(result);
        if (!fine) {
            fail_to_connect(a, PQerrorMessage(a->conn));
            return true;
        }
    }
    return false;
}

void authority_tick(struct authority *a, uint64_t now, int patience)
{
    uint64_t until = now + (uint64_t)patience;
    if (a->state == DOWN && now >= a->retry_at)
        start(a, now);
    while (a->state == CONNECTING || a->state == PREPARING) {
        short events = 0;
        if (step(a, &events))
            continue;
        uint64_t at = report_clock();
        if (at >= a->deadline)
            fail_to_connect(a, "timed out");
        else if (at >= until || !wait_for(a, events, (int)(until - at)))
            return;
    }
    authority_news(a, now);
}

void authority_news(struct authority *a, uint64_t now)
{
    if (a->state != UP)
        return;
    bool alive = !wait_for(a, POLLIN, 0) || PQconsumeInput(a->conn);
    /* What a question's answer brought along counts too. */
    for (PGnotify *notify; (notify = PQnotifies(a->conn)) != NULL; PQfreemem(notify)) {
        char *end;
        long id = strtol(notify->extra, &end, 10);
        if (*end == '\0' && id > 0 && id <= INT32_MAX)
            a->events->on_changed(a->arg, (int32_t)id);
    }
    if (!alive)
        lose(a, PQerrorMessage(a->conn), PAUSE_FIRST_MS);
}

/* Runs a prepared statement of one parameter and returns its rows, in binary form; NULL: lost. */
static PGresult *ask(struct authority *a, const char *statement, const char *parameter)
{
    const char *values[] = {parameter};
    PGresult *rows = NULL;
    uint64_t deadline = report_clock() + (uint64_t)a->timeout;

    if (!PQsendQueryPrepared(a->conn, statement, 1, values, NULL, NULL, 1)) {
        lose(a, PQerrorMessage(a->conn), PAUSE_FIRST_MS);
        return NULL;
    }
    for (;;) {
        int unsent = PQflush(a->conn);
        if (unsent < 0 || !PQconsumeInput(a->conn))
            break;
        while (!PQisBusy(a->conn)) {
            PGresult *result = PQgetResult(a->conn);
            if (result == NULL) {
                if (rows != NULL && PQresultStatus(rows) == PGRES_TUPLES_OK)
                    return rows;
                goto failed;
            }
            PQclear(rows);
            rows = result;
        }
        uint64_t now = report_clock();
        if (now >= deadline || !wait_for(a, unsent ? POLLIN | POLLOUT : POLLIN, (int)(deadline - now))) {
            PQclear(rows);
            lose(a, "no answer in time", PAUSE_SLOW_MS);
            return NULL;
        }
    }
failed:
    lose(a, PQerrorMessage(a->conn), PAUSE_FIRST_MS);
    PQclear(rows);
    return NULL;
}

static bool same_hash(const PGresult *rows, int row, int column, const uint8_t hash[HASH_BYTES])
{
    return PQgetlength(rows, row, column) == HASH_BYTES &&
           sodium_memcmp(PQgetvalue(rows, row, column), hash, HASH_BYTES) == 0;
}

enum answer authority_ask(struct authority *a, int32_t id, const uint8_t hash[HASH_BYTES])
{
    char text[16];
    if (a->state != UP)
        return ANSWER_NONE;
    snprintf(text, sizeof(text), "%d", id);
    PGresult *rows = ask(a, "broker_credential", text);
    if (rows == NULL)
        return ANSWER_NONE;
    enum answer answer = PQntuples(rows) == 1 && same_hash(rows, 0, 0, hash) ? ANSWER_YES : ANSWER_NO;
    PQclear(rows);
    return answer;
}

/* The row of a device among those found; -1 if there is none. */
static int row_of(const PGresult *rows, int32_t id)
{
    for (int row = 0; row < PQntuples(rows); row++) {
        uint32_t found;
        memcpy(&found, PQgetvalue(rows, row, 0), sizeof(found));
        if ((int32_t)ntohl(found) == id)
            return row;
    }
    return -1;
}

bool authority_ask_many(struct authority *a, size_t count, const int32_t *ids, const uint8_t *const *hashes,
                        bool *bad)
{
    if (a->state != UP)
        return false;
    char *list = x_alloc(count * 12 + 3), *end = list;
    for (size_t i = 0; i < count; i++)
        end += sprintf(end, "%c%d", i == 0 ? '{' : ',', ids[i]);
    strcpy(end, count == 0 ? "{}" : "}");
    PGresult *rows = ask(a, "broker_credentials", list);
    free(list);
    if (rows == NULL)
        return false;
    bool sound = PQnfields(rows) == 2 && (PQntuples(rows) == 0 || PQgetlength(rows, 0, 0) == 4);
    for (size_t i = 0; sound && i < count; i++) {
        int row = row_of(rows, ids[i]);
        bad[i] = row < 0 || !same_hash(rows, row, 1, hashes[i]);
    }
    PQclear(rows);
    return sound;
}
