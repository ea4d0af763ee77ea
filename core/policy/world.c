#include "policy/world.h"
#include "base/mem.h"
#include "policy/wishes.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DAY = 86400, MOST_SILENT = 365 * DAY };

/* What is drawn; those of attempts have the attempt added. */
enum draw {
    DRAW_CHIP = 1,
    DRAW_VERSION,
    DRAW_OFFLINE,
    DRAW_SLEEPS,
    DRAW_PHASE,
    DRAW_SILENT,
    DRAW_BACK,
    DRAW_BATTERY,
    DRAW_LOWEST,
    DRAW_CYCLE,
    DRAW_FAILS,
    DRAW_REJECTS,
    DRAW_VANISHES,
    DRAW_HEARD,
    DRAW_TAG = 0x100,
    DRAW_TELEMETRY = 0x800,
    DRAW_CUT = 0x1000000,
    DRAW_HANGS = 0x2000000,
    DRAW_DURATION = 0x3000000,
    DRAW_DURATION_TOO = 0x4000000,
    DRAW_WHEN = 0x5000000
};

struct member {
    int64_t id;
    struct policy_text text; /* without its last brace; of a made-up device: empty */
    const char *excluded;
    int32_t silent_since, back; /* offline from .. to; both WORLD_NEVER: not */
    int32_t phase;              /* -1: does not sleep */
    int32_t group;
};

struct world {
    uint64_t seed;
    struct wishes wishes;
    struct world_firmware firmware;
    json_t *reasons; /* why devices are excluded: keys own the texts */
    json_t *groups;  /* value of the tag to number */
    struct member *members;
    size_t count;
};

static uint64_t mix(uint64_t value)
{
    value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9u;
    value = (value ^ value >> 27) * 0x94d049bb133111ebu;
    return value ^ value >> 31;
}

/* From 0 to below 1. */
static double draw(const struct world *world, size_t device, uint64_t what)
{
    uint64_t key = mix(world->seed + 0x9e3779b97f4a7c15u);
    key = mix(key ^ (uint64_t)world->members[device].id * 0xd6e8feb86659fd93u);
    return (double)(mix(key + what * 0x9e3779b97f4a7c15u) >> 11) * 0x1p-53;
}

/* A name of {"name": share}, by its share. */
static const char *pick(json_t *shares, double drawn)
{
    const char *name, *last = "";
    json_t *share;
    double sum = 0, below = 0;
    json_object_foreach(shares, name, share)
    {
        sum += json_number_value(share);
    }
    json_object_foreach(shares, name, share)
    {
        below += json_number_value(share) / sum;
        last = name;
        if (drawn < below)
            break;
    }
    return last;
}

static const char *chip_of(const struct world *world, size_t device)
{
    json_t *chips = world->wishes.chips;
    return chips == NULL ? world->firmware.chip : pick(chips, draw(world, device, DRAW_CHIP));
}

static const char *version_of(const struct world *world, size_t device)
{
    json_t *versions = world->wishes.versions;
    return versions == NULL ? "1.0.0" : pick(versions, draw(world, device, DRAW_VERSION));
}

/* The value of the n-th tag of a made-up fleet. */
static const char *tag_of(const struct world *world, size_t device, size_t n, json_t *values)
{
    double drawn = draw(world, device, DRAW_TAG + n);
    return json_string_value(json_array_get(values, (size_t)(drawn * (double)json_array_size(values))));
}

static const char *keep_reason(struct world *world, const char *reason)
{
    if (json_object_get(world->reasons, reason) == NULL)
        json_object_set_new(world->reasons, reason, json_true());
    return json_object_iter_key(json_object_iter_at(world->reasons, reason));
}

static int group_named(struct world *world, const char *name)
{
    json_t *number = json_object_get(world->groups, name);
    if (number == NULL) {
        number = json_integer((json_int_t)json_object_size(world->groups));
        json_object_set_new(world->groups, name, number);
    }
    return (int)json_integer_value(number);
}

