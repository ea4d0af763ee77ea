/* The flash as files. All calls block; files are small or written in pieces. */
#include "sim_slots.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NOT_CONFIRMED = 0x1506 };

static int open_file(const struct sim_slots *slots, const char *name, int number, int flags)
{
    char path[4096];
    int len = snprintf(path, sizeof path, "%s/%s%d", slots->dir, name, number);
    return len < (int)sizeof path ? open(path, flags | O_CLOEXEC, 0600) : -1;
}

static bool write_all(int fd, const void *data, size_t len, off_t offset)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = pwrite(fd, (const char *)data + done, len - done, offset + (off_t)done);
        if (n < 0 && errno != EINTR) {
            return false;
        }
        done += n > 0 ? (size_t)n : 0;
    }
    return true;
}

/* Up to len bytes; how many there are. */
static size_t read_some(int fd, void *out, size_t len, off_t offset)
{
    size_t done = 0;
    while (done < len) {
        ssize_t n = pread(fd, (char *)out + done, len - done, offset + (off_t)done);
        if (n == 0 || (n < 0 && errno != EINTR)) {
            break;
        }
        done += n > 0 ? (size_t)n : 0;
    }
    return done;
}

/* Replaced whole, as ESP-IDF keeps two sectors of it. */
bool sim_slots_keep(const struct sim_slots *slots)
{
    char path[4096], fresh[4096];
    if (snprintf(path, sizeof path, "%s/otadata", slots->dir) >= (int)sizeof path ||
        snprintf(fresh, sizeof fresh, "%s/otadata.new", slots->dir) >= (int)sizeof fresh) {
        return false;
    }
    FILE *file = fopen(fresh, "we");
    if (!file) {
        return false;
    }
    fprintf(file, "active %d\nslot0 %s\nslot1 %s\n", slots->active, sim_slots_state_name(slots->state[0]),
            sim_slots_state_name(slots->state[1]));
    return fclose(file) == 0 && rename(fresh, path) == 0;
}

static bool state_parse(const char *name, enum sim_boot_state *out)
{
    for (int i = 0; i <= SIM_BOOT_UNDEFINED; i++) {
        if (strcmp(name, sim_slots_state_name((enum sim_boot_state)i)) == 0) {
            *out = (enum sim_boot_state)i;
            return true;
        }
    }
    return false;
}

static bool otadata_read(struct sim_slots *slots)
{
    char path[4096], names[2][16];
    snprintf(path, sizeof path, "%s/otadata", slots->dir);
    FILE *file = fopen(path, "re");
    if (!file) {
        return false;
    }
    int found = fscanf(file, "active %d slot0 %15s slot1 %15s", &slots->active, names[0], names[1]);
    fclose(file);
    return found == 3 && (slots->active == 0 || slots->active == 1) &&
           state_parse(names[0], &slots->state[0]) && state_parse(names[1], &slots->state[1]);
}

static const char *install_initial(const struct sim_slots *slots, const char *initial)
{
    const char *why = "cannot copy the initial image";
    char *buffer = malloc(slots->size + 1);
    int from = open(initial, O_RDONLY | O_CLOEXEC),
        to = open_file(slots, "slot", 0, O_WRONLY | O_CREAT | O_TRUNC);
    struct otad_image image;
    if (buffer && from >= 0 && to >= 0) {
        size_t len = read_some(from, buffer, slots->size + 1, 0);
        if (len > slots->size) {
            why = "the initial image is larger than a slot";
        } else if (len < OTAD_IMAGE_HEAD || !otad_image_parse((const uint8_t *)buffer, &image)) {
            why = "the initial image is no ESP32 application";
        } else if (write_all(to, buffer, len, 0)) {
            why = NULL;
        }
    }
    free(buffer);
    if (from >= 0) {
        close(from);
    }
    if (to >= 0) {
        close(to);
    }
    return why;
}

const char *sim_slots_open(struct sim_slots *slots, const char *dir, uint32_t size, const char *initial)
{
    *slots = (struct sim_slots){.size = size, .fd = -1, .state = {SIM_BOOT_VALID, SIM_BOOT_UNDEFINED}};
    if (mkdir(dir, 0700) != 0 && errno != EEXIST) {
        return "cannot make the state directory";
    }
    slots->dir = strdup(dir);
    if (!slots->dir) {
        return "out of memory";
    }
    if (otadata_read(slots)) {
        return NULL;
    }
    slots->active = 0;
    slots->state[0] = SIM_BOOT_VALID;
    slots->state[1] = SIM_BOOT_UNDEFINED;
    errno = 0;
    const char *why = initial ? install_initial(slots, initial) : NULL;
    return why ? why : sim_slots_keep(slots) ? NULL : "cannot write the state directory";
}

void sim_slots_close(struct sim_slots *slots)
{
    sim_slots_abandon(slots);
    free(slots->dir);
    slots->dir = NULL;
}

bool sim_slots_image(const struct sim_slots *slots, int slot, struct otad_image *out)
{
    uint8_t head[OTAD_IMAGE_HEAD];
    int fd = open_file(slots, "slot", slot, O_RDONLY);
    if (fd < 0) {
        return false;
    }
    size_t len = read_some(fd, head, sizeof head, 0);
    close(fd);
    return len == sizeof head && otad_image_parse(head, out);
}

size_t sim_slots_load(const struct sim_slots *slots, int copy, void *out, size_t size)
{
    int fd = open_file(slots, "record", copy, O_RDONLY);
    if (fd < 0) {
        return 0;
    }
    size_t len = read_some(fd, out, size, 0);
    close(fd);
    return len;
}

int32_t sim_slots_save(const struct sim_slots *slots, int copy, const void *data, size_t len)
{
    int fd = open_file(slots, "record", copy, O_WRONLY | O_CREAT);
    if (fd < 0) {
        return -1;
    }
    bool good = write_all(fd, data, len, 0) && ftruncate(fd, (off_t)len) == 0;
    return close(fd) == 0 && good ? 0 : -1;
}

int32_t sim_slots_begin(struct sim_slots *slots, uint32_t offset)
{
    if (slots->state[slots->running] == SIM_BOOT_PENDING_VERIFY) {
        return NOT_CONFIRMED;
    }
    slots->fd = open_file(slots, "slot", 1 - slots->running, O_RDWR | O_CREAT);
    if (slots->fd >= 0 && ftruncate(slots->fd, offset) == 0) {
        return 0;
    }
    sim_slots_abandon(slots);
    return -1;
}

int32_t sim_slots_write(struct sim_slots *slots, uint32_t offset, const void *data, size_t len)
{
    return slots->fd >= 0 && offset + len <= slots->size && write_all(slots->fd, data, len, offset) ? 0 : -1;
}

int32_t sim_slots_read(const struct sim_slots *slots, uint32_t offset, void *out, size_t len)
{
    int fd = open_file(slots, "slot", 1 - slots->running, O_RDONLY);
    memset(out, 0xFF, len);
    if (fd >= 0) {
        read_some(fd, out, len, offset);
        close(fd);
    }
    return 0;
}

void sim_slots_abandon(struct sim_slots *slots)
{
    if (slots->fd >= 0) {
        close(slots->fd);
    }
    slots->fd = -1;
}
