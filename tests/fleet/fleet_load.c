/* The devices file and the images it names. */
#include "fleet.h"
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { IMAGE_MOST = 16 << 20 };

/* The image's bytes (the caller's to free); NULL: told on standard error. */
static uint8_t *read_image(const char *path, size_t *len)
{
    FILE *file = fopen(path, "re");
    uint8_t *bytes = file ? malloc(IMAGE_MOST) : NULL;
    struct otad_image image;
    *len = bytes ? fread(bytes, 1, IMAGE_MOST, file) : 0;
    if (*len < OTAD_IMAGE_HEAD || !otad_image_parse(bytes, &image)) {
        fprintf(stderr, "otad-fleet: %s: %s\n", path, file ? "no ESP32 application" : strerror(errno));
        free(bytes);
        bytes = NULL;
    }
    if (file) {
        fclose(file);
    }
    return bytes;
}

/* Each image is read once. */
static const struct fleet_flash *find_image(struct fleet *fleet, const char *path)
{
    size_t len;
    for (size_t i = fleet->image_count; i-- > 0;) {
        if (strcmp(fleet->image_paths[i], path) == 0) {
            return &fleet->images[i];
        }
    }
    uint8_t *bytes = read_image(path, &len);
    if (!bytes) {
        return NULL;
    }
    size_t count = fleet->image_count++;
    fleet->images = realloc(fleet->images, (count + 1) * sizeof *fleet->images);
    fleet->image_paths = realloc(fleet->image_paths, (count + 1) * sizeof *fleet->image_paths);
    if (!fleet->images || !fleet->image_paths || !(fleet->image_paths[count] = strdup(path))) {
        abort();
    }
    fleet_flash_init(&fleet->images[count], fleet->sectors, "", NULL);
    fleet_flash_load(&fleet->images[count], bytes, len);
    free(bytes);
    return &fleet->images[count];
}

/* The path in the line's "image", the caller's to free; NULL: none. */
static char *image_path(const char *line)
{
    json_t *root = json_loads(line, 0, NULL);
    const char *path = json_string_value(json_object_get(root, "image"));
    char *copy = path ? strdup(path) : NULL;
    json_decref(root);
    return copy;
}

/* All devices share the first one's broker and certificates. */
static bool share_broker(struct fleet *fleet, struct sim_registration *registration)
{
    const char *error;
    if (!fleet->broker) {
        fleet->broker = fleet_broker_new(registration->host, registration->port, registration->tls,
                                         registration->ca, &error);
        if (!fleet->broker) {
            fprintf(stderr, "otad-fleet: %s: %s\n", registration->host, error);
            return false;
        }
        fleet->ca = registration->ca;
    } else {
        free(registration->ca);
    }
    registration->ca = fleet->ca; /* for downloads */
    registration->tls = false;    /* the broker's business */
    return true;
}

static bool add_device(struct fleet *fleet, const char *line)
{
    struct fleet_device *device = &fleet->devices[fleet->count];
    char *error = NULL;
    *device = (struct fleet_device){0};
    if (!sim_registration_parse(&device->gate.registration, line, &error)) {
        fprintf(stderr, "otad-fleet: device %zu: %s\n", fleet->count + 1, error ? error : "out of memory");
        free(error);
        return false;
    }
    if (!share_broker(fleet, &device->gate.registration)) {
        sim_registration_free(&device->gate.registration);
        return false;
    }
    char *path = image_path(line);
    const struct fleet_flash *image = path ? find_image(fleet, path) : NULL;
    bool good = !path || image;
    free(path);
    device->gate.broker = fleet->broker;
    fleet_flash_init(&device->flash, fleet->sectors, "flash in memory", image);
    fleet->count++;
    fleet_device_init(device, fleet->loop, &fleet->settings);
    return good;
}

static size_t count_lines(FILE *file)
{
    size_t lines = 1;
    for (int c; (c = getc(file)) != EOF;) {
        lines += c == '\n';
    }
    rewind(file);
    return lines;
}

bool fleet_load(struct fleet *fleet, const char *path, double rate)
{
    FILE *file = fopen(path, "re");
    char *line = NULL;
    size_t size = 0;
    bool good = true;
    fleet->sectors = fleet_sectors_new();
    if (!file) {
        fprintf(stderr, "otad-fleet: %s: %s\n", path, strerror(errno));
        return false;
    }
    fleet->devices = calloc(count_lines(file), sizeof *fleet->devices); /* they must not move */
    if (!fleet->devices) {
        abort();
    }
    while (good && getline(&line, &size, file) > 1) {
        good = add_device(fleet, line);
    }
    free(line);
    fclose(file);
    fleet->started = sim_loop_now();
    for (size_t i = 0; good && i < fleet->count; i++) {
        fleet_device_start(&fleet->devices[i], fleet->started + (uint64_t)((double)i * 1000 / rate));
    }
    return good;
}

void fleet_unload(struct fleet *fleet)
{
    for (size_t i = 0; i < fleet->count; i++) {
        fleet->devices[i].gate.registration.ca = NULL;
        fleet_device_free(&fleet->devices[i]);
    }
    for (size_t i = 0; i < fleet->image_count; i++) {
        fleet_flash_free(&fleet->images[i]);
        free(fleet->image_paths[i]);
    }
    fleet_broker_free(fleet->broker);
    if (fleet->sectors) {
        fleet_sectors_free(fleet->sectors);
    }
    free(fleet->ca);
    free(fleet->images);
    free(fleet->image_paths);
    free(fleet->devices);
}
