/* One download over libcurl: http and https, no redirects, the server's certificate checked. */
#pragma once
#include "sim_loop.h"

struct sim_fetch;
struct sim_fetch_events {
    void (*on_response)(void *arg, int status, int64_t start, int64_t total);
    void (*on_data)(void *arg, const void *data, size_t len);
    void (*on_closed)(void *arg, const char *why); /* NULL: orderly; the fetch is freed afterwards */
};

/* ca: PEM text or NULL for the system's certificates; max_rate: bytes a second, 0 unlimited. Never calls back
 * before it has returned. NULL: out of memory. */
struct sim_fetch *sim_fetch_start(struct sim_loop *loop, const char *url, uint32_t offset, const char *ca,
                                  int64_t max_rate, const struct sim_fetch_events *events, void *arg);
void sim_fetch_drop(struct sim_fetch *fetch); /* no event follows; fine within one */

void sim_fetch_done(CURL *easy, CURLcode result); /* for the loop */
