#include "fleet/session_feed.h"
#include "base/mem.h"
#include <stdio.h>
#include <stdlib.h>

enum { RETRY = 500 };

struct session_feed {
    struct session_feed_options options;
    struct pg_listener listener;
    bool heard;     /* notifications arrive */
    unsigned asked; /* questions for those that ended before, not yet answered */
    struct timer retry;
};

static void ask(struct session_feed *feed);

static void on_recent(void *arg, const char *err, const PGresult *result)
{
    struct session_feed *feed = arg;
    const struct session_feed_options *options = &feed->options;
    feed->asked--;
    if (err != NULL) {
        timer_set(options->worker->timers, &feed->retry, RETRY);
        return;
    }
    for (int i = 0; i < PQntuples(result); i++)
        options->on_ended(options->arg, PQgetvalue(result, i, 0));
    if (feed->heard && feed->asked == 0) /* an answer from before the last LISTEN proves nothing */
        options->on_complete(options->arg, true);
}

static void ask(struct session_feed *feed)
{
    char life[32];
    const char *seconds = life;
    snprintf(life, sizeof(life), "%llu", (unsigned long long)(feed->options.access_ttl / 1000 + 60));
    feed->asked++;
    pg_query(feed->options.pg, pg_statement(feed->options.statements, "sessions_revoked_recently"), 1,
             &seconds, on_recent, feed);
}

static void on_retry(struct timer *timer)
{
    ask(H2O_STRUCT_FROM_MEMBER(struct session_feed, retry, timer));
}

static void on_connected(struct pg_listener *listener)
{
    struct session_feed *feed = listener->arg;
    feed->heard = true;
    ask(feed);
}

static void on_notify(struct pg_listener *listener, const char *payload)
{
    const struct session_feed_options *options = &((struct session_feed *)listener->arg)->options;
    options->on_ended(options->arg, payload);
}

static void on_lost(struct pg_listener *listener)
{
    struct session_feed *feed = listener->arg;
    feed->heard = false;
    feed->options.on_complete(feed->options.arg, false);
}

struct session_feed *session_feed_new(const struct session_feed_options *options)
{
    struct session_feed *feed = x_new(struct session_feed);
    feed->options = *options;
    feed->retry.fire = on_retry;
    feed->listener = (struct pg_listener){.statement = pg_statement(options->statements, "sessions_listen"),
                                          .on_connected = on_connected,
                                          .on_notify = on_notify,
                                          .on_lost = on_lost,
                                          .arg = feed};
    pg_listen(options->pg, &feed->listener);
    return feed;
}

void session_feed_free(struct session_feed *feed)
{
    timer_cancel(feed->options.worker->timers, &feed->retry);
    free(feed);
}
