/* Reads the diaries; changes nothing. */
#include "fleet.h"
#include "otad_text.h"
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static json_t *hex(const uint8_t hash[OTAD_HASH])
{
    static const uint8_t none[OTAD_HASH];
    char text[2 * OTAD_HASH + 1];
    struct otad_text out;
    if (memcmp(hash, none, OTAD_HASH) == 0) {
        return json_null();
    }
    otad_text_init(&out, text, sizeof text);
    otad_text_hex(&out, hash, OTAD_HASH);
    return json_string(text);
}

static json_t *seconds(uint64_t ms)
{
    return ms ? json_real((double)ms / 1000) : json_null();
}

static json_t *boots_of(const struct fleet_device *device)
{
    json_t *list = json_array();
    for (size_t i = 0; i < device->boot_count; i++) {
        const struct fleet_boot *boot = &device->boots[i];
        json_array_append_new(list, json_pack("{s:o,s:s,s:o}", "elf_sha256", hex(boot->elf_sha256), "version",
                                              boot->version, "at", seconds(boot->at)));
    }
    return list;
}

static json_t *updates_of(const struct fleet_device *device)
{
    json_t *list = json_array();
    for (size_t i = 0; i < device->update_count; i++) {
        const struct fleet_update *update = &device->updates[i];
        json_array_append_new(list,
                              json_pack("{s:I,s:s,s:s,s:o,s:o,s:b,s:o}", "id", (json_int_t)update->id,
                                        "state", otad_state_name(update->state), "error", update->error,
                                        "began", seconds(update->began), "ended", seconds(update->ended),
                                        "cleared", update->cleared, "replaced_by",
                                        update->replaced_by ? json_integer((json_int_t)update->replaced_by)
                                                            : json_null()));
    }
    return list;
}

static json_t *device_of(const struct fleet_device *device)
{
    static const struct fleet_boot never;
    const struct fleet_boot *now = device->boot_count ? &device->boots[device->boot_count - 1] : &never;
    const char *state = device->gone                       ? "vanished"
                        : !device->device                  ? "off"
                        : fleet_gate_online(&device->gate) ? "online"
                                                           : "offline";
    return json_pack("{s:I,s:s,s:s,s:{s:o,s:s},s:s,s:o,s:o,s:I,s:i,s:i,s:i}", "id",
                     (json_int_t)device->gate.registration.trust.device_id, "mode",
                     fleet_mode_name(device->mode), "state", state, "runs", "elf_sha256",
                     hex(now->elf_sha256), "version", now->version, "tells", device->version, "booted",
                     boots_of(device), "updates", updates_of(device), "active", (json_int_t)device->active,
                     "connects", (int)device->gate.connects, "power_cuts", (int)device->power_cuts,
                     "cut_offs", (int)device->cut_offs);
}

static void count_up(json_t *object, const char *name)
{
    json_object_set_new(object, name, json_integer(json_integer_value(json_object_get(object, name)) + 1));
}

static json_int_t resident_bytes(void)
{
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file && fscanf(file, "%*d %ld", &pages) != 1) {
        pages = 0;
    }
    if (file) {
        fclose(file);
    }
    return (json_int_t)pages * sysconf(_SC_PAGESIZE);
}

static double cpu_seconds(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static json_t *totals_of(const struct fleet *fleet)
{
    json_t *modes = json_object(), *outcomes = json_object();
    json_int_t online = 0, gone = 0, off = 0, active = 0, boots = 0;
    json_int_t connects = 0, once = 0, power_cuts = 0, cut_offs = 0, breaks = 0;
    size_t stored, used;
    for (size_t i = 0; i < fleet->count; i++) {
        const struct fleet_device *device = &fleet->devices[i];
        online += fleet_gate_online(&device->gate);
        gone += device->gone;
        off += !device->device && !device->gone;
        active += device->active != 0;
        connects += device->gate.connects;
        once += device->gate.connects > 0;
        power_cuts += device->power_cuts;
        cut_offs += device->cut_offs;
        breaks += device->breaks;
        boots += (json_int_t)device->boot_count;
        count_up(modes, fleet_mode_name(device->mode));
        for (size_t k = 0; k < device->update_count; k++) {
            count_up(outcomes, otad_state_name(device->updates[k].state));
        }
    }
    fleet_sectors_count(fleet->sectors, &stored, &used);
    return json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:o,s:o,s:f,s:f,s:I,s:I,s:I}", "devices",
                     (json_int_t)fleet->count, "online", online, "off", off, "vanished", gone, "active",
                     active, "connects", connects, "connected_once", once, "boots", boots, "power_cuts",
                     power_cuts, "cut_offs", cut_offs, "breaks", breaks, "modes", modes, "outcomes", outcomes,
                     "seconds", (double)(sim_loop_now() - fleet->started) / 1000, "cpu_seconds",
                     cpu_seconds(), "rss_bytes", resident_bytes(), "sectors_stored", (json_int_t)stored,
                     "sectors_used", (json_int_t)used);
}

void fleet_report(const struct fleet *fleet, bool whole, FILE *out)
{
    json_t *report =
        json_pack("{s:I,s:o}", "seed", (json_int_t)fleet->settings.seed, "totals", totals_of(fleet));
    if (whole) {
        json_t *list = json_array();
        for (size_t i = 0; i < fleet->count; i++) {
            json_array_append_new(list, device_of(&fleet->devices[i]));
        }
        json_object_set_new(report, "devices", list);
    }
    json_dumpf(report, out, JSON_COMPACT);
    json_decref(report);
    putc('\n', out);
    fflush(out);
}
