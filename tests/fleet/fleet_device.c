/* Switching power and radio, the diary, and the modes. Timers switch; what comes out of the device's own
 * calls only sets timers, closes the gate or writes the diary. */
#include "fleet_device.h"
#include "otad_private.h"
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { CUT_MOST = 96 << 10, DIE_MOST = 128 << 10, NAP_RETRY = 200, AWAKE_MOST = 10 };

const char *fleet_mode_name(enum fleet_mode mode)
{
    static const char *const names[] = {"healthy",  "slow",      "lossy",     "cut_off",  "corrupting",
                                        "crashing", "vanishing", "power_cut", "refusing", "sleeping"};
    return names[mode];
}

uint64_t fleet_unix_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

bool fleet_under_way(enum otad_state state)
{
    return state >= OTAD_STATE_ACCEPTED && state <= OTAD_STATE_REBOOTING;
}

static enum fleet_mode draw_mode(struct fleet_device *device)
{
    double drawn = otad_random(&device->random, UINT32_MAX) / (double)UINT32_MAX, share = 0;
    for (int mode = FLEET_HEALTHY + 1; mode < FLEET_MODES; mode++) {
        share += device->settings->shares[mode];
        if (drawn < share) {
            return (enum fleet_mode)mode;
        }
    }
    return FLEET_HEALTHY;
}

static void set_timer(struct fleet_device *device, struct sim_timer *timer, uint64_t ms)
{
    sim_timers_set(sim_loop_timers(device->loop), timer, sim_loop_now() + ms);
}

static void *grow(void *items, size_t count, size_t size)
{
    void *grown = realloc(items, (count + 1) * size);
    if (!grown) {
        abort();
    }
    memset((char *)grown + count * size, 0, size);
    return grown;
}

/* --- the diary --- */

static void on_boot(void *arg, const struct otad_image *image)
{
    struct fleet_device *device = arg;
    device->boots = grow(device->boots, device->boot_count, sizeof *device->boots);
    struct fleet_boot *boot = &device->boots[device->boot_count++];
    boot->at = fleet_unix_ms();
    strcpy(boot->version, image ? image->version : "0.0.0");
    if (image) {
        memcpy(boot->elf_sha256, image->elf_sha256, OTAD_HASH);
    }
}

static struct fleet_update *find_update(struct fleet_device *device, uint64_t id)
{
    for (size_t i = device->update_count; i-- > 0;) {
        if (device->updates[i].id == id) {
            return &device->updates[i];
        }
    }
    device->updates = grow(device->updates, device->update_count, sizeof *device->updates);
    struct fleet_update *update = &device->updates[device->update_count++];
    update->id = id;
    update->began = fleet_unix_ms();
    return update;
}

/* The update that was under way is so no more, or not the only one. */
static void leave_active(struct fleet_device *device, uint64_t replaced_by)
{
    if (device->active) {
        struct fleet_update *update = find_update(device, device->active);
        update->replaced_by = replaced_by;
        update->cleared = !replaced_by;
        update->ended = fleet_unix_ms();
    }
    device->active = 0;
}

/* True: this state of this update is news. */
static bool write_diary(struct fleet_device *device, const struct otad_client *client)
{
    enum otad_state state = client->report.state;
    strcpy(device->version, otad_client_version(client));
    if (state == OTAD_STATE_NONE) {
        leave_active(device, 0);
        return false;
    }
    struct fleet_update *update = find_update(device, client->report.update_id);
    bool news = update->state != state;
    if (device->active && device->active != update->id) {
        uint64_t id = update->id;
        leave_active(device, id);
        update = find_update(device, id);
    }
    update->state = state;
    strcpy(update->error, client->report.error);
    if (fleet_under_way(state)) {
        update->ended = 0;
        update->cleared = false;
        device->active = update->id;
    } else {
        update->ended = update->ended ? update->ended : fleet_unix_ms();
        device->active = 0;
    }
    return news;
}

/* --- what goes wrong --- */

static void on_report(void *arg, const struct otad_client *client, bool acknowledged)
{
    struct fleet_device *device = arg;
    const struct fleet_settings *settings = device->settings;
    enum otad_state state = client->report.state;
    device->untold = !acknowledged;
    if (!acknowledged) {
        if (write_diary(device, client) && state == OTAD_STATE_DOWNLOADING && device->mode == FLEET_CUT_OFF) {
            fleet_gate_close(&device->gate);
            device->cut_offs++;
            set_timer(device, &device->radio,
                      settings->away / 2 + otad_random(&device->random, settings->away));
        }
        return;
    }
    bool known = state == OTAD_STATE_NONE && device->update_count > 0 &&
                 device->updates[device->update_count - 1].state == OTAD_STATE_CONFIRMED;
    if (known && device->mode == FLEET_VANISHING) {
        device->gone = true;
        set_timer(device, &device->power, 0);
    }
}

