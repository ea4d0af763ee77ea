/* What one worker has, made on its thread by the hooks that parts.c gives to net/worker. */
#pragma once
#include "cli/app.h"
#include "fleet/ingest.h"
#include "fleet/offers.h"
#include "fleet/session_feed.h"
#include "fleet/upkeep.h"
#include "lua/tasks.h"
#include "net/guard.h"
#include "net/listener.h"

struct parts {
    struct app *app;
    struct runtime runtime;
    struct pg *ingest_pg; /* of its own: its writes hold up what is behind them */
    struct http_context *http;
    struct guard *guard;
    struct listener *listeners[2]; /* plain, TLS */
    struct ingest *ingest;
    struct changes *changes;
    /* Worker 0 only. */
    struct offers *offers;
    struct upkeep *upkeep;
    struct tasks *tasks;
    struct session_feed *sessions;
    struct letter open_letter, drain_letter;
    uint64_t give_up; /* clock_ms(): what is not done by then is dropped; 0: not stopping */
    bool quiet;
    char *error; /* start failed */
};

extern const struct worker_hooks parts_hooks;

/* To be posted: opens the ports, once everything else is there; closes them again. */
void parts_open(struct letter *letter, struct worker *worker);
void parts_drain(struct letter *letter, struct worker *worker);

/* Refuses the session's tokens on every worker. Any thread. */
void parts_revoke(struct app *app, const char *sid);
