#include "policy/zone.h"
#include "base/mem.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    HEADER = 44,
    LARGEST = 128 * 1024,
    MOST_KEPT = 512,
    LONGEST_NAME = 64,
    DAY = 86400,
    LONGEST_RULE = 80
};

/* A change of the year, as POSIX's TZ writes it: "M3.5.0/2", "J60", "59/-1". */
struct change {
    char form; /* 'M', 'J' (1..365, never February 29) or '0' (0..365) */
    int month, week, day;
    int64_t time; /* seconds after local midnight */
};

struct zone {
    size_t count;
    int64_t *at; /* ascending; from at[i] on offset[i] holds */
    int32_t *offset;
    int32_t first; /* before all of them */
    /* After the last: */
    bool has_rule, has_summer;
    int64_t standard, summer; /* seconds east */
    struct change begin, end; /* of summer time */
};

struct kept {
    char *name;
    struct zone *zone; /* NULL: there is none */
};

struct zones {
    zones_load load;
    void *arg;
    size_t count;
    struct kept kept[MOST_KEPT];
};

static int64_t read_big(const char *at, size_t bytes)
{
    uint64_t value = (*at & 0x80) != 0 ? UINT64_MAX : 0;
    for (size_t i = 0; i < bytes; i++)
        value = value << 8 | (unsigned char)at[i];
    return (int64_t)value;
}

static bool is_leap(int64_t year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

/* Days from 1970-01-01 to January 1 of the year. */
static int64_t days_to(int64_t year)
{
    int64_t before = year - 1;
    return (year - 1970) * 365 + (before / 4 - 492) - (before / 100 - 19) + (before / 400 - 4);
}

static int64_t year_of(int64_t seconds)
{
    int64_t year = 1970 + seconds / (365 * DAY + DAY / 4);
    while (days_to(year) * DAY > seconds)
        year--;
    while (days_to(year + 1) * DAY <= seconds)
        year++;
    return year;
}

/* Local seconds, since 1970, of a change in that year. */
static int64_t change_at(const struct change *change, int64_t year)
{
    static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int64_t day = days_to(year);
    if (change->form == 'M') {
        for (int i = 0; i < change->month - 1; i++)
            day += lengths[i] + (i == 1 && is_leap(year));
        int length = lengths[change->month - 1] + (change->month == 2 && is_leap(year));
        int weekday = (int)((day + 4) % 7); /* 1970-01-01 was a Thursday; 0 is Sunday */
        int first = (change->day - weekday + 7) % 7 + (change->week - 1) * 7;
        day += first >= length ? first - 7 : first;
    } else if (change->form == 'J') {
        day += change->day - 1 + (is_leap(year) && change->day >= 60);
    } else {
        day += change->day;
    }
    return day * DAY + change->time;
}

static bool take_number(const char **at, int most, int *value)
{
    char *end;
    if (**at < '0' || **at > '9')
        return false;
    long number = strtol(*at, &end, 10);
    *at = end;
    *value = (int)number;
    return number <= most;
}

/* [+-]h[:m[:s]] */
static bool take_time(const char **at, int64_t *seconds)
{
    int sign = **at == '-' ? -1 : 1, hours, minutes = 0, rest = 0;
    *at += **at == '-' || **at == '+';
    if (!take_number(at, 167, &hours))
        return false;
    if (**at == ':' && (++*at, !take_number(at, 59, &minutes)))
        return false;
    if (**at == ':' && (++*at, !take_number(at, 59, &rest)))
        return false;
    *seconds = sign * ((int64_t)hours * 3600 + minutes * 60 + rest);
    return true;
}

static bool take_change(const char **at, struct change *change)
{
    if (*(*at)++ != ',')
        return false;
    *change = (struct change){.form = **at == 'M' || **at == 'J' ? *(*at)++ : '0', .time = 7200};
    if (change->form == 'M') {
        if (!take_number(at, 12, &change->month) || change->month < 1 || *(*at)++ != '.' ||
            !take_number(at, 5, &change->week) || change->week < 1 || *(*at)++ != '.' ||
            !take_number(at, 6, &change->day))
            return false;
    } else if (!take_number(at, 365, &change->day)) {
        return false;
    }
    return **at != '/' || (++*at, take_time(at, &change->time));
}

static bool skip_name(const char **at)
{
    const char *start = *at;
    if (**at == '<') {
        *at += strcspn(*at, ">");
        return *(*at)++ == '>';
    }
    while ((**at >= 'A' && **at <= 'Z') || (**at >= 'a' && **at <= 'z'))
        ++*at;
    return *at - start >= 3;
}

static bool parse_rule(struct zone *zone, const char *at)
{
    int64_t west;
    if (*at == '\0')
        return true; /* the last offset holds for good */
    if (!skip_name(&at) || !take_time(&at, &west))
        return false;
    zone->has_rule = true;
    zone->standard = -west;
    if (*at == '\0')
        return true;
    zone->has_summer = true;
    if (!skip_name(&at))
        return false;
    zone->summer = zone->standard + 3600;
    if (*at != ',') {
        if (!take_time(&at, &west))
            return false;
        zone->summer = -west;
    }
    return take_change(&at, &zone->begin) && take_change(&at, &zone->end) && *at == '\0';
}

struct counts {
    size_t utc, standard, leap, times, types, chars;
};

/* Bytes of the block behind the header, whose times take `width`; 0: not a header. */
static size_t read_counts(const char *at, const char *end, size_t width, struct counts *counts)
{
    if (end - at < HEADER || memcmp(at, "TZif", 4) != 0 || at[4] < '2')
        return 0;
    size_t *fields[] = {&counts->utc,   &counts->standard, &counts->leap,
                        &counts->times, &counts->types,    &counts->chars};
    for (size_t i = 0; i < 6; i++) {
        *fields[i] = (size_t)(uint32_t)read_big(at + 20 + 4 * i, 4);
        if (*fields[i] > LARGEST)
            return 0;
    }
    size_t size = counts->times * (width + 1) + counts->types * 6 + counts->chars +
                  counts->leap * (width + 4) + counts->standard + counts->utc;
    return counts->types == 0 || (size_t)(end - at) < HEADER + size ? 0 : HEADER + size;
}

struct zone *zone_parse(const char *data, size_t len)
{
    struct counts counts;
    const char *end = data + len;
    size_t old = read_counts(data, end, 4, &counts);
    if (old == 0)
        return NULL;
    data += old;
    size_t size = read_counts(data, end, 8, &counts);
    if (size == 0 || end - data < (ptrdiff_t)size + 2 || data[size] != '\n')
        return NULL;

    char rule[LONGEST_RULE] = "";
    const char *start = data + size + 1, *newline = memchr(start, '\n', (size_t)(end - start));
    if (newline == NULL || newline - start >= LONGEST_RULE)
        return NULL;
    memcpy(rule, start, (size_t)(newline - start));

    struct zone *zone = x_new(struct zone);
    const char *times = data + HEADER, *kinds = times + counts.times * 8, *types = kinds + counts.times;
    zone->count = counts.times;
    zone->at = x_alloc((counts.times + 1) * sizeof(*zone->at));
    zone->offset = x_alloc((counts.times + 1) * sizeof(*zone->offset));
    zone->first = (int32_t)read_big(types, 4);
    bool ok = parse_rule(zone, rule);
    for (size_t i = 0; ok && i < counts.times; i++) {
        size_t type = (unsigned char)kinds[i];
        zone->at[i] = read_big(times + 8 * i, 8);
        ok = type < counts.types && (i == 0 || zone->at[i] > zone->at[i - 1]);
        if (ok)
            zone->offset[i] = (int32_t)read_big(types + 6 * type, 4);
    }
    if (!ok) {
        zone_free(zone);
        return NULL;
    }
    return zone;
}

void zone_free(struct zone *zone)
{
    if (zone == NULL)
        return;
    free(zone->at);
    free(zone->offset);
    free(zone);
}

static int64_t offset_by_rule(const struct zone *zone, int64_t at)
{
    if (!zone->has_summer)
        return zone->standard;
    int64_t year = year_of(at + zone->standard);
    int64_t begin = change_at(&zone->begin, year) - zone->standard;
    int64_t end = change_at(&zone->end, year) - zone->summer;
    bool summer = begin < end ? at >= begin && at < end : at >= begin || at < end;
    return summer ? zone->summer : zone->standard;
}

int64_t zone_offset(const struct zone *zone, int64_t at)
{
    size_t low = 0, high = zone->count; /* how many changes are at or before `at` */
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (zone->at[middle] <= at)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == zone->count && zone->has_rule)
        return offset_by_rule(zone, at);
    return low == 0 ? zone->first : zone->offset[low - 1];
}