static void on_death(void *arg)
{
    struct fleet_device *device = arg;
    device->power_cuts++;
    device->dead = true;
    set_timer(device, &device->power, 0);
}

static uint64_t cut_after(void *arg)
{
    struct fleet_device *device = arg;
    bool cut = device->mode == FLEET_LOSSY && otad_random(&device->random, 4) > 0;
    device->breaks += cut;
    return cut ? 1 + otad_random(&device->random, CUT_MOST) : 0;
}

static void give_power(struct fleet_device *device)
{
    const struct fleet_settings *settings = device->settings;
    const char *error;
    struct sim_options options = {
        .registration = &device->gate.registration,
        .state = device->flash.name,
        .config = settings->config,
        .vitals = {.has_rssi = true, .has_heap = true, .has_battery = true},
        .boot_time = settings->boot_time,
        .reset_reason = device->boot_count == 0          ? "power_on"
                        : device->mode == FLEET_SLEEPING ? "deep_sleep"
                                                         : "brownout",
        .cut_after = cut_after,
        .on_boot = on_boot,
        .on_report = on_report,
        .on_death = on_death,
        .arg = device,
    };
    options.vitals.rssi = -40 - (int32_t)otad_random(&device->random, 50);
    options.vitals.heap = 150000 + otad_random(&device->random, 50000);
    options.vitals.battery = (uint8_t)(30 + otad_random(&device->random, 71));
    if (device->mode == FLEET_SLOW) {
        options.max_rate = settings->slow_rate;
    } else if (device->mode == FLEET_CRASHING && device->gate.registration.trust.device_id % 2) {
        options.selftest = SIM_SELFTEST_FAIL;
    } else if (device->mode == FLEET_CRASHING) {
        options.crash_after_boot = UINT32_MAX;
    } else if (device->mode == FLEET_POWER_CUT && otad_random(&device->random, 3) > 0) {
        options.die_after = 1 + otad_random(&device->random, DIE_MOST);
    }
    device->device = sim_device_new(device->loop, &options, &error);
    if (!device->device) {
        abort(); /* flash in memory always opens */
    }
    device->on_since = sim_loop_now();
    if (device->mode == FLEET_SLEEPING) {
        set_timer(device, &device->power, settings->awake);
    }
}

static void take_power(struct fleet_device *device)
{
    sim_device_free(device->device);
    device->device = NULL;
    device->dead = device->untold = false;
}

static bool may_sleep(const struct fleet_device *device)
{
    bool long_ago = sim_loop_now() - device->on_since > (uint64_t)AWAKE_MOST * device->settings->awake;
    return !device->active && (long_ago || (!device->untold && fleet_gate_online(&device->gate)));
}

static void on_power(void *arg)
{
    struct fleet_device *device = arg;
    const struct fleet_settings *settings = device->settings;
    if (!device->device) {
        give_power(device);
    } else if (device->gone) {
        take_power(device);
    } else if (device->dead) {
        take_power(device);
        set_timer(device, &device->power, settings->boot_time);
    } else if (may_sleep(device)) {
        take_power(device);
        set_timer(device, &device->power, settings->period - settings->awake);
    } else {
        set_timer(device, &device->power, NAP_RETRY);
    }
}

static void on_radio(void *arg)
{
    struct fleet_device *device = arg;
    fleet_gate_open(&device->gate);
}

void fleet_device_init(struct fleet_device *device, struct sim_loop *loop,
                       const struct fleet_settings *settings)
{
    device->loop = loop;
    device->settings = settings;
    device->random = settings->seed * 0x9E3779B97F4A7C15u ^ device->gate.registration.trust.device_id;
    device->mode = draw_mode(device);
    device->flash.random = device->random ^ UINT64_MAX;
    device->flash.worn = device->mode == FLEET_CORRUPTING;
    if (device->mode == FLEET_REFUSING) {
        for (int i = 0; i < OTAD_KEYS_MAX; i++) {
            device->gate.registration.trust.release_key[i][0] ^= 1;
        }
    }
    device->power = (struct sim_timer){.on_due = on_power, .arg = device};
    device->radio = (struct sim_timer){.on_due = on_radio, .arg = device};
}

void fleet_device_start(struct fleet_device *device, uint64_t at)
{
    sim_timers_set(sim_loop_timers(device->loop), &device->power, at);
}

void fleet_device_free(struct fleet_device *device)
{
    if (device->device) {
        take_power(device);
    }
    sim_timers_set(sim_loop_timers(device->loop), &device->power, UINT64_MAX);
    sim_timers_set(sim_loop_timers(device->loop), &device->radio, UINT64_MAX);
    fleet_flash_free(&device->flash);
    sim_registration_free(&device->gate.registration);
    free(device->boots);
    free(device->updates);
}
