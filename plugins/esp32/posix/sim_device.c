/* Performs the client's actions on files and sockets. A restart tears down what a reset would and starts the
 * client anew from what the files say, on the loop's next turn. */
#include "sim_device.h"
#include "sim_fetch.h"
#include "sim_link.h"
#include "sim_slots.h"
#include <errno.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { BACKLOG = 8, TEXT = 4096 };

struct sim_device {
    struct sim_loop *loop;
    struct sim_options options;
    struct sim_slots slots;
    struct otad_client client;
    struct sim_link *link;
    struct sim_fetch *fetch;
    char *ca_file;
    bool restart, dead;       /* dead: does nothing more */
    const char *reset_reason; /* of the restart under way */
    struct sim_timer timer;   /* when to come again */
    uint64_t written, cut_at; /* cut_at: bytes of this download until its connection breaks; 0: never */
    uint32_t ticket;          /* of the status sent last */
    enum otad_state sent, told, shown;
    unsigned statuses;
    int shown_progress;
    char *backlog[BACKLOG]; /* log lines from before the connection */
    unsigned backlog_count;
};

static void event(struct sim_device *device, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void event(struct sim_device *device, const char *format, ...)
{
    char text[512];
    va_list args;
    if (!device->options.on_event) {
        return;
    }
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    device->options.on_event(device->options.arg, text);
}

static void pump(struct sim_device *device);

static void wake_at(struct sim_device *device, uint64_t at)
{
    sim_timers_set(sim_loop_timers(device->loop), &device->timer, at);
}

/* --- what happened --- */

static void on_up(void *arg)
{
    struct sim_device *device = arg;
    otad_client_connected(&device->client, sim_loop_now());
    for (unsigned i = 0; i < device->backlog_count; i++) {
        sim_link_log(device->link, device->backlog[i]);
        free(device->backlog[i]);
    }
    device->backlog_count = 0;
    pump(device);
}

static void on_down(void *arg, const char *why)
{
    struct sim_device *device = arg;
    event(device, "mqtt: %s", why);
    otad_client_disconnected(&device->client, sim_loop_now());
    wake_at(device, device->dead ? UINT64_MAX : 0); /* by the loop: this may have come out of an action */
}

static void on_offer(void *arg, const void *message, size_t len)
{
    struct sim_device *device = arg;
    event(device, len ? "offer received" : "offer cleared");
    otad_client_offer(&device->client, sim_loop_now(), message, len);
    pump(device);
}

static void report(struct sim_device *device, bool acknowledged)
{
    if (device->options.on_report) {
        device->options.on_report(device->options.arg, &device->client, acknowledged);
    }
}

static void on_status_acked(void *arg)
{
    struct sim_device *device = arg;
    device->told = device->sent;
    device->statuses++;
    otad_client_published(&device->client, sim_loop_now(), device->ticket);
    report(device, true);
    pump(device);
}

static const struct sim_link_events link_events = {on_up, on_down, on_offer, on_status_acked};

static void hang_up(struct sim_device *device)
{
    if (device->fetch) {
        sim_fetch_drop(device->fetch);
    }
    device->fetch = NULL;
}

static void on_response(void *arg, int status, int64_t start, int64_t total)
{
    struct sim_device *device = arg;
    otad_client_response(&device->client, sim_loop_now(), status, start, total);
    pump(device);
}

static void on_data(void *arg, const void *data, size_t len)
{
    struct sim_device *device = arg;
    bool cut = device->cut_at > 0 && len >= device->cut_at;
    len = cut ? (size_t)device->cut_at : len;
    device->cut_at -= device->cut_at ? len : 0;
    otad_client_data(&device->client, sim_loop_now(), data, len);
    pump(device);
    if (cut && device->fetch) {
        hang_up(device);
        otad_client_closed(&device->client, sim_loop_now(), "connection reset");
        pump(device);
    }
}

static void on_closed(void *arg, const char *why)
{
    struct sim_device *device = arg;
    device->fetch = NULL;
    otad_client_closed(&device->client, sim_loop_now(), why);
    pump(device);
}

static const struct sim_fetch_events fetch_events = {on_response, on_data, on_closed};

/* --- what to do --- */

static void restart(struct sim_device *device, const char *reason)
{
    device->restart = true;
    device->reset_reason = reason;
}

static void die(struct sim_device *device)
{
    event(device, "power lost after %llu bytes", (unsigned long long)device->written);
    if (!device->options.on_death) {
        _exit(137);
    }
    device->dead = true;
    hang_up(device);
    device->options.on_death(device->options.arg);
}

static int32_t write_slot(struct sim_device *device, const struct otad_action *action)
{
    uint64_t limit = device->options.die_after;
    size_t len = action->len;
    bool last = limit > 0 && device->written + len >= limit;
    if (last) {
        len = (size_t)(limit - device->written);
    }
    int32_t code = sim_slots_write(&device->slots, action->offset, action->data, len);
    device->written += len;
    if (last) {
        die(device);
    }
    return code;
}

static void publish_status(struct sim_device *device, uint32_t ticket)
{
    char text[TEXT];
    struct otad_client *client = &device->client;
    if (!otad_client_status(client, sim_loop_now(), &device->options.vitals, text, sizeof text)) {
        return;
    }
    int progress = client->report.progress;
    device->ticket = ticket;
    device->sent = client->report.state;
    if (device->sent != device->shown ||
        (progress != device->shown_progress && device->sent == OTAD_STATE_DOWNLOADING)) {
        device->shown = device->sent;
        device->shown_progress = progress;
        if (device->sent == OTAD_STATE_DOWNLOADING) {
            event(device, "status: downloading, %d %%", progress);
        } else if (device->sent != OTAD_STATE_NONE) {
            event(device, "status: %s", otad_state_name(device->sent));
        }
    }
    sim_link_status(device->link, text);
    report(device, false);
}

static void publish_log(struct sim_device *device, const char *level, const char *message)
{
    char text[512];
    event(device, "%s", message);
    if (!otad_client_log(&device->client, sim_loop_now(), level, message, text, sizeof text) ||
        (device->link && sim_link_log(device->link, text)) || device->backlog_count == BACKLOG) {
        return;
    }
    device->backlog[device->backlog_count++] = strdup(text);
}

static void selftest(struct sim_device *device)
{
    switch (device->options.selftest) {
    case SIM_SELFTEST_OK:
        otad_client_selftest(&device->client, sim_loop_now(), NULL);
        return;
    case SIM_SELFTEST_FAIL:
        otad_client_selftest(&device->client, sim_loop_now(), "the self-test failed");
        return;
    case SIM_SELFTEST_CRASH:
        event(device, "crashed in the self-test");
        restart(device, "panic");
        return;
    }
}

static void connect_link(struct sim_device *device)
{
    char will[128];
    if (otad_client_will(&device->client, will, sizeof will)) {
        sim_link_connect(device->link, will);
    }
}

static void fetch_start(struct sim_device *device, const struct otad_action *action)
{
    const struct sim_options *options = &device->options;
    event(device, "GET %s from byte %u", action->text, action->offset);
    device->cut_at = options->cut_after ? options->cut_after(options->arg) : 0;
    device->fetch = sim_fetch_start(device->loop, action->text, action->offset, options->registration->ca,
                                    options->max_rate, &fetch_events, device);
    if (!device->fetch) {
        abort();
    }
}

/* The actions that are answered at once. */
static int32_t perform_answered(struct sim_device *device, const struct otad_action *action)
{
    struct sim_slots *slots = &device->slots;
    switch (action->act) {
    case OTAD_SAVE:
        return sim_slots_save(slots, action->copy, action->data, action->len);
    case OTAD_BEGIN:
        return sim_slots_begin(slots, action->offset);
    case OTAD_WRITE:
        return write_slot(device, action);
    case OTAD_READ:
        return sim_slots_read(slots, action->offset, action->buffer, action->len);
    case OTAD_END:
        return sim_slots_end(slots);
    case OTAD_SET_BOOT:
        return sim_slots_set_boot(slots);
    case OTAD_CONFIRM:
        return sim_slots_confirm(slots);
    case OTAD_ROLLBACK: {
        int32_t code = sim_slots_rollback(slots);
        if (code == 0) {
            restart(device, "software");
        }
        return code;
    }
    default:
        return 0;
    }
}

static void perform(struct sim_device *device, const struct otad_action *action)
{
    switch (action->act) {
    case OTAD_WAIT:
        return;
    case OTAD_CONNECT:
        connect_link(device);
        return;
    case OTAD_STATUS:
        publish_status(device, action->ticket);
        return;
    case OTAD_LOG:
        publish_log(device, action->level, action->text);
        return;
    case OTAD_GET:
        fetch_start(device, action);
        return;
    case OTAD_HANGUP:
        hang_up(device);
        return;
    case OTAD_ABANDON:
        sim_slots_abandon(&device->slots);
        return;
    case OTAD_SELFTEST:
        selftest(device);
        return;
    case OTAD_REBOOT:
        restart(device, "software");
        return;
    default: {
        int32_t code = perform_answered(device, action);
        if (!device->dead && !device->restart) {
            otad_client_done(&device->client, sim_loop_now(), code);
        }
    }
    }
}

static void pump(struct sim_device *device)
{
    struct otad_action action;
    while (!device->dead && !device->restart) {
        uint64_t now = sim_loop_now();
        otad_client_poll(&device->client, now, &action);
        if (action.act == OTAD_WAIT) {
            wake_at(device, now + action.wait_ms);
            return;
        }
        perform(device, &action);
    }
    wake_at(device, device->dead ? UINT64_MAX : 0);
}

/* --- power --- */

static void stop(struct sim_device *device)
{
    hang_up(device);
    sim_slots_abandon(&device->slots);
    if (device->link) {
        sim_link_free(device->link);
    }
    device->link = NULL;
}

/* False: there is no image in the slot that runs. */
static bool start_image(struct sim_device *device, struct otad_image *image)
{
    *image = (struct otad_image){.version = "0.0.0"};
    sim_slots_boot(&device->slots);
    bool present = sim_slots_image(&device->slots, device->slots.running, image);
    if (device->options.on_boot) {
        device->options.on_boot(device->options.arg, present ? image : NULL);
    }
    return present;
}

static void boot(struct sim_device *device, const char *reset_reason)
{
    struct sim_slots *slots = &device->slots;
    struct otad_image image;
    uint8_t copies[2][OTAD_RECORD_SIZE];
    bool present = start_image(device, &image);
    while (slots->state[slots->running] == SIM_BOOT_PENDING_VERIFY && device->options.crash_after_boot > 0) {
        device->options.crash_after_boot--;
        event(device, "crashed right after the boot of slot %d", slots->running);
        reset_reason = "panic";
        present = start_image(device, &image);
    }
    enum sim_boot_state other = slots->state[1 - slots->running];
    struct otad_boot state = {.version = image.version,
                              .elf_sha256 = present ? image.elf_sha256 : NULL,
                              .reset_reason = reset_reason,
                              .slot = (uint8_t)slots->running,
                              .next = (uint8_t)(1 - slots->running),
                              .pending_verify = slots->state[slots->running] == SIM_BOOT_PENDING_VERIFY,
                              .nonce = randombytes_random()};
    if (other == SIM_BOOT_INVALID || other == SIM_BOOT_ABORTED) {
        state.other = OTAD_SLOT_BAD;
    }
    for (int i = 0; i < 2; i++) {
        state.copy_lens[i] = sim_slots_load(slots, i, copies[i], sizeof copies[i]);
        state.copies[i] = copies[i];
    }
    event(device, "boot: slot %d, %s, image %s", slots->running,
          sim_slots_state_name(slots->state[slots->running]), image.version);
    device->link =
        sim_link_new(device->loop, device->options.registration, device->ca_file, &link_events, device);
    uint64_t now = sim_loop_now();
    otad_client_init(&device->client, &device->options.config, &state, now);
    otad_client_clock(&device->client, now, (uint64_t)time(NULL));
}

static void on_due(void *arg)
{
    struct sim_device *device = arg;
    if (device->restart && device->link) {
        stop(device);
        wake_at(device, sim_loop_now() + device->options.boot_time);
        return;
    }
    if (device->restart) {
        device->restart = false;
        boot(device, device->reset_reason);
    }
    pump(device);
}

static const char *write_ca(struct sim_device *device)
{
    const char *pem = device->options.registration->ca;
    if (!pem || !device->options.registration->tls) {
        return NULL;
    }
    if (asprintf(&device->ca_file, "%s/ca.pem", device->slots.dir) < 0) {
        abort();
    }
    FILE *file = fopen(device->ca_file, "we");
    if (!file) {
        return "cannot write the CA into the state directory";
    }
    bool good = fputs(pem, file) >= 0;
    return fclose(file) == 0 && good ? NULL : "cannot write the CA into the state directory";
}

struct sim_device *sim_device_new(struct sim_loop *loop, const struct sim_options *options,
                                  const char **error)
{
    struct sim_device *device = calloc(1, sizeof *device);
    if (!device || sodium_init() < 0) {
        abort();
    }
    device->loop = loop;
    device->options = *options;
    struct otad_trust *trust = &device->options.config.trust;
    uint32_t slot_size = trust->slot_size;
    *trust = options->registration->trust;
    trust->slot_size = slot_size;
    trust->allow_http = true;
    *error = sim_slots_open(&device->slots, options->state, slot_size, options->initial);
    if (!*error) {
        *error = write_ca(device);
    }
    if (*error) {
        int cause = errno;
        sim_slots_close(&device->slots);
        free(device->ca_file);
        free(device);
        errno = cause;
        return NULL;
    }
    device->timer = (struct sim_timer){.on_due = on_due, .arg = device};
    boot(device, options->reset_reason ? options->reset_reason : "power_on");
    wake_at(device, 0);
    return device;
}

void sim_device_free(struct sim_device *device)
{
    wake_at(device, UINT64_MAX);
    stop(device);
    sim_slots_close(&device->slots);
    for (unsigned i = 0; i < device->backlog_count; i++) {
        free(device->backlog[i]);
    }
    free(device->ca_file);
    free(device);
}

void sim_device_goodbye(struct sim_device *device)
{
    char will[128];
    device->dead = true; /* nothing may be said after it */
    device->restart = false;
    wake_at(device, UINT64_MAX);
    if (!device->link || !otad_client_will(&device->client, will, sizeof will) ||
        !sim_link_status(device->link, will)) {
        return;
    }
    unsigned before = device->statuses;
    for (uint64_t until = sim_loop_now() + 2000; device->statuses == before && sim_loop_now() < until;) {
        sim_loop_turn(device->loop, 50);
    }
}

enum otad_state sim_device_told(const struct sim_device *device, unsigned *statuses)
{
    *statuses = device->statuses;
    return device->told;
}
