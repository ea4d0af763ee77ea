/* One round at a time: take, publish, wait for all answers, mark. A round that found work is followed by the
 * next at once, unless nothing of it went through. Worker 0's thread, but for offers_poke(). */
#include "fleet/offers.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/pg_array.h"
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EVERY = 1000 /* ms */, COLUMNS = 3 };

struct offer {
    struct offers *offers;
    char *device, *changed_at;
    bool clearing, published;
};

struct offers {
    struct offers_options options;
    const struct pg_statement *take, *mark, *again;
    struct timer timer;
    struct letter letter;
    atomic_bool poked; /* the letter is under way */
    bool busy, stopping, reset, wanted;
    struct offer *list;
    size_t count, waiting, published;
};

static void start(struct offers *offers);

static void finish(struct offers *offers, bool more)
{
    for (size_t i = 0; i < offers->count; i++) {
        free(offers->list[i].device);
        free(offers->list[i].changed_at);
    }
    free(offers->list);
    offers->list = NULL;
    offers->count = 0;
    offers->busy = false;
    if (offers->stopping)
        return;
    timer_set(offers->options.worker->timers, &offers->timer, more || offers->wanted ? 0 : EVERY);
    offers->wanted = false;
}

static void on_marked(void *arg, const char *err, const PGresult *result)
{
    struct offers *offers = arg;
    if (err == pg_failed)
        log_error("offers were not marked",
                  LOG_STR("error", PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY)));
    for (int row = 0; err == NULL && offers->options.news != NULL && row < PQntuples(result); row++)
        update_news_tell(offers->options.news, (int32_t)atol(PQgetvalue(result, row, 0)));
    finish(offers, err == NULL);
}

static void mark(struct offers *offers)
{
    if (offers->published == 0) {
        finish(offers, false);
        return;
    }
    struct pg_array column[COLUMNS] = {{0}};
    const char *values[COLUMNS];
    for (int i = 0; i < COLUMNS; i++)
        pg_array_begin(&column[i]);
    for (size_t i = 0; i < offers->count; i++) {
        const struct offer *offer = &offers->list[i];
        if (!offer->published)
            continue;
        pg_array_text(&column[0], offer->device, strlen(offer->device));
        pg_array_text(&column[1], offer->changed_at, strlen(offer->changed_at));
        pg_array_bool(&column[2], !offer->clearing);
    }
    for (int i = 0; i < COLUMNS; i++) {
        pg_array_end(&column[i]);
        values[i] = column[i].text;
    }
    pg_query(offers->options.pg, offers->mark, COLUMNS, values, on_marked, offers);
    for (int i = 0; i < COLUMNS; i++)
        pg_array_free(&column[i]);
}

static void on_published(void *arg, const char *err)
{
    struct offer *offer = arg;
    struct offers *offers = offer->offers;
    offer->published = err == NULL;
    offers->published += offer->published;
    if (--offers->waiting == 0)
        mark(offers);
}

static void on_taken(void *arg, const char *err, const PGresult *result)
{
    struct offers *offers = arg;
    size_t count = err == NULL ? (size_t)PQntuples(result) : 0;
    if (count == 0) {
        finish(offers, false);
        return;
    }
    offers->list = x_alloc(count * sizeof(*offers->list));
    offers->count = offers->waiting = count;
    offers->published = 0;
    for (size_t i = 0; i < count; i++) {
        struct offer *offer = &offers->list[i];
        const char *payload = PQgetvalue(result, (int)i, 1);
        char topic[64];
        offer->offers = offers;
        offer->device = x_strdup(PQgetvalue(result, (int)i, 0));
        offer->changed_at = x_strdup(PQgetvalue(result, (int)i, 2));
        offer->clearing = *payload == '\0';
        snprintf(topic, sizeof(topic), "device/%s/ota", offer->device);
        mqtt_publish(offers->options.mqtt, offers->options.worker, topic, payload, strlen(payload), 1, true,
                     on_published, offer);
    }
}

static void on_reset(void *arg, const char *err, const PGresult *result)
{
    struct offers *offers = arg;
    if (err != NULL)
        offers->reset = true;
    finish(offers, err == NULL);
}

static void start(struct offers *offers)
{
    if (offers->busy || offers->stopping)
        return;
    if (!mqtt_connected(offers->options.mqtt)) { /* the connect will start the next round */
        timer_set(offers->options.worker->timers, &offers->timer, EVERY);
        return;
    }
    timer_cancel(offers->options.worker->timers, &offers->timer);
    offers->busy = true;
    if (offers->reset) {
        offers->reset = false;
        pg_query(offers->options.pg, offers->again, 0, NULL, on_reset, offers);
    } else {
        pg_query(offers->options.pg, offers->take, 0, NULL, on_taken, offers);
    }
}

static void on_timer(struct timer *timer)
{
    start(H2O_STRUCT_FROM_MEMBER(struct offers, timer, timer));
}

static void want(struct offers *offers)
{
    offers->wanted = offers->busy;
    start(offers);
}

static void on_poke(struct letter *letter, struct worker *worker)
{
    struct offers *offers = H2O_STRUCT_FROM_MEMBER(struct offers, letter, letter);
    atomic_store(&offers->poked, false);
    want(offers);
}

void offers_poke(struct offers *offers)
{
    if (!atomic_exchange(&offers->poked, true))
        worker_post(offers->options.worker, &offers->letter);
}

void offers_reconnected(struct offers *offers)
{
    offers->reset = true;
    want(offers);
}

struct offers *offers_new(const struct offers_options *options)
{
    struct offers *offers = x_new(struct offers);
    offers->options = *options;
    offers->take = pg_statement(options->statements, "offers_take");
    offers->mark = pg_statement(options->statements, "offers_mark");
    offers->again = pg_statement(options->statements, "offers_again");
    offers->timer.fire = on_timer;
    offers->letter.deliver = on_poke;
    atomic_init(&offers->poked, false);
    timer_set(options->worker->timers, &offers->timer, 0);
    return offers;
}

void offers_stop(struct offers *offers)
{
    offers->stopping = true;
    timer_cancel(offers->options.worker->timers, &offers->timer);
}

bool offers_idle(const struct offers *offers)
{
    return !offers->busy;
}

void offers_free(struct offers *offers)
{
    timer_cancel(offers->options.worker->timers, &offers->timer);
    free(offers->list);
    free(offers);
}
