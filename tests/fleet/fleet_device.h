/* One device of the fleet: the simulator's device, its flash and its gate, what it is called to do wrong, and
 * a diary of what it booted and which updates it took. The diary is kept by the tester's hand, not by the
 * client: it is what the server's belief is compared with. Owner: the loop's thread. */
#pragma once
#include "fleet_flash.h"
#include "fleet_link.h"
#include "sim_device.h"

/* What goes wrong with a device. One each, drawn by seed and device id. */
enum fleet_mode {
    FLEET_HEALTHY,
    FLEET_SLOW,       /* downloads at slow_rate */
    FLEET_LOSSY,      /* its downloads break off at random places, and go on */
    FLEET_CUT_OFF,    /* loses the broker for a while in the midst of each update */
    FLEET_CORRUPTING, /* stores one bit of each image wrong: failed */
    FLEET_CRASHING,   /* a new image dies after boot, or fails its self-test: rolled_back */
    FLEET_VANISHING,  /* is never heard of again once the server knows that it confirmed */
    FLEET_POWER_CUT,  /* loses power while it downloads */
    FLEET_REFUSING,   /* trusts other release keys: rejected */
    FLEET_SLEEPING,   /* is there for some seconds of each period; an update keeps it awake */
    FLEET_MODES
};

struct fleet_settings {
    uint64_t seed;
    double shares[FLEET_MODES];              /* those of HEALTHY are what is left */
    int64_t slow_rate;                       /* bytes/s */
    uint32_t away, period, awake, boot_time; /* ms */
    struct otad_config config;
};

struct fleet_boot {
    uint8_t elf_sha256[OTAD_HASH]; /* zeros: no image, version 0.0.0 */
    char version[33];
    uint64_t at; /* Unix ms, as all times here */
};

struct fleet_update {
    uint64_t id, began, ended; /* ended: 0 while under way */
    enum otad_state state;     /* the last one told */
    char error[OTAD_ERROR_MAX + 1];
    bool cleared;         /* the offer went before it had ended */
    uint64_t replaced_by; /* the update that began while this was under way; 0: none */
};

struct fleet_device {
    struct fleet_gate gate;
    struct fleet_flash flash;
    const struct fleet_settings *settings;
    struct sim_loop *loop;
    struct sim_device *device; /* NULL: without power */
    enum fleet_mode mode;
    uint64_t random;
    struct sim_timer power, radio;
    bool gone;                             /* for good */
    bool untold;                           /* a status is not acknowledged yet */
    bool dead;                             /* the power went; the timer clears up */
    char version[OTAD_VERSION_MAX + 1];    /* as it calls what it runs; "": not told yet */
    uint64_t on_since, active;             /* active: the update under way, or 0 */
    unsigned power_cuts, cut_offs, breaks; /* breaks: downloads that are, or would be, broken off */
    struct fleet_boot *boots;
    struct fleet_update *updates;
    size_t boot_count, update_count;
};

/* The gate's registration and broker, and the flash, are there already. */
void fleet_device_init(struct fleet_device *device, struct sim_loop *loop,
                       const struct fleet_settings *settings);
void fleet_device_start(struct fleet_device *device,
                        uint64_t at); /* gives it power then, a time of sim_loop_now */
void fleet_device_free(struct fleet_device *device);

uint64_t fleet_unix_ms(void);
const char *fleet_mode_name(enum fleet_mode mode);
bool fleet_under_way(enum otad_state state);
