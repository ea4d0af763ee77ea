/* Downloads. Everything runs on the loop's thread; a fetch frees itself when it is done or dropped. curl
 * forbids removing a transfer within its own callback: one dropped there fails the callback and is freed by
 * sim_fetch_done. */
#include "sim_fetch.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

enum { CONNECT_TIMEOUT = 15, STALL_TIMEOUT = 30, SLOW_BUFFER = 16 * 1024 };

struct sim_fetch {
    struct sim_loop *loop;
    CURLM *multi;
    CURL *easy;
    const struct sim_fetch_events *events;
    void *arg;
    int64_t start, total; /* as Content-Range says */
    bool answered, calling, dropped;
    int64_t max_rate, received; /* bytes a second, 0: unlimited; bytes handed on */
    uint64_t started;           /* ms, of the first byte */
    struct sim_timer ready;     /* set while curl holds bytes that come too early */
    char error[CURL_ERROR_SIZE];
};

static void fetch_free(struct sim_fetch *fetch)
{
    sim_timers_set(sim_loop_timers(fetch->loop), &fetch->ready, UINT64_MAX);
    curl_multi_remove_handle(fetch->multi, fetch->easy);
    curl_easy_cleanup(fetch->easy);
    free(fetch);
}

/* Tells the answer's head, once. */
static void answer(struct sim_fetch *fetch)
{
    long status = 0;
    curl_off_t length = -1;
    if (fetch->answered) {
        return;
    }
    fetch->answered = true;
    curl_easy_getinfo(fetch->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(fetch->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    fetch->events->on_response(fetch->arg, (int)status, fetch->start, status == 200 ? length : fetch->total);
}

static size_t on_header(char *line, size_t size, size_t count, void *arg)
{
    struct sim_fetch *fetch = arg;
    char text[128];
    snprintf(text, sizeof text, "%.*s", (int)(size * count), line);
    if (strncasecmp(text, "content-range:", 14) == 0 &&
        sscanf(text + 14, " bytes %" SCNd64 "-%*d/%" SCNd64, &fetch->start, &fetch->total) < 1) {
        fetch->start = -1;
    }
    return size * count;
}

/* Bytes have arrived once the rate would have let them: curl's own limit is a mean that begins with a burst.
 */
static bool too_early(struct sim_fetch *fetch, size_t len)
{
    uint64_t now = sim_loop_now();
    if (fetch->max_rate <= 0 || fetch->dropped) {
        return false;
    }
    if (fetch->started == 0) {
        fetch->started = now;
    }
    uint64_t at = fetch->started +
                  (uint64_t)((double)(fetch->received + (int64_t)len) * 1000 / (double)fetch->max_rate);
    if (now < at) {
        sim_timers_set(sim_loop_timers(fetch->loop), &fetch->ready, at);
    }
    return now < at;
}

static size_t on_body(char *data, size_t size, size_t count, void *arg)
{
    struct sim_fetch *fetch = arg;
    fetch->calling = true;
    answer(fetch);
    bool early = too_early(fetch, size * count);
    if (!early && !fetch->dropped) {
        fetch->received += (int64_t)(size * count);
        fetch->events->on_data(fetch->arg, data, size * count);
    }
    fetch->calling = false;
    if (early) {
        return CURL_WRITEFUNC_PAUSE;
    }
    return fetch->dropped ? 0 : size * count;
}

/* What the kernel takes for us is not held back: of that, a slow device has little room. */
static int on_socket(void *arg, curl_socket_t socket, curlsocktype purpose)
{
    setsockopt(socket, SOL_SOCKET, SO_RCVBUF, &(int){SLOW_BUFFER}, sizeof(int));
    return CURL_SOCKOPT_OK;
}

static void on_ready(void *arg)
{
    struct sim_fetch *fetch = arg;
    curl_easy_pause(fetch->easy, CURLPAUSE_CONT); /* may call on_body, which may pause it again */
    if (fetch->dropped) {
        fetch_free(fetch);
    }
}

struct sim_fetch *sim_fetch_start(struct sim_loop *loop, const char *url, uint32_t offset, const char *ca,
                                  int64_t max_rate, const struct sim_fetch_events *events, void *arg)
{
    struct sim_fetch *fetch = calloc(1, sizeof *fetch);
    CURL *easy = curl_easy_init();
    if (!fetch || !easy) {
        free(fetch);
        curl_easy_cleanup(easy);
        return NULL;
    }
    *fetch = (struct sim_fetch){.loop = loop,
                                .multi = sim_loop_curl(loop),
                                .easy = easy,
                                .events = events,
                                .arg = arg,
                                .start = -1,
                                .total = -1,
                                .max_rate = max_rate,
                                .ready = {.on_due = on_ready, .arg = fetch}};
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "otad-device/" OTAD_VERSION);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, fetch);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, fetch->error);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, fetch);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, fetch);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_TIMEOUT);
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, (long)STALL_TIMEOUT);
    if (max_rate > 0) {
        curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, (long)SLOW_BUFFER);
        curl_easy_setopt(easy, CURLOPT_SOCKOPTFUNCTION, on_socket);
    }
    if (ca) {
        struct curl_blob blob = {.data = (void *)(uintptr_t)ca, .len = strlen(ca), .flags = CURL_BLOB_COPY};
        curl_easy_setopt(easy, CURLOPT_CAINFO_BLOB, &blob);
        curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
    }
    if (offset > 0) {
        char range[32];
        snprintf(range, sizeof range, "%" PRIu32 "-", offset);
        curl_easy_setopt(easy, CURLOPT_RANGE, range);
    }
    curl_multi_add_handle(fetch->multi, easy);
    return fetch;
}

void sim_fetch_drop(struct sim_fetch *fetch)
{
    fetch->dropped = true;
    if (!fetch->calling) {
        fetch_free(fetch);
    }
}

void sim_fetch_done(CURL *easy, CURLcode result)
{
    struct sim_fetch *fetch = NULL;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, &fetch);
    fetch->calling = true; /* so that a drop within an event leaves the freeing to us */
    if (!fetch->dropped && result == CURLE_OK) {
        answer(fetch);
    }
    if (!fetch->dropped) {
        const char *why = fetch->error[0] ? fetch->error : curl_easy_strerror(result);
        fetch->events->on_closed(fetch->arg, result == CURLE_OK ? NULL : why);
    }
    fetch_free(fetch);
}
