#include "base/mem.h"
#include "policy/host_private.h"
#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    LOOK_EVERY = 100,               /* ms */
    MOST_CHECK = CHECK_TIME + 1000, /* the same while it checks a source */
    MOST_BATCH = 2000,              /* ms for all devices of a batch */
    MOST_ENDED = 8                  /* processes a batch may cost */
};

static const char *const reasons[] = {
    [OVERRAN] = "ran longer than 10 ms",
    [CRASHED] = "the process that ran the policy ended",
    [LATE] = "not asked yet: the policy took too long for other devices",
};

struct host *host_new(void)
{
    struct host *host = x_new(struct host);
    pthread_mutex_init(&host->lock, NULL);
    host->most_busy = MOST_BUSY;
    return host;
}

static void stop(struct host *host)
{
    if (host->pid == 0)
        return;
    kill(host->pid, SIGKILL);
    while (waitpid(host->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    close(host->fd);
    host->pid = 0;
    host->in.len = host->taken = 0;
    memset(host->slots, 0, sizeof(host->slots));
    host->next_slot = 0;
}

void host_close(struct host *host)
{
    host->closed = true;
}

void host_free(struct host *host)
{
    if (host == NULL)
        return;
    stop(host);
    buffer_free(&host->in);
    pthread_mutex_destroy(&host->lock);
    free(host);
}

bool host_start(struct host *host)
{
    char *arguments[] = {"otad", "policy-host", NULL}, *environment[] = {NULL};
    struct timeval patience = {MOST_BATCH / 1000, 0};
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    int pair[2];
    if (host->pid != 0)
        return true;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
        return false;
    setsockopt(pair[0], SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, pair[1], HOST_FD);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    int error = posix_spawn(&host->pid, "/proc/self/exe", &files, &attributes, arguments, environment);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&files);
    close(pair[1]);
    if (error != 0) {
        close(pair[0]);
        host->pid = 0;
        return false;
    }
    host->fd = pair[0];
    host->counts.started++;
    if (clock_getcpuclockid(host->pid, &host->clock) != 0)
        host->clock = CLOCK_MONOTONIC; /* ended already: reading will tell */
    return true;
}

bool host_send(struct host *host, const struct buffer *frames)
{
    for (size_t sent = 0; sent < frames->len;) {
        ssize_t n = send(host->fd, frames->data + sent, frames->len - sent, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR)
            return false;
        sent += n > 0 ? (size_t)n : 0;
    }
    return true;
}

static bool answer_zone(struct host *host, struct frame_reader *fields)
{
    struct buffer file = {0}, answer = {0};
    struct policy_text name = frame_take_text(fields);
    bool there = !fields->bad && zones_name(name.text) && zones_load_file(NULL, name.text, &file);
    size_t begin = frame_begin(&answer, FRAME_ZONE);
    frame_put_number(&answer, there);
    frame_put_text(&answer, (struct policy_text){file.data, file.len});
    frame_end(&answer, begin);
    bool sent = host_send(host, &answer);
    buffer_free(&file);
    buffer_free(&answer);
    return sent;
}

/* More bytes of the process; `until` is a time of CLOCK_MONOTONIC in ms. */
static enum end read_more(struct host *host, int64_t until)
{
    char block[64 * 1024];
    int64_t busy = host_clock(host->clock);
    for (;;) {
        struct pollfd ready = {.fd = host->fd, .events = POLLIN};
        int n = poll(&ready, 1, LOOK_EVERY);
        if (n > 0) {
            ssize_t len = recv(host->fd, block, sizeof(block), 0);
            if (len <= 0)
                return CRASHED;
            buffer_put(&host->in, block, (size_t)len);
            return ANSWERED;
        }
        if (host_clock(host->clock) - busy > host->most_busy)
            return OVERRAN;
        if (host_clock(CLOCK_MONOTONIC) > until || host->closed)
            return LATE;
        if (host_is_unwanted(host))
            return UNWANTED;
    }
}

enum end host_next(struct host *host, enum frame_kind wanted, int64_t until, struct frame_reader *fields)
{
    for (;;) {
        enum frame_kind kind;
        size_t size = frame_next(host->in.data + host->taken, host->in.len - host->taken, &kind, fields);
        if (size == 0) {
            if (host->taken != 0) {
                host->in.len -= host->taken;
                memmove(host->in.data, host->in.data + host->taken, host->in.len);
                host->taken = 0;
            }
            enum end end = read_more(host, until);
            if (end != ANSWERED)
                return end;
            continue;
        }
        if (size == SIZE_MAX)
            return CRASHED;
        host->taken += size;
        if (kind == wanted)
            return ANSWERED;
        if (kind == FRAME_TEST_BEGINS && host_clock(CLOCK_MONOTONIC) < until) {
            host->test = frame_take_number(fields);
            continue;
        }
        if (kind == FRAME_OVERRUN)
            return OVERRAN;
        if (kind != FRAME_ZONE_WANTED || !answer_zone(host, fields))
            return CRASHED;
    }
}

void host_count_end(struct host *host, enum end end)
{
    host->counts.overran += end == OVERRAN || end == LATE;
    host->counts.crashed += end == CRASHED;
    stop(host);
}

static void hash_text(crypto_hash_sha256_state *state, const char *text, size_t len)
{
    crypto_hash_sha256_update(state, (const unsigned char *)&len, sizeof(len));
    crypto_hash_sha256_update(state, (const unsigned char *)text, len);
}

static void make_key(const struct policy_source *source, unsigned char *key)
{
    crypto_hash_sha256_state state;
    crypto_hash_sha256_init(&state);
    hash_text(&state, source->name, strlen(source->name));
    hash_text(&state, source->source.text, source->source.len);
    for (size_t i = 0; i < source->library_count; i++) {
        const struct policy_library *library = &source->libraries[i];
        hash_text(&state, library->name, strlen(library->name));
        hash_text(&state, library->source.text, library->source.len);
    }
    crypto_hash_sha256_final(&state, key);
}

static void put_own_problem(struct buffer *json, const struct policy_source *source, enum check_kind kind,
                            enum end end)
{
    struct problems problems = {0};
    char *file = x_printf(kind == CHECK_POLICY ? "scripts/policies/%s.lua" : "scripts/%s.lua", source->name);
    problems_add(&problems, file, 0, reasons[end == CRASHED ? CRASHED : OVERRAN]);
    buffer_puts(json, "{\"problems\":");
    problems_put_json(&problems, json);
    problems_free(&problems);
    free(file);
}

/* Sends a request that is answered by JSON, starting the process if need be. */
static enum end request_json(struct host *host, const struct buffer *request, struct frame_reader *fields)
{
    enum end end = CRASHED;
    for (int i = 0; i < 2 && end == CRASHED; i++) { /* one that idled may be gone */
        if (host_start(host) && host_send(host, request))
            end = host_next(host, FRAME_JSON, host_clock(CLOCK_MONOTONIC) + MOST_BATCH, fields);
        if (end != ANSWERED)
            host_count_end(host, end);
    }
    return end;
}

/* Loads it into the slot; appends what host_load() does. */
static bool load(struct host *host, const struct policy_source *source, size_t slot, const unsigned char *key,
                 struct buffer *json)
{
    static const char fine[] = "{\"problems\":[]";
    struct buffer request = {0};
    struct frame_reader fields;
    size_t begin = frame_begin(&request, FRAME_LOAD);
    frame_put_number(&request, slot);
    frame_put_source(&request, source);
    frame_end(&request, begin);
    host->slots[slot].used = false;
    enum end end = request_json(host, &request, &fields);
    buffer_free(&request);
    if (end != ANSWERED) {
        put_own_problem(json, source, CHECK_POLICY, end);
        buffer_puts(json, ",\"declaration\":null}");
        return false;
    }
    struct policy_text answer = frame_take_text(&fields);
    buffer_put(json, answer.text, answer.len);
    host->slots[slot].used = answer.len > sizeof(fine) && memcmp(answer.text, fine, sizeof(fine) - 1) == 0;
    memcpy(host->slots[slot].key, key, sizeof(host->slots[slot].key));
    return host->slots[slot].used;
}

/* Where the policy is loaded, or is to be: *slot. */
static bool find_slot(struct host *host, const unsigned char *key, size_t *slot)
{
    for (*slot = 0; *slot < HOST_SLOTS; ++*slot) {
        if (host->pid != 0 && host->slots[*slot].used &&
            memcmp(host->slots[*slot].key, key, sizeof(host->slots[*slot].key)) == 0)
            return true;
    }
    *slot = host->next_slot++ % HOST_SLOTS;
    return false;
}

bool host_load(struct host *host, const struct policy_source *source, struct buffer *json)
{
    unsigned char key[crypto_hash_sha256_BYTES];
    size_t slot;
    make_key(source, key);
    pthread_mutex_lock(&host->lock);
    find_slot(host, key, &slot);
    bool ok = load(host, source, slot, key, json);
    pthread_mutex_unlock(&host->lock);
    return ok;
}

bool host_check(struct host *host, const struct policy_source *source, enum check_kind kind,
                struct buffer *json)
{
    static const char error[] = "\"severity\":\"error\""; /* no quotes stand in texts as they are */
    struct buffer request = {0};
    struct frame_reader fields;
    bool sound = false;
    size_t begin = frame_begin(&request, FRAME_CHECK);
    frame_put_number(&request, kind);
    frame_put_source(&request, source);
    frame_end(&request, begin);
    pthread_mutex_lock(&host->lock);
    host->most_busy = MOST_CHECK;
    enum end end = request_json(host, &request, &fields);
    host->most_busy = MOST_BUSY;
    if (end == ANSWERED) {
        struct policy_text answer = frame_take_text(&fields);
        buffer_put(json, answer.text, answer.len);
        sound = memmem(answer.text, answer.len, error, sizeof(error) - 1) == NULL;
    } else {
        put_own_problem(json, source, kind, end);
        buffer_putc(json, '}');
    }
    pthread_mutex_unlock(&host->lock);
    buffer_free(&request);
    return sound;
}

/* "line 3: unknown field ..." of the first problem. */
static void fail_with_problem(struct policy_verdict *verdict, struct buffer *json)
{
    json_t *answer = json_loadb(json->data, json->len, 0, NULL);
    json_t *first = json_array_get(json_object_get(answer, "problems"), 0);
    const char *message = json_string_value(json_object_get(first, "message"));
    int line = (int)json_integer_value(json_object_get(first, "line"));
    char *text = x_printf("the policy does not load: %s", message == NULL ? "" : message);
    policy_fail(verdict, line, text);
    free(text);
    json_decref(answer);
}

struct batch {
    enum frame_kind kind;
    const struct policy_source *source;
    const struct policy_moment *moment;
    const struct policy_text *arguments;
    size_t count, done;
    struct policy_verdict *verdicts;
    int64_t until;
};

/* Asks for all that are not done and fit into one request. */
static enum end ask_rest(struct host *host, struct batch *batch, size_t slot)
{
    struct buffer request = {0};
    struct frame_reader fields;
    enum end end = ANSWERED;
    size_t bytes = 0, until = batch->done;
    while (until < batch->count && (until == batch->done || bytes < FRAME_LARGEST / 2))
        bytes += batch->arguments[until++].len;
    size_t begin = frame_begin(&request, batch->kind);
    frame_put_number(&request, slot);
    frame_put_moment(&request, batch->moment);
    if (batch->kind == FRAME_ADMIT)
        frame_put_number(&request, until - batch->done);
    for (size_t i = batch->done; i < until; i++)
        frame_put_text(&request, batch->arguments[i]);
    frame_end(&request, begin);
    bool sent = host_send(host, &request);
    buffer_free(&request);
    if (!sent)
        return CRASHED;
    while (batch->done < until && (end = host_next(host, FRAME_VERDICT, batch->until, &fields)) == ANSWERED) {
        batch->verdicts[batch->done] = frame_take_verdict(&fields);
        if (fields.bad)
            return CRASHED;
        batch->done++;
        if (host_clock(CLOCK_MONOTONIC) > batch->until && batch->done < batch->count)
            return LATE;
    }
    return end;
}

/* Not the policy's fault: so they do not count as `failed`. */
static void hold_rest(struct batch *batch, const char *reason, double again)
{
    struct policy_verdict later = {.answer = POLICY_HOLD, .again = again};
    memcpy(later.reason, reason, strlen(reason));
    while (batch->done < batch->count)
        batch->verdicts[batch->done++] = later;
}

static void ask(struct host *host, struct batch *batch)
{
    unsigned char key[crypto_hash_sha256_BYTES];
    make_key(batch->source, key);
    batch->until = host_clock(CLOCK_MONOTONIC) + MOST_BATCH;
    for (int ended = 0; batch->done < batch->count;) {
        struct buffer json = {0};
        size_t slot, before = batch->done;
        bool idled = find_slot(host, key, &slot);
        if (!host_start(host)) {
            hold_rest(batch, "no process can be started to run the policy", 10);
            return;
        }
        if (!idled && !load(host, batch->source, slot, key, &json)) {
            for (; batch->done < batch->count; batch->done++)
                fail_with_problem(&batch->verdicts[batch->done], &json);
        }
        buffer_free(&json);
        if (batch->done == batch->count)
            return; /* it does not load */
        enum end end = ask_rest(host, batch, slot);
        if (end == ANSWERED)
            continue;
        host_count_end(host, end);
        if (end == CRASHED && idled && batch->done == before)
            continue; /* gone since it was asked last; the next one is new */
        if (end != LATE)
            policy_fail(&batch->verdicts[batch->done++], 0, reasons[end]);
        if (++ended == MOST_ENDED || end == LATE || host_clock(CLOCK_MONOTONIC) > batch->until)
            hold_rest(batch, reasons[LATE], 1);
    }
}

void host_admit(struct host *host, const struct policy_source *source, const struct policy_moment *moment,
                const struct policy_text *devices, size_t count, struct policy_verdict *verdicts)
{
    struct batch batch = {FRAME_ADMIT, source, moment, devices, count, 0, verdicts, 0};
    pthread_mutex_lock(&host->lock);
    ask(host, &batch);
    pthread_mutex_unlock(&host->lock);
}

void host_advance(struct host *host, const struct policy_source *source, const struct policy_moment *moment,
                  struct policy_text stats, struct policy_verdict *verdict)
{
    struct batch batch = {FRAME_ADVANCE, source, moment, &stats, 1, 0, verdict, 0};
    pthread_mutex_lock(&host->lock);
    ask(host, &batch);
    pthread_mutex_unlock(&host->lock);
}

struct host_counts host_counts(struct host *host)
{
    pthread_mutex_lock(&host->lock);
    struct host_counts counts = host->counts;
    pthread_mutex_unlock(&host->lock);
    return counts;
}
