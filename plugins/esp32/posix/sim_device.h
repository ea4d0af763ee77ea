/* A simulated device: the portable client, two slot files, MQTT and HTTP, and the faults one asks for. Any
 * number of them share a loop (sim_loop.h); all calls on its thread. */
#pragma once
#include "otad_client.h"
#include "sim_loop.h"
#include "sim_registration.h"

enum sim_selftest { SIM_SELFTEST_OK, SIM_SELFTEST_FAIL, SIM_SELFTEST_CRASH };

struct sim_options {
    const struct sim_registration *registration; /* outlives the device */
    const char *state;                           /* directory; read during sim_device_new */
    const char *initial;                         /* image for an empty directory; NULL: version 0.0.0 */
    struct otad_config
        config; /* times and sizes; its trust is taken from the registration but for slot_size */
    struct otad_vitals vitals; /* its metrics outlive the device */
    int64_t max_rate;          /* of downloads, bytes a second; 0: unlimited */
    uint32_t boot_time;        /* ms from a restart to the first instruction */
    const char *reset_reason;  /* of the first boot; NULL: power_on; kept by pointer */

    enum sim_selftest selftest;
    unsigned crash_after_boot; /* boots of a new image that die before its self-test */
    uint64_t die_after;        /* the power goes once so many bytes were written; 0: never */
    /* Asked at each request: after how many bytes its connection breaks, 0: never. May be NULL. */
    uint64_t (*cut_after)(void *arg);

    void (*on_event)(void *arg, const char *text); /* one line a person can read; may be NULL */
    /* The boot loader starts this image (NULL: none, version 0.0.0), also if it dies at once. May be NULL. */
    void (*on_boot)(void *arg, const struct otad_image *image);
    /* A status was sent (client->report is in it), or acknowledged by the broker. May be NULL. */
    void (*on_report)(void *arg, const struct otad_client *client, bool acknowledged);
    /* The power is gone. NULL: _exit(137). Else the device does nothing more until it is freed. */
    void (*on_death)(void *arg);
    void *arg;
};

/* NULL: *error says why (static text), errno what the system said, or 0. */
struct sim_device *sim_device_new(struct sim_loop *loop, const struct sim_options *options,
                                  const char **error);
/* As pulling the plug, but that the connection is closed in good order. */
void sim_device_free(struct sim_device *device);
/* Tells the broker that it goes, as a device does that sleeps, and does nothing more. */
void sim_device_goodbye(struct sim_device *device);

/* The ota.state of the last status that the broker acknowledged, and how many it has acknowledged. */
enum otad_state sim_device_told(const struct sim_device *device, unsigned *statuses);
