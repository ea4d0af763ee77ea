/* Tells the live feed of updates whose state changed: by their ids, which are gathered, and looked up in one
 * statement once a turn, so that whoever changes updates needs no more than their ids, waits for nothing, and
 * causes nothing while nobody listens. What is told is how the update stands when it is looked up.
 *
 * One a worker, on its thread. */
#pragma once
#include "fleet/feed.h"
#include "io/pg.h"

struct update_news;

struct update_news *update_news_new(struct worker *worker, struct feed *feed, struct pg *pg,
                                    const struct pg_statements *statements);
void update_news_free(struct update_news *news); /* after pg_free() */
void update_news_tell(struct update_news *news, int32_t id);
