#include "policy/declare.h"
#include "base/mem.h"
#include "policy/lines.h"
#include "policy/nearest.h"
#include <lauxlib.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_STAGES = 100, MOST_FIELDS = 16, LONGEST_TEXT = 64, MOST_TEXTS = 100, MOST_PROBLEMS = 50 };

#define DAY 86400.0

enum kind { NUMBER, INTEGER, DURATION, TEXT, BOOLEAN, FUNCTION, TEXTS, OBJECT, STAGES };

static const char *const types[] = {[NUMBER] = "number", [INTEGER] = "integer", [DURATION] = "duration",
                                    [TEXT] = "string",   [BOOLEAN] = "boolean", [FUNCTION] = "function",
                                    [TEXTS] = "list",    [OBJECT] = "table",    [STAGES] = "list"};

struct field {
    const char *name, *text; /* what it means */
    enum kind kind;
    double least, most;
    const char *fallback; /* JSON; NULL: must be there */
    const struct field *fields;
};

static const struct field stage_fields[] = {
    {"name", "what it is called", TEXT, .fallback = ""},
    {"share", "of the devices, above 0; each above the one before, the last is 1", NUMBER, .most = 1},
    {"soak", "how long it is watched once its devices are done", DURATION, .most = 365 * DAY,
     .fallback = "0"},
    {0}};
static const struct field rate_fields[] = {{"per_minute", "offers a minute in the first stage", NUMBER,
                                            .most = 1e6},
                                           {"growth", "by which that grows with each stage; 1", NUMBER,
                                            .most = 1000, .fallback = "1"},
                                           {0}};
static const struct field retry_fields[] = {{"max", "how often; 2", INTEGER, .most = 100, .fallback = "2"},
                                            {"after",
                                             "how long after it failed; twice as long each time; 10m",
                                             DURATION, .least = 1, .most = 30 * DAY, .fallback = "600"},
                                            {0}};
static const struct field spread_fields[] = {{"tag", "the tag whose values are groups", .kind = TEXT},
                                             {"concurrency", "updates under way at once in each of them",
                                              INTEGER, .least = 1, .most = 1e6},
                                             {0}};
static const struct field policy_fields[] = {
    {"stages", "shares of the devices, one after the other; all at once", STAGES,
     .fallback = "[{\"name\":\"all\",\"share\":1,\"soak\":0}]", .fields = stage_fields},
    {"rate", "how many offers a minute; not limited", OBJECT, .fallback = "null", .fields = rate_fields},
    {"concurrency", "updates under way at once; 500", INTEGER, .least = 1, .most = 1e6, .fallback = "500"},
    {"timeout", "silence that fails an update; update.timeout of the configuration", DURATION, .least = 1,
     .most = 30 * DAY, .fallback = "null"},
    {"retry", "whether failed and timed out updates are tried again; max 2, after 10m", OBJECT,
     .fallback = "{\"max\":2,\"after\":600}", .fields = retry_fields},
    {"spread", "most updates under way for each value of a tag; not limited", OBJECT, .fallback = "null",
     .fields = spread_fields},
    {"priority", "-1000 to 1000, which rollout has a device that several want; 0", INTEGER, .least = -1000,
     .most = 1000, .fallback = "0"},
    {"from", "patterns of the versions that may be updated; all", TEXTS, .fallback = "[]"},
    {"steps", "versions to pass through, in order; none", TEXTS, .fallback = "[]"},
    {"downgrade", "whether an older version may replace a newer one; false", BOOLEAN, .fallback = "false"},
    {"max_failure", "share of failures above which a rollout without advance pauses; 0.05", NUMBER, .most = 1,
     .fallback = "0.05"},
    {"vanish_after", "silence by which an updated device has vanished; device.offline_after", DURATION,
     .least = 1, .most = 365 * DAY, .fallback = "null"},
    {"admit", "function(device, rollout, ctx): whether a device is offered the update, and why; all are",
     FUNCTION, .fallback = "false"},
    {"advance", "function(rollout, stats, ctx): what becomes of the stage, and why; the server decides",
     FUNCTION, .fallback = "false"},
    {0}};

