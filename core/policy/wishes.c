#include "policy/wishes.h"
#include "base/mem.h"
#include <stdlib.h>
#include <string.h>

enum { MOST_DURATIONS = 100000 };

bool wishes_number(json_t *object, const char *path, const char *name, double least, double most,
                   double otherwise, double *value, char **error)
{
    json_t *found = json_object_get(object, name);
    *value = otherwise;
    if (found == NULL || json_is_null(found))
        return true;
    *value = json_number_value(found);
    if (json_is_number(found) && *value >= least && *value <= most)
        return true;
    *error = x_printf("%s%s must be a number from %.15g to %.15g", path, name, least, most);
    return false;
}

static bool share(json_t *object, const char *path, const char *name, double otherwise, double *value,
                  char **error)
{
    return wishes_number(object, path, name, 0, 1, otherwise, value, error);
}

/* {name: share}; the shares need not add up to 1. */
static bool read_shares(json_t *fleet, const char *name, json_t **shares, char **error)
{
    json_t *object = json_object_get(fleet, name), *value;
    const char *key;
    double sum = 0;
    *shares = NULL;
    if (object == NULL || json_is_null(object))
        return true;
    json_object_foreach(object, key, value)
    {
        if (!json_is_number(value) || json_number_value(value) < 0) {
            *error = x_printf("fleet.%s.%.80s must be a share", name, key);
            return false;
        }
        sum += json_number_value(value);
    }
    if (sum <= 0) {
        *error = x_printf("fleet.%s must be an object of names and shares", name);
        return false;
    }
    *shares = object;
    return true;
}

/* Whether each value of the object is an array of at least `least`, and (`most` = 0: any number) at most
 * `most`, of the type. */
static bool read_lists(json_t *fleet, const char *name, json_type type, size_t least, size_t most,
                       json_t **lists, char **error)
{
    json_t *object = json_object_get(fleet, name), *list, *item;
    const char *key;
    size_t i;
    *lists = NULL;
    if (object == NULL || json_is_null(object))
        return true;
    bool ok = json_is_object(object);
    json_object_foreach(object, key, list)
    {
        size_t n = json_array_size(list);
        ok = ok && n >= least && (most == 0 || n <= most);
        json_array_foreach(list, i, item)
        {
            ok = ok && (type == JSON_STRING ? json_is_string(item) : json_is_number(item));
        }
    }
    *lists = object;
    if (!ok)
        *error = x_printf(type == JSON_STRING ? "fleet.%s must be an object of names and lists of texts"
                                              : "fleet.%s must be an object of names and [from, to]",
                          name);
    return ok;
}

static bool read_fleet(struct wishes *wishes, json_t *fleet, char **error)
{
    double devices, period, awake;
    if (!wishes_number(fleet, "fleet.", "devices", 1, WISHES_MOST_DEVICES, 1000, &devices, error) ||
        !share(fleet, "fleet.", "offline_share", 0, &wishes->offline_share, error) ||
        !share(fleet, "fleet.", "sleeping_share", 0, &wishes->sleeping_share, error) ||
        !wishes_number(fleet, "fleet.", "sleep_period_s", 60, 30 * 86400, 86400, &period, error) ||
        !wishes_number(fleet, "fleet.", "sleep_awake_s", 1, period, period < 600 ? period : 600, &awake,
                       error) ||
        !share(fleet, "fleet.", "battery_share", 0.25, &wishes->battery_share, error) ||
        !wishes_number(fleet, "fleet.", "battery_low", 0, 100, 10, &wishes->battery_low, error) ||
        !read_shares(fleet, "chips", &wishes->chips, error) ||
        !read_shares(fleet, "versions", &wishes->versions, error) ||
        !read_lists(fleet, "tags", JSON_STRING, 1, 0, &wishes->tags, error) ||
        !read_lists(fleet, "telemetry", JSON_REAL, 2, 2, &wishes->telemetry, error))
        return false;
    wishes->devices = (size_t)devices;
    wishes->sleep_period = (int32_t)period;
    wishes->sleep_awake = (int32_t)awake;
    if (wishes->telemetry == NULL) {
        wishes->own_telemetry = json_pack("{s:[i,i],s:[i,i]}", "rssi", -85, -45, "heap", 120000, 240000);
        wishes->telemetry = wishes->own_telemetry;
    }
    return true;
}

static bool read_durations(struct wishes *wishes, json_t *list, char **error)
{
    json_t *item;
    size_t i;
    if (list == NULL || json_is_null(list))
        return true;
    wishes->duration_count = json_array_size(list);
    bool ok = wishes->duration_count > 0 && wishes->duration_count <= MOST_DURATIONS;
    wishes->durations = x_alloc((ok ? wishes->duration_count : 1) * sizeof(double));
    json_array_foreach(list, i, item)
    {
        ok = ok && json_is_number(item) && json_number_value(item) >= 0;
        ok = ok && (i == 0 || json_number_value(item) >= wishes->durations[i - 1]);
        if (ok)
            wishes->durations[i] = json_number_value(item);
    }
    if (!ok) {
        *error = x_printf("assume.durations must be an ascending list of 1 to %d times in seconds",
                          MOST_DURATIONS);
        return false;
    }
    return true;
}

static bool read_assume(struct wishes *wishes, json_t *assume, char **error)
{
    return share(assume, "assume.", "failure_rate", 0, &wishes->failure_rate, error) &&
           share(assume, "assume.", "rejected_rate", 0, &wishes->rejected_rate, error) &&
           share(assume, "assume.", "cut_rate", 0, &wishes->cut_rate, error) &&
           share(assume, "assume.", "hang_rate", 0, &wishes->hang_rate, error) &&
           share(assume, "assume.", "vanish_rate", 0, &wishes->vanish_rate, error) &&
           wishes_number(assume, "assume.", "duration_s", 1, 30 * 86400, 60, &wishes->duration, error) &&
           read_durations(wishes, json_object_get(assume, "durations"), error);
}

bool wishes_read(struct wishes *wishes, json_t *fleet, json_t *assume, bool given, char **error)
{
    memset(wishes, 0, sizeof(*wishes));
    wishes->sleep_period = wishes->sleep_awake = 86400;
    if ((given || read_fleet(wishes, fleet, error)) && read_assume(wishes, assume, error))
        return true;
    return false;
}

void wishes_free(struct wishes *wishes)
{
    json_decref(wishes->own_telemetry);
    free(wishes->durations);
}
