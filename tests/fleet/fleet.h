/* The whole fleet: read from a file, told of as one line of JSON (README.md says what is in it). */
#pragma once
#include "fleet_device.h"
#include <stdio.h>

struct fleet {
    struct sim_loop *loop;
    struct fleet_broker *broker;
    char *ca; /* PEM text that all registrations point at, or NULL */
    struct fleet_sectors *sectors;
    struct fleet_settings settings;
    struct fleet_flash *images; /* those that devices start with, each once */
    char **image_paths;
    size_t image_count;
    struct fleet_device *devices;
    size_t count;
    uint64_t started; /* of sim_loop_now */
};

/* Reads the devices and switches them on, `rate` a second. False: told on standard error. Loop and settings
 * are there already; fleet_unload in any case. */
bool fleet_load(struct fleet *fleet, const char *path, double rate) __attribute__((warn_unused_result));
void fleet_unload(struct fleet *fleet);
/* `whole`: with every device, else the totals. */
void fleet_report(const struct fleet *fleet, bool whole, FILE *out);