static void push_fields(lua_State *L, const struct field *fields)
{
    lua_newtable(L);
    for (lua_Integer i = 1; fields->name != NULL; fields++, i++) {
        lua_createtable(L, 0, 4);
        lua_pushstring(L, fields->name);
        lua_setfield(L, -2, "name");
        lua_pushstring(L, types[fields->kind]);
        lua_setfield(L, -2, "type");
        lua_pushstring(L, fields->text);
        lua_setfield(L, -2, "text");
        if (fields->fields != NULL) {
            push_fields(L, fields->fields);
            lua_setfield(L, -2, "fields");
        }
        lua_rawseti(L, -2, i);
    }
}

void declare_push_fields(lua_State *L)
{
    push_fields(L, policy_fields);
}

struct reading {
    lua_State *L;
    const struct declare_source *source;
    struct problems *problems;
    size_t most_problems; /* each costs reading the source */
    struct buffer *out;
};

/* Takes over `message`. */
static void complain(struct reading *reading, const char *path, char *message)
{
    if (reading->problems->count < reading->most_problems) {
        int line = lines_find(reading->source->text, reading->source->len, path);
        problems_add(reading->problems, reading->source->file, line, message);
    }
    free(message);
}

double declare_duration(lua_State *L, int index)
{
    static const struct {
        const char *unit;
        double seconds;
    } units[] = {{"ms", 0.001}, {"s", 1}, {"m", 60}, {"h", 3600}, {"d", DAY}};
    if (lua_type(L, index) == LUA_TNUMBER)
        return lua_tonumber(L, index) >= 0 ? lua_tonumber(L, index) : -1;
    const char *text = lua_type(L, index) == LUA_TSTRING ? lua_tostring(L, index) : "";
    size_t digits = strspn(text, "0123456789.");
    char *end;
    double count = strtod(text, &end);
    if (digits == 0 || end != text + digits)
        return -1;
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (strcmp(end, units[i].unit) == 0)
            return count * units[i].seconds;
    }
    return -1;
}

static void put_number(struct buffer *out, double value)
{
    char text[32];
    snprintf(text, sizeof(text), "%.15g", value);
    if (strtod(text, NULL) != value)
        snprintf(text, sizeof(text), "%.17g", value);
    buffer_puts(out, text);
}

static bool read_number(struct reading *reading, const struct field *field, const char *path)
{
    lua_State *L = reading->L;
    double value = field->kind == DURATION ? declare_duration(L, -1) : lua_tonumber(L, -1);
    if (field->kind == DURATION ? value < 0 : lua_type(L, -1) != LUA_TNUMBER) {
        complain(reading, path,
                 x_printf(field->kind == DURATION
                              ? "%s must be a duration like \"30m\", \"2h\" or a number of seconds"
                              : "%s must be a number",
                          path));
        return false;
    }
    if (field->kind == INTEGER && value != floor(value)) {
        complain(reading, path, x_printf("%s must be a whole number", path));
        return false;
    }
    /* The least of a plain number is not among what is allowed: a share or a rate of 0 stops everything. */
    bool above = field->kind == NUMBER ? value > field->least : value >= field->least;
    if (!above || !(value <= field->most)) {
        const char *unit = field->kind == DURATION ? " s" : "";
        complain(reading, path,
                 x_printf(field->kind == NUMBER ? "%s must be above %.0f%s and at most %.0f%s"
                                                : "%s must be from %.0f%s to %.0f%s",
                          path, field->least, unit, field->most, unit));
        return false;
    }
    put_number(reading->out, value);
    return true;
}

static bool read_text(struct reading *reading, const char *path)
{
    size_t len = 0;
    const char *text = lua_type(reading->L, -1) == LUA_TSTRING ? lua_tolstring(reading->L, -1, &len) : NULL;
    if (len == 0 || len > LONGEST_TEXT || strlen(text) != len) {
        complain(reading, path, x_printf("%s must be a text of 1 to %d bytes", path, LONGEST_TEXT));
        return false;
    }
    buffer_put_json(reading->out, text, len);
    return true;
}