/* As rollout_exclusion in SQL, of what a made-up device can be. */
static void exclude(struct world *world, size_t device, const struct plan *plan)
{
    const char *chip = chip_of(world, device), *version = version_of(world, device);
    const struct world_firmware *firmware = &world->firmware;
    char *reason = NULL;
    if (strcmp(chip, firmware->chip) != 0)
        reason = x_printf("is an %s, the firmware is for %s", chip, firmware->chip);
    else if (strcmp(version, firmware->version) == 0)
        reason = x_strdup("runs this image already");
    else if (!plan_updates_from(plan, version))
        reason = x_printf("runs %s, which the policy does not update from", version);
    else if (!plan->downgrade && rollout_compare_versions(version, firmware->version) > 0)
        reason = x_printf("runs %s, which is newer", version);
    world->members[device].excluded = reason == NULL ? NULL : keep_reason(world, reason);
    free(reason);
}

static void set_offline(struct world *world, size_t device, double silent)
{
    struct member *member = &world->members[device];
    silent = fmin(fmax(silent, 1), MOST_SILENT);
    member->silent_since = -(int32_t)silent;
    double rest = silent * (1 / fmax(draw(world, device, DRAW_BACK), 1e-9) - 1);
    member->back = rest > MOST_SILENT ? WORLD_NEVER : (int32_t)rest + 1;
}

static void make_up(struct world *world, size_t device, const struct plan *plan)
{
    const struct wishes *wishes = &world->wishes;
    struct member *member = &world->members[device];
    member->id = (int64_t)device + 1;
    exclude(world, device, plan);
    if (draw(world, device, DRAW_OFFLINE) < wishes->offline_share)
        set_offline(world, device, -6.0 * 3600 * log(1 - draw(world, device, DRAW_SILENT)));
    else if (draw(world, device, DRAW_SLEEPS) < wishes->sleeping_share)
        member->phase = (int32_t)(draw(world, device, DRAW_PHASE) * wishes->sleep_period);
    if (plan->spread > 0) {
        const char *name;
        json_t *values;
        size_t n = 0;
        member->group = group_named(world, "");
        json_object_foreach(wishes->tags, name, values)
        {
            if (strcmp(name, plan->spread_tag) == 0)
                member->group = group_named(world, tag_of(world, device, n, values));
            n++;
        }
    }
}

/* Takes a device as it is given. */
static bool take(struct world *world, size_t device, struct policy_text text, const struct plan *plan)
{
    struct member *member = &world->members[device];
    json_t *object = json_loadb(text.text, text.len, 0, NULL);
    json_t *id = json_object_get(object, "id"), *silent = json_object_get(object, "silent_for");
    bool ok = json_is_object(object) && json_is_integer(id);
    if (ok) {
        const char *excluded = json_string_value(json_object_get(object, "excluded"));
        const char *group =
            json_string_value(json_object_get(json_object_get(object, "tags"), plan->spread_tag));
        member->id = json_integer_value(id);
        member->excluded = excluded == NULL ? NULL : keep_reason(world, excluded);
        member->group = plan->spread > 0 ? group_named(world, group == NULL ? "" : group) : 0;
        if (json_is_false(json_object_get(object, "online")))
            set_offline(world, device, json_is_number(silent) ? json_number_value(silent) : DAY);
        while (text.len > 0 && text.text[text.len - 1] != '}')
            text.len--;
        member->text = (struct policy_text){text.text, text.len - 1};
    }
    json_decref(object);
    return ok;
}

struct world *world_new(uint64_t seed, json_t *fleet, json_t *assume, const struct policy_text *devices,
                        size_t count, const struct plan *plan, const struct world_firmware *firmware,
                        char **error)
{
    struct world *world = x_new(struct world);
    world->seed = seed;
    world->firmware = *firmware;
    world->reasons = json_object();
    world->groups = json_object();
    if (!wishes_read(&world->wishes, fleet, assume, devices != NULL, error)) {
        world_free(world);
        return NULL;
    }
    world->count = devices != NULL ? count : world->wishes.devices;
    world->members = x_alloc((world->count + 1) * sizeof(*world->members));
    for (size_t i = 0; i < world->count; i++) {
        world->members[i].silent_since = world->members[i].back = WORLD_NEVER;
        world->members[i].phase = -1;
        if (devices == NULL) {
            make_up(world, i, plan);
        } else if (!take(world, i, devices[i], plan)) {
            *error = x_printf("device %zu of the list is not a JSON object with an id", i + 1);
            world_free(world);
            return NULL;
        }
    }
    return world;
}

