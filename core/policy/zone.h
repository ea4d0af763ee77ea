/* Time zones for ctx.hour and ctx.weekday: IANA names, read from compiled files (TZif, RFC 8536) by a
 * function of the caller's, since the process of policies may open none. Kept once read; not thread-safe: one
 * owner. */
#pragma once
#include "base/buffer.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct zones;
struct zone;

/* Appends the compiled zone; false: there is none of that name. `name` has the form of one (zones_name). */
typedef bool (*zones_load)(void *arg, const char *name, struct buffer *out);

struct zones *zones_new(zones_load load, void *arg);
void zones_free(struct zones *zones);
const struct zone *zones_find(struct zones *zones, const char *name); /* NULL: no such zone */

/* A zones_load: /usr/share/zoneinfo. */
bool zones_load_file(void *arg, const char *name, struct buffer *out);
/* Whether a zone may be called that: "Europe/Berlin", and never a path out of the directory. */
bool zones_name(const char *name);

struct zone *zone_parse(const char *data, size_t len); /* NULL: not TZif of version 2 or later */
void zone_free(struct zone *zone);
int64_t zone_offset(const struct zone *zone, int64_t at); /* seconds east of UTC at Unix time `at` */

/* 0..23, and 1 (Monday) to 7, of a local time in seconds. */
int zone_hour(int64_t local);
int zone_weekday(int64_t local);
