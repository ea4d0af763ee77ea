/* The outbox of offers: publishes each row of `offers` that is not yet published, retained on
 * device/<id>/ota, marks it once the broker has acknowledged, and with it its update as offered. On worker 0;
 * looks each second, and when poked. At each connect to a broker all offers are published anew.
 *
 * Any number of instances may run it: publishing twice does no harm, and one that published something out of
 * date publishes the present state behind it. */
#pragma once
#include "fleet/update_news.h"
#include "io/mqtt.h"
#include "io/pg.h"

struct offers;

struct offers_options {
    struct worker *worker;
    struct pg *pg;
    const struct pg_statements *statements;
    struct mqtt *mqtt;
    struct update_news *news; /* hears of updates that were offered; or NULL */
};

struct offers *offers_new(const struct offers_options *options);
/* After mqtt_stop() and pg_free(), with the loop no longer running. */
void offers_free(struct offers *offers);

/* A row was written and committed. Any thread; never blocks. */
void offers_poke(struct offers *offers);

/* On worker 0, from mqtt_options.on_connect. */
void offers_reconnected(struct offers *offers);

void offers_stop(struct offers *offers);       /* begins nothing more */
bool offers_idle(const struct offers *offers); /* nothing is under way */
