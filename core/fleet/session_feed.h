/* The database's word about sessions that ended, here or on another instance: what their access tokens are
 * refused by (fleet/revocations). It listens, and asks once more for those that ended while it could not
 * hear.
 *
 * Thread of the worker; callbacks come there, never inline. */
#pragma once
#include "io/pg.h"
#include "net/worker.h"

struct session_feed_options {
    struct worker *worker;
    struct pg *pg;
    const struct pg_statements *statements;
    uint64_t access_ttl;                           /* ms an access token lives */
    void (*on_ended)(void *arg, const char *sid);  /* perhaps more than once */
    void (*on_complete)(void *arg, bool complete); /* whether all that ended have been told */
    void *arg;
};

struct session_feed *session_feed_new(const struct session_feed_options *options); /* copies */
void session_feed_free(struct session_feed *feed);                                 /* after its pg */