static bool check_type(struct reading *reading, int type, const char *path)
{
    if (lua_type(reading->L, -1) == type)
        return true;
    complain(reading, path,
             x_printf("%s must be a %s, not a %s", path, lua_typename(reading->L, type),
                      luaL_typename(reading->L, -1)));
    return false;
}

/* Length of the list on top, which must be 1..most and nothing else; -1: it is none. */
static lua_Integer check_list(struct reading *reading, lua_Integer most, const char *path)
{
    lua_State *L = reading->L;
    if (!check_type(reading, LUA_TTABLE, path))
        return -1;
    lua_Integer count = (lua_Integer)lua_rawlen(L, -1), keys = 0;
    for (lua_pushnil(L); lua_next(L, -2) != 0; lua_pop(L, 1))
        keys++;
    if (count == 0 || keys != count || count > most) {
        complain(reading, path, x_printf("%s must be a list of 1 to %d", path, (int)most));
        return -1;
    }
    return count;
}

static void read_texts(struct reading *reading, const char *path)
{
    lua_State *L = reading->L;
    if (lua_type(L, -1) == LUA_TSTRING) { /* one alone */
        buffer_putc(reading->out, '[');
        read_text(reading, path);
        buffer_putc(reading->out, ']');
        return;
    }
    lua_Integer count = check_list(reading, MOST_TEXTS, path);
    buffer_putc(reading->out, '[');
    for (lua_Integer i = 1; i <= count; i++) {
        char *element = x_printf("%s.%d", path, (int)i);
        lua_rawgeti(L, -1, i);
        buffer_puts(reading->out, i == 1 ? "" : ",");
        read_text(reading, element);
        lua_pop(L, 1);
        free(element);
    }
    buffer_putc(reading->out, ']');
}

static void read_object(struct reading *reading, const struct field *fields, const char *path);

static void check_stage(struct reading *reading, lua_Integer i, lua_Integer count, double *before,
                        const char *path)
{
    lua_State *L = reading->L;
    char *share_path = x_printf("%s.share", path);
    lua_getfield(L, -1, "share");
    double share = lua_tonumber(L, -1);
    bool number = lua_type(L, -1) == LUA_TNUMBER;
    lua_pop(L, 1);
    if (number && i > 1 && share <= *before)
        complain(reading, share_path, x_printf("%s must be above the share of the stage before", share_path));
    else if (number && i == count && share < 1)
        complain(reading, share_path,
                 x_printf("%s must be 1: a rollout ends with all devices in its last stage", share_path));
    *before = number ? share : *before;
    free(share_path);
}

static void check_name(struct reading *reading, int names, const char *path)
{
    lua_State *L = reading->L;
    if (lua_getfield(L, -1, "name") == LUA_TSTRING) {
        lua_pushvalue(L, -1);
        if (lua_rawget(L, names) != LUA_TNIL)
            complain(reading, path, x_printf("%s: two stages are named %s", path, lua_tostring(L, -2)));
        lua_pop(L, 1);
        lua_pushvalue(L, -1);
        lua_pushboolean(L, 1);
        lua_rawset(L, names);
    }
    lua_pop(L, 1);
}

static void read_stages(struct reading *reading, const struct field *field, const char *path)
{
    lua_State *L = reading->L;
    lua_Integer count = check_list(reading, MOST_STAGES, path);
    double before = 0;
    lua_newtable(L);
    lua_insert(L, -2);
    int names = lua_gettop(L) - 1;
    buffer_putc(reading->out, '[');
    for (lua_Integer i = 1; i <= count; i++) {
        char *element = x_printf("%s.%d", path, (int)i);
        lua_rawgeti(L, -1, i);
        buffer_puts(reading->out, i == 1 ? "" : ",");
        if (lua_istable(L, -1) && lua_getfield(L, -1, "name") == LUA_TNIL) { /* the last field read */
            lua_pushfstring(L, "stage %I", (LUAI_UACINT)i);
            lua_setfield(L, -3, "name");
        }
        lua_settop(L, names + 2);
        size_t problems = reading->problems->count;
        read_object(reading, field->fields, element);
        if (problems == reading->problems->count) {
            check_stage(reading, i, count, &before, element);
            check_name(reading, names, element);
        }
        lua_pop(L, 1);
        free(element);
    }
    buffer_putc(reading->out, ']');
    lua_remove(L, names);
}