void world_free(struct world *world)
{
    wishes_free(&world->wishes);
    json_decref(world->reasons);
    json_decref(world->groups);
    free(world->members);
    free(world);
}

size_t world_count(const struct world *world)
{
    return world->count;
}

int64_t world_id(const struct world *world, size_t device)
{
    return world->members[device].id;
}

int world_group(const struct world *world, size_t device)
{
    return world->members[device].group;
}

int world_groups(const struct world *world)
{
    return (int)json_object_size(world->groups);
}

const char *world_excluded(const struct world *world, size_t device)
{
    return world->members[device].excluded;
}

/* --- Online --------------------------------------------------------------------------------------------- */

static int32_t in_period(const struct world *world, const struct member *member, int32_t at)
{
    return (int32_t)(((int64_t)at + member->phase) % world->wishes.sleep_period);
}

static bool is_away(const struct member *member, int32_t at)
{
    return at >= member->silent_since && at < member->back;
}

int32_t world_wakes(const struct world *world, size_t device, int32_t at)
{
    const struct member *member = &world->members[device];
    if (is_away(member, at))
        return member->back;
    if (member->phase < 0)
        return at;
    int32_t since = in_period(world, member, at);
    return since < world->wishes.sleep_awake ? at : at + world->wishes.sleep_period - since;
}

int32_t world_sleeps(const struct world *world, size_t device, int32_t at)
{
    const struct member *member = &world->members[device];
    if (member->back == WORLD_NEVER && member->silent_since != WORLD_NEVER)
        return member->silent_since > at ? member->silent_since : at;
    if (member->phase < 0)
        return is_away(member, at) ? at : WORLD_NEVER;
    int32_t since = in_period(world, member, at);
    return since < world->wishes.sleep_awake ? at + world->wishes.sleep_awake - since : at;
}

int32_t world_silent(const struct world *world, size_t device, int32_t at)
{
    const struct member *member = &world->members[device];
    if (is_away(member, at))
        return at - member->silent_since;
    if (member->phase >= 0 && in_period(world, member, at) >= world->wishes.sleep_awake)
        return in_period(world, member, at) - world->wishes.sleep_awake;
    return (int32_t)(draw(world, device, DRAW_HEARD) * 30); /* a heartbeat each 30 s */
}

void world_vanish(struct world *world, size_t device, int32_t at)
{
    world->members[device].silent_since = at;
    world->members[device].back = WORLD_NEVER;
}

/* --- Updates -------------------------------------------------------------------------------------------- */

static double duration(const struct world *world, size_t device, int n)
{
    const struct wishes *wishes = &world->wishes;
    double drawn = draw(world, device, DRAW_DURATION + (uint64_t)n);
    if (wishes->duration_count > 0) {
        double at = drawn * (double)(wishes->duration_count - 1);
        size_t below = (size_t)at, above = below + 1 < wishes->duration_count ? below + 1 : below;
        return wishes->durations[below] +
               (wishes->durations[above] - wishes->durations[below]) * (at - floor(at));
    }
    /* Log-normal: half of them take longer than duration_s, one in 40 more than twice as long. */
    double normal =
        sqrt(-2 * log(1 - drawn)) * cos(2 * M_PI * draw(world, device, DRAW_DURATION_TOO + (uint64_t)n));
    return wishes->duration * exp(0.36 * normal);
}

