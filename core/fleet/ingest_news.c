/* What the live feed hears of ingest: status once it is committed, log lines once they are written. Nothing
 * is made where nobody listens. */
#include "base/buffer.h"
#include "base/mem.h"
#include "fleet/ingest_private.h"
#include <stdlib.h>
#include <string.h>

static bool is_written(const struct entry *entry, uint64_t seq)
{
    return seq > entry->committed && seq <= entry->sent;
}

static void put_telemetry(struct buffer *out, const struct entry *entry)
{
    bool any = false;
    for (unsigned i = 0; i < entry->samples; i++) {
        const struct sample *sample = entry->sample[i];
        if (!is_written(entry, sample->value.seq))
            continue;
        buffer_puts(out, any ? ",\"" : "\"");
        buffer_put(out, sample->name, sample->name_len);
        buffer_puts(out, "\":");
        buffer_put(out, sample->value.s, sample->value.len);
        any = true;
    }
}

/* A will that stands was answered with a row, and is in shown_online. */
static bool is_online(const struct entry *entry)
{
    return is_written(entry, entry->status_seq) && !is_written(entry, entry->will.seq) ? entry->online
                                                                                       : entry->shown_online;
}

static void put_time(struct buffer *out, const char *name, double at)
{
    buffer_printf(out, ",\"%s\":", name);
    feed_put_time(out, at);
}

static void publish(struct ingest *ingest, int32_t device, int32_t owner, const struct buffer *data)
{
    uint64_t topics[3];
    size_t count = feed_device_topics(device, owner, topics);
    feed_publish(ingest->options.feed, FEED_ON_STATUS, topics, count, data->data, data->len);
}

bool ingest_news_wanted(const struct ingest *ingest)
{
    return ingest->options.feed != NULL && feed_watched(ingest->options.feed);
}

void ingest_news_status(struct ingest *ingest, struct entry *entry)
{
    uint64_t topics[3];
    size_t count = feed_device_topics(entry->device, entry->owner, topics);
    bool said = is_written(entry, entry->at_seq) || entry->changed;
    entry->changed = false;
    /* The owner comes with the first row; a device that has none does not exist. */
    if (!said || entry->owner == 0 || !feed_wanted(ingest->options.feed, topics, count))
        return;
    struct buffer *out = &ingest->news;
    out->len = 0;
    buffer_printf(out, "{\"device_id\":%d,\"status\":\"%s\"", entry->device,
                  is_online(entry) ? "online" : "offline");
    if (is_written(entry, entry->at_seq))
        put_time(out, "last_seen", entry->at);
    if (entry->version.s != NULL && entry->version_since <= entry->sent) {
        buffer_puts(out, ",\"firmware_version\":");
        buffer_put_json(out, entry->version.s, entry->version.len);
    }
    buffer_puts(out, ",\"telemetry\":{");
    put_telemetry(out, entry);
    buffer_puts(out, "}}");
    publish(ingest, entry->device, entry->owner, out);
}

void ingest_news_swept(struct ingest *ingest, int32_t device, int32_t owner)
{
    if (!ingest_news_wanted(ingest))
        return;
    ingest->news.len = 0;
    buffer_printf(&ingest->news, "{\"device_id\":%d,\"status\":\"offline\",\"telemetry\":{}}", device);
    publish(ingest, device, owner, &ingest->news);
}

void ingest_news_log(struct ingest *ingest, const struct log_line *line)
{
    uint64_t topic = FEED_TOPIC(FEED_DEVICE, line->device);
    if (ingest->options.feed == NULL || !feed_wanted(ingest->options.feed, &topic, 1))
        return;
    struct buffer *out = &ingest->news;
    out->len = 0;
    buffer_printf(out, "{\"device_id\":%d", line->device);
    put_time(out, "at", line->at);
    buffer_puts(out, ",\"level\":");
    buffer_put_json(out, line->level, strlen(line->level));
    buffer_puts(out, ",\"message\":");
    buffer_put_json(out, line->message, line->len);
    buffer_putc(out, '}');
    feed_publish(ingest->options.feed, FEED_ON_LOG, &topic, 1, out->data, out->len);
}