static void read_field(struct reading *reading, const struct field *field, const char *path)
{
    switch (field->kind) {
    case NUMBER:
    case INTEGER:
    case DURATION:
        read_number(reading, field, path);
        break;
    case TEXT:
        read_text(reading, path);
        break;
    case BOOLEAN:
        if (check_type(reading, LUA_TBOOLEAN, path))
            buffer_puts(reading->out, lua_toboolean(reading->L, -1) ? "true" : "false");
        break;
    case FUNCTION:
        if (check_type(reading, LUA_TFUNCTION, path))
            buffer_puts(reading->out, "true");
        break;
    case TEXTS:
        read_texts(reading, path);
        break;
    case OBJECT:
        read_object(reading, field->fields, path);
        break;
    case STAGES:
        read_stages(reading, field, path);
        break;
    }
}

static char *join(const char *path, const char *name)
{
    return x_printf("%s%s%s", path, *path == '\0' ? "" : ".", name);
}

static void find_unknown(struct reading *reading, const struct field *fields, const char *path)
{
    const char *names[MOST_FIELDS + 1] = {NULL};
    lua_State *L = reading->L;
    for (size_t i = 0; fields[i].name != NULL; i++)
        names[i] = fields[i].name;
    for (lua_pushnil(L); lua_next(L, -2) != 0; lua_pop(L, 1)) {
        const char *const *name = names;
        if (lua_type(L, -2) != LUA_TSTRING) {
            complain(reading, path, x_printf("%s has named fields only", *path == '\0' ? "a policy" : path));
            continue;
        }
        const char *key = lua_tostring(L, -2);
        while (*name != NULL && strcmp(*name, key) != 0)
            name++;
        if (*name != NULL)
            continue;
        const char *near = nearest_name(key, names);
        char *whole = join(path, key);
        complain(reading, whole,
                 x_printf("unknown field %.80s%s%s%s", whole, near == NULL ? "" : " (did you mean ",
                          near == NULL ? "" : near, near == NULL ? "" : "?)"));
        free(whole);
    }
}

/* The table on top. */
static void read_object(struct reading *reading, const struct field *fields, const char *path)
{
    lua_State *L = reading->L;
    luaL_checkstack(L, 8, "nested too deeply");
    if (!check_type(reading, LUA_TTABLE, path))
        return;
    buffer_putc(reading->out, '{');
    for (size_t i = 0; fields[i].name != NULL; i++) {
        buffer_printf(reading->out, "%s\"%s\":", i == 0 ? "" : ",", fields[i].name);
        char *whole = join(path, fields[i].name);
        if (lua_getfield(L, -1, fields[i].name) != LUA_TNIL)
            read_field(reading, &fields[i], whole);
        else if (fields[i].fallback != NULL)
            buffer_puts(reading->out, fields[i].fallback);
        else
            complain(reading, whole, x_printf("%s is missing", whole));
        lua_pop(L, 1);
        free(whole);
    }
    buffer_putc(reading->out, '}');
    find_unknown(reading, fields, path);
}

static int by_line(const void *a, const void *b)
{
    const struct problem *first = a, *second = b;
    return first->line != second->line ? (first->line > second->line) - (first->line < second->line)
                                       : strcmp(first->message, second->message);
}

void declare_read(lua_State *L, int index, const struct declare_source *source, struct problems *problems,
                  struct buffer *out)
{
    size_t before = problems->count;
    struct reading reading = {
        .L = L, .source = source, .problems = problems, .most_problems = before + MOST_PROBLEMS, .out = out};
    lua_pushvalue(L, index);
    read_object(&reading, policy_fields, "");
    lua_pop(L, 1);
    if (problems->count - before > 1)
        qsort(problems->list + before, problems->count - before, sizeof(*problems->list), by_line);
}