struct world_attempt world_attempt(const struct world *world, size_t device, int n, bool back)
{
    const struct wishes *wishes = &world->wishes;
    struct world_attempt attempt = {.ends = ROLLOUT_SUCCEEDED};
    int k = back ? n + 1000 : n;
    double seconds = duration(world, device, k);
    if (!back && draw(world, device, DRAW_REJECTS) < wishes->rejected_rate) {
        attempt.ends = ROLLOUT_REJECTED;
        seconds = 1;
    } else if (draw(world, device, DRAW_CUT + (uint64_t)k) < wishes->cut_rate) {
        attempt.ends = ROLLOUT_FAILED;
        seconds *= draw(world, device, DRAW_WHEN + (uint64_t)k);
    } else if (draw(world, device, DRAW_HANGS + (uint64_t)k) < wishes->hang_rate) {
        attempt.ends = ROLLOUT_TIMED_OUT;
    } else if (!back && draw(world, device, DRAW_FAILS) < wishes->failure_rate) {
        attempt.ends = ROLLOUT_ROLLED_BACK;
    } else {
        attempt.vanishes = !back && draw(world, device, DRAW_VANISHES) < wishes->vanish_rate;
    }
    attempt.takes = (int32_t)fmin(fmax(ceil(seconds), 1), 30 * DAY);
    return attempt;
}

/* --- As policies see it --------------------------------------------------------------------------------- */

/* A battery goes from full to its lowest and back, once a day. */
static int battery(const struct world *world, size_t device, int32_t at)
{
    const struct wishes *wishes = &world->wishes;
    double lowest = wishes->battery_low + draw(world, device, DRAW_LOWEST) * (100 - wishes->battery_low);
    double cycle = (double)at / DAY + draw(world, device, DRAW_CYCLE);
    return (int)lround(lowest + (100 - lowest) * fabs(2 * (cycle - floor(cycle)) - 1));
}

static void put_made_up(const struct world *world, size_t device, int32_t at, struct buffer *json)
{
    const struct wishes *wishes = &world->wishes;
    long long id = (long long)world->members[device].id;
    const char *chip = chip_of(world, device), *version = version_of(world, device), *name;
    json_t *value;
    uint64_t n = 0; /* tags and telemetry have draws of their own */
    buffer_printf(json, "{\"id\":%lld,\"device_code\":\"device-%lld\",\"name\":\"device-%lld\",\"chip\":", id,
                  id, id);
    buffer_put_json(json, chip, strlen(chip));
    buffer_puts(json, ",\"firmware_version\":");
    buffer_put_json(json, version, strlen(version));
    buffer_puts(json, ",\"tags\":{");
    json_object_foreach(wishes->tags, name, value)
    {
        const char *tag = tag_of(world, device, n, value);
        buffer_puts(json, n++ == 0 ? "" : ",");
        buffer_put_json(json, name, strlen(name));
        buffer_putc(json, ':');
        buffer_put_json(json, tag, strlen(tag));
    }
    buffer_puts(json, "},\"telemetry\":{\"reset_reason\":\"power_on\"");
    if (draw(world, device, DRAW_BATTERY) < wishes->battery_share)
        buffer_printf(json, ",\"battery\":%d", battery(world, device, at));
    json_object_foreach(wishes->telemetry, name, value)
    {
        double low = json_number_value(json_array_get(value, 0)),
               high = json_number_value(json_array_get(value, 1));
        buffer_putc(json, ',');
        buffer_put_json(json, name, strlen(name));
        uint64_t what = (uint64_t)DRAW_TELEMETRY << 40 | n++ << 24 | (uint64_t)at / 3600; /* anew each hour */
        buffer_printf(json, ":%.0f", low + draw(world, device, what) * (high - low));
    }
    buffer_putc(json, '}');
}

void world_put_device(const struct world *world, size_t device, int32_t at, int attempts, struct buffer *json)
{
    const struct policy_text *text = &world->members[device].text;
    if (text->len == 0)
        put_made_up(world, device, at, json);
    else
        buffer_put(json, text->text, text->len);
    /* Of two fields with one name, the later one counts. */
    buffer_printf(json, ",\"online\":%s,\"silent_for\":%d,\"attempts\":%d}",
                  world_wakes(world, device, at) == at ? "true" : "false",
                  (int)world_silent(world, device, at), attempts);
}