int zone_hour(int64_t local)
{
    return (int)(((local % DAY + DAY) % DAY) / 3600);
}

int zone_weekday(int64_t local)
{
    int64_t day = (local - ((local % DAY + DAY) % DAY)) / DAY;
    return (int)(((day + 3) % 7 + 7) % 7) + 1;
}

bool zones_name(const char *name)
{
    size_t len = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+-/");
    return len > 0 && len <= LONGEST_NAME && name[len] == '\0' && *name != '/';
}

bool zones_load_file(void *arg, const char *name, struct buffer *out)
{
    char path[LONGEST_NAME + 32], block[4096];
    ssize_t n;
    snprintf(path, sizeof(path), "/usr/share/zoneinfo/%s", name);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return false;
    while ((n = read(fd, block, sizeof(block))) > 0 && out->len < LARGEST)
        buffer_put(out, block, (size_t)n);
    close(fd);
    return n == 0;
}

struct zones *zones_new(zones_load load, void *arg)
{
    struct zones *zones = x_new(struct zones);
    zones->load = load;
    zones->arg = arg;
    return zones;
}

static void forget(struct zones *zones)
{
    while (zones->count > 0) {
        struct kept *kept = &zones->kept[--zones->count];
        free(kept->name);
        zone_free(kept->zone);
    }
}

void zones_free(struct zones *zones)
{
    if (zones == NULL)
        return;
    forget(zones);
    free(zones);
}

const struct zone *zones_find(struct zones *zones, const char *name)
{
    struct buffer data = {0};
    for (size_t i = 0; i < zones->count; i++) {
        if (strcmp(zones->kept[i].name, name) == 0)
            return zones->kept[i].zone;
    }
    if (!zones_name(name))
        return NULL;
    if (zones->count == MOST_KEPT) /* made-up names in the tags of devices */
        forget(zones);
    struct zone *zone = zones->load(zones->arg, name, &data) ? zone_parse(data.data, data.len) : NULL;
    buffer_free(&data);
    zones->kept[zones->count++] = (struct kept){x_strdup(name), zone};
    return zone;
}
