#include "fleet/update_news.h"
#include "base/mem.h"
#include "io/pg_array.h"
#include <stdlib.h>

enum { MOST = 8192, BATCH = 1024 };

struct update_news {
    struct worker *worker;
    struct feed *feed;
    struct pg *pg;
    const struct pg_statement *statement;
    struct timer timer;
    bool busy;
    size_t count;
    int32_t ids[MOST]; /* what comes while it is full is not told */
};

static int32_t number(const PGresult *result, int row, int column)
{
    return PQgetisnull(result, row, column) ? 0 : (int32_t)atol(PQgetvalue(result, row, column));
}

static void on_looked_up(void *arg, const char *err, const PGresult *result)
{
    struct update_news *news = arg;
    news->busy = false;
    for (int row = 0; err == NULL && row < PQntuples(result); row++) {
        uint64_t topics[4];
        size_t count = feed_device_topics(number(result, row, 0), number(result, row, 1), topics);
        if (!PQgetisnull(result, row, 2))
            topics[count++] = FEED_TOPIC(FEED_ROLLOUT, number(result, row, 2));
        feed_publish(news->feed, FEED_ON_UPDATE, topics, count, PQgetvalue(result, row, 3),
                     (size_t)PQgetlength(result, row, 3));
    }
    if (news->count > 0)
        timer_set(news->worker->timers, &news->timer, 0);
}

static void on_due(struct timer *timer)
{
    struct update_news *news = H2O_STRUCT_FROM_MEMBER(struct update_news, timer, timer);
    struct pg_array ids = {0};
    const char *values[1];
    if (news->busy)
        return;
    pg_array_begin(&ids);
    for (size_t n = 0; news->count > 0 && n < BATCH; n++)
        pg_array_int(&ids, news->ids[--news->count]);
    pg_array_end(&ids);
    values[0] = ids.text;
    news->busy = true;
    pg_query(news->pg, news->statement, 1, values, on_looked_up, news);
    pg_array_free(&ids);
}

void update_news_tell(struct update_news *news, int32_t id)
{
    if (news->count == MOST || !feed_watched(news->feed))
        return;
    news->ids[news->count++] = id;
    if (!news->busy && news->timer.slot == 0)
        timer_set(news->worker->timers, &news->timer, 0);
}

struct update_news *update_news_new(struct worker *worker, struct feed *feed, struct pg *pg,
                                    const struct pg_statements *statements)
{
    struct update_news *news = x_new(struct update_news);
    news->worker = worker;
    news->feed = feed;
    news->pg = pg;
    news->statement = pg_statement(statements, "updates_told");
    news->timer.fire = on_due;
    return news;
}

void update_news_free(struct update_news *news)
{
    timer_cancel(news->worker->timers, &news->timer);
    free(news);
}
