/* otad simulate: what a policy would do with a fleet, in virtual time. The policy runs in a process of its
 * own, as in service (policy/host). */
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/database.h"
#include "cli/simulate_text.h"
#include "cli/words.h"
#include "policy/host.h"
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char usage[] =
    "usage: otad simulate NAME|FILE [OPTIONS]\n"
    "\n"
    "Tells what a rollout by policy NAME of the scripts, or by the Lua file FILE, would do, in\n"
    "virtual time: when each stage begins, how many devices it reaches, what stops it and where in\n"
    "the policy. The same options give the same answer.\n"
    "\n"
    "A fleet that is made up:\n"
    "  --devices N           [10000]\n"
    "  --offline-share F     of the devices are offline when it begins, and come back bit by bit [0]\n"
    "  --sleeping-share F    of the devices are awake for ten minutes a day [0]\n"
    "  --tag NAME=V1,V2,...  a tag of the devices and its values; more than once\n"
    "Or the real one, from the database:\n"
    "  --fleet               all devices, as they are\n"
    "  --rollout ID          and those that rollout ID targets, with its firmware and params\n"
    "  --firmware ID         and this firmware, instead of one that suits all\n"
    "How updates end:\n"
    "  --failure-rate F      of the devices cannot run the new firmware and go back [0]\n"
    "  --vanish-rate F       of the devices fall silent after the update [0]\n"
    "  --cut-rate F          of the downloads break off, and may be tried again [0]\n"
    "  --duration S          seconds that half of the updates take at most [60]\n"
    "  --history             all of these as recorded in the last 90 days\n"
    "Besides:\n"
    "  --params JSON         params of the rollout\n"
    "  --start TIME          when it begins, like 2026-01-05T09:00:00Z (--fleet: now)\n"
    "  --resume N            somebody resumes the first N pauses, at once [0]\n"
    "  --days N              after which it ends in any case [14]\n"
    "  --seed N              of the chances [1]\n"
    "  --json                answer in JSON\n"
    "\n"
    "Shares (F) are from 0 to 1.\n";

enum { DEVICES = 10000, MOST_DEVICES = 150000, DAYS_OF_HISTORY = 90 };

struct simulation {
    struct cli_source source;
    json_t *request, *fleet, *assume, *rollout;
    const char *rollout_id, *firmware_id;
    char *its_firmware; /* of the rollout */
    bool real, history, json, started;
    struct database database;
    PGresult *devices;
    struct policy_text *texts;
    size_t count;
};

static int wrong(const char *what, const char *value)
{
    fprintf(stderr, "otad simulate: %s%s\n`otad simulate --help` lists the options.\n", what, value);
    return CLI_USAGE;
}

static bool read_number(const char *text, double least, double most, double *value)
{
    char *end;
    *value = strtod(text, &end);
    return *text != '\0' && *end == '\0' && *value >= least && *value <= most;
}

static int set_number(json_t *object, const char *name, const char *option, double least, double most,
                      const char *text)
{
    double value;
    if (!read_number(text, least, most, &value)) {
        char *bounds = x_printf("%s must be a number from %.15g to %.15g, not ", option, least, most);
        wrong(bounds, text);
        free(bounds);
        return CLI_USAGE;
    }
    json_object_set_new(object, name, json_real(value));
    return -1;
}

static int set_start(struct simulation *simulation, const char *text)
{
    struct tm at = {0};
    const char *end = strptime(text, "%Y-%m-%dT%H:%M:%SZ", &at);
    if (end == NULL || *end != '\0')
        return wrong("--start must be a time like 2026-01-05T09:00:00Z, not ", text);
    json_object_set_new(simulation->request, "start", json_real((double)timegm(&at)));
    simulation->started = true;
    return -1;
}

static int set_params(struct simulation *simulation, const char *text)
{
    json_t *params = json_loads(text, 0, NULL);
    if (!json_is_object(params)) {
        json_decref(params);
        return wrong("--params must be a JSON object, not ", text);
    }
    json_object_set_new(simulation->rollout, "params", params);
    return -1;
}

static int add_tag(struct simulation *simulation, const char *text)
{
    json_t *tags = json_object_get(simulation->fleet, "tags"), *values = json_array();
    size_t len = strcspn(text, "=");
    if (tags == NULL)
        json_object_set_new(simulation->fleet, "tags", tags = json_object());
    for (const char *at = text + len; *at != '\0';) {
        size_t part = strcspn(++at, ",");
        json_array_append_new(values, json_stringn(at, part));
        at += part;
    }
    if (len == 0 || json_array_size(values) == 0) {
        json_decref(values);
        return wrong("--tag must be like site=berlin,oslo, not ", text);
    }
    char *name = x_memdup(text, len);
    json_object_set_new(tags, name, values);
    free(name);
    return -1;
}

/* The numbers among the options. */
static const struct {
    const char *option, *name;
    enum { OF_FLEET, OF_UPDATES, OF_ALL } of;
    double least, most;
} numbers[] = {
    {"devices", "devices", OF_FLEET, 1, 200000},          {"offline-share", "offline_share", OF_FLEET, 0, 1},
    {"sleeping-share", "sleeping_share", OF_FLEET, 0, 1}, {"failure-rate", "failure_rate", OF_UPDATES, 0, 1},
    {"vanish-rate", "vanish_rate", OF_UPDATES, 0, 1},     {"cut-rate", "cut_rate", OF_UPDATES, 0, 1},
    {"duration", "duration_s", OF_UPDATES, 1, 2592000},   {"days", "days", OF_ALL, 0.01, 366},
    {"seed", "seed", OF_ALL, 0, 9007199254740991.0},      {"resume", "resumes", OF_ALL, 0, 1000},
};
enum { NUMBERS = sizeof(numbers) / sizeof(numbers[0]) };

/* -1: go on; else the exit code. */
static int take_option(struct simulation *simulation, int option, const char *value)
{
    if (option < NUMBERS) {
        json_t *objects[] = {simulation->fleet, simulation->assume, simulation->request};
        char name[32];
        snprintf(name, sizeof(name), "--%s", numbers[option].option);
        return set_number(objects[numbers[option].of], numbers[option].name, name, numbers[option].least,
                          numbers[option].most, value);
    }
    double id;
    switch (option) {
    case 'f':
        simulation->real = true;
        return -1;
    case 'r':
    case 'w':
        if (!read_number(value, 1, INT32_MAX, &id) || id != floor(id))
            return wrong(option == 'r' ? "--rollout must be the id of one, not "
                                       : "--firmware must be the id of one, not ",
                         value);
        *(option == 'r' ? &simulation->rollout_id : &simulation->firmware_id) = value;
        simulation->real = true;
        return -1;
    case 'y':
        simulation->history = true;
        return -1;
    case 't':
        return add_tag(simulation, value);
    case 'p':
        return set_params(simulation, value);
    case 's':
        return set_start(simulation, value);
    default:
        simulation->json = true;
        return -1;
    }
}

static int read_arguments(struct simulation *simulation, int argc, char **argv, const char **name)
{
    struct option options[NUMBERS + 11] = {{"fleet", no_argument, NULL, 'f'},
                                           {"rollout", required_argument, NULL, 'r'},
                                           {"firmware", required_argument, NULL, 'w'},
                                           {"history", no_argument, NULL, 'y'},
                                           {"tag", required_argument, NULL, 't'},
                                           {"params", required_argument, NULL, 'p'},
                                           {"start", required_argument, NULL, 's'},
                                           {"json", no_argument, NULL, 'j'},
                                           {"help", no_argument, NULL, 'h'}};
    int option, code;
    for (int i = 0; i < NUMBERS; i++)
        options[9 + i] = (struct option){numbers[i].option, required_argument, NULL, i};
    optind = 0;
    opterr = 0;
    while ((option = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
        if (option == 'h') {
            fputs(usage, stdout);
            return CLI_FINE;
        }
        if (option == ':' || option == '?')
            return wrong(option == ':' ? "a value is needed after " : "there is no option ",
                         argv[optind - 1]);
        if ((code = take_option(simulation, option, optarg)) >= 0)
            return code;
    }
    if (argc - optind != 1) {
        fputs(usage, stderr);
        return CLI_USAGE;
    }
    *name = argv[optind];
    return simulation->real && json_object_size(simulation->fleet) > 0
               ? wrong("the real fleet is as it is: --devices, --offline-share, --sleeping-share and --tag "
                       "are for one that is made up",
                       "")
               : -1;
}

/* --- From the database ---------------------------------------------------------------------------------- */

static PGresult *query(struct simulation *simulation, const char *statement, size_t count,
                       const char *const *values)
{
    char *error = NULL;
    PGresult *result = database_run(&simulation->database, statement, count, values, &error);
    if (result == NULL)
        fprintf(stderr, "otad simulate: %s", error);
    free(error);
    return result;
}

/* Fields that are there already, by an option, stay. */
static void set_missing(json_t *into, const char *text)
{
    json_t *object = json_loads(text, 0, NULL);
    json_object_update_missing(into, object);
    json_decref(object);
}

static bool read_history(struct simulation *simulation)
{
    char days[16];
    snprintf(days, sizeof(days), "%d", DAYS_OF_HISTORY);
    const char *values[] = {days};
    PGresult *result = query(simulation, "simulate_history", 1, values);
    bool ok = result != NULL && strcmp(PQgetvalue(result, 0, 0), "0") != 0;
    if (ok) {
        set_missing(simulation->assume, PQgetvalue(result, 0, 1));
        if (json_object_get(simulation->assume, "duration_s") != NULL)
            json_object_del(simulation->assume, "durations");
        if (!simulation->json)
            printf("How updates end is taken from %s of the last %s days.\n", PQgetvalue(result, 0, 0), days);
    } else if (result != NULL) {
        fprintf(stderr,
                "otad simulate: no update was recorded in the last %s days: there is no history to go by\n",
                days);
    }
    PQclear(result);
    return ok;
}

/* What the policy declares, as JSON; NULL: it does not load, and that was said. */
static char *declaration(struct simulation *simulation, struct host *host)
{
    struct buffer json = {0};
    char *text = NULL;
    if (host_load(host, &simulation->source.source, &json)) {
        json_t *answer = json_loadb(json.data, json.len, 0, NULL);
        text = json_dumps(json_object_get(answer, "declaration"), JSON_COMPACT);
        json_decref(answer);
    } else {
        cli_print_problems(&simulation->source, "simulate", buffer_text(&json), simulation->json);
    }
    buffer_free(&json);
    return text;
}

static bool read_rollout(struct simulation *simulation, char **target)
{
    const char *values[] = {simulation->rollout_id};
    PGresult *result = query(simulation, "simulate_rollout", 1, values);
    bool there = result != NULL && PQntuples(result) == 1;
    if (there) {
        set_missing(simulation->rollout, PQgetvalue(result, 0, 0));
        *target = x_strdup(PQgetvalue(result, 0, 3));
        if (simulation->firmware_id == NULL && !PQgetisnull(result, 0, 2))
            simulation->firmware_id = simulation->its_firmware = x_strdup(PQgetvalue(result, 0, 2));
    } else if (result != NULL) {
        fprintf(stderr, "otad simulate: there is no rollout %s\n", simulation->rollout_id);
    }
    PQclear(result);
    return there;
}

static bool read_firmware(struct simulation *simulation)
{
    const char *values[] = {simulation->firmware_id};
    PGresult *result = query(simulation, "simulate_firmware", 1, values);
    bool there = result != NULL && PQntuples(result) == 1;
    if (there)
        json_object_set_new(simulation->rollout, "firmware", json_loads(PQgetvalue(result, 0, 0), 0, NULL));
    else if (result != NULL)
        fprintf(stderr, "otad simulate: there is no firmware %s\n", simulation->firmware_id);
    PQclear(result);
    return there;
}

static bool read_fleet(struct simulation *simulation, const char *plan)
{
    char most[16], *target = NULL;
    bool ok = (simulation->rollout_id == NULL || read_rollout(simulation, &target)) &&
              (simulation->firmware_id == NULL || read_firmware(simulation));
    snprintf(most, sizeof(most), "%d", MOST_DEVICES);
    const char *values[] = {simulation->firmware_id, target == NULL ? "{}" : target, plan, most};
    if (ok && (simulation->devices = query(simulation, "simulate_fleet", 4, values)) != NULL)
        simulation->count = (size_t)PQntuples(simulation->devices);
    free(target);
    if (!ok || simulation->devices == NULL)
        return false;
    if (simulation->count == 0) {
        fputs("otad simulate: there are no devices to simulate with\n", stderr);
        return false;
    }
    if (simulation->count == MOST_DEVICES && !simulation->json)
        printf("With a sample of %d devices.\n", MOST_DEVICES);
    simulation->texts = x_alloc(simulation->count * sizeof(*simulation->texts));
    for (size_t i = 0; i < simulation->count; i++)
        simulation->texts[i] = (struct policy_text){PQgetvalue(simulation->devices, (int)i, 0),
                                                    (size_t)PQgetlength(simulation->devices, (int)i, 0)};
    if (!simulation->started)
        json_object_set_new(simulation->request, "start", json_real((double)time(NULL)));
    return true;
}

/* ------------------------------------------------------------------------------------------------------- */

static void set_defaults(struct simulation *simulation)
{
    const struct config *config = simulation->source.config;
    if (json_object_get(simulation->fleet, "devices") == NULL)
        json_object_set_new(simulation->fleet, "devices", json_integer(DEVICES));
    json_object_set_new(simulation->request, "defaults",
                        json_pack("{s:f,s:f,s:f}", "timeout", (double)config->update_timeout / 1000, "wait",
                                  (double)config->update_offer_timeout / 1000, "vanish_after",
                                  (double)config->device_offline_after / 1000));
    json_object_set(simulation->request, "fleet", simulation->fleet);
    json_object_set(simulation->request, "assume", simulation->assume);
    json_object_set(simulation->request, "rollout", simulation->rollout);
}

static void print_head(const struct simulation *simulation, json_t *answer)
{
    char count[WORDS], share[WORDS];
    double failing = json_number_value(json_object_get(simulation->assume, "failure_rate"));
    printf("%s, with %s %s devices", simulation->source.path,
           words_count(count, json_integer_value(json_object_get(answer, "devices"))),
           simulation->real ? "real" : "made-up");
    if (failing > 0)
        printf(", of which %s cannot run the new firmware", words_share(share, failing));
    printf("; seed %lld\n\n", (long long)json_integer_value(json_object_get(answer, "seed")));
}

static int simulate(struct simulation *simulation, struct host *host)
{
    struct buffer json = {0};
    set_defaults(simulation);
    char *request = json_dumps(simulation->request, JSON_COMPACT);
    bool ok = host_simulate(host, &simulation->source.source, (struct policy_text){request, strlen(request)},
                            simulation->texts, simulation->count, &json);
    free(request);
    if (!ok) {
        cli_print_problems(&simulation->source, "simulate", buffer_text(&json), simulation->json);
    } else if (simulation->json) {
        puts(buffer_text(&json));
    } else {
        json_t *answer = json_loadb(json.data, json.len, 0, NULL);
        print_head(simulation, answer);
        simulate_print(&simulation->source, answer);
        json_decref(answer);
    }
    buffer_free(&json);
    return ok ? CLI_FINE : CLI_PROBLEM;
}

static int run(struct simulation *simulation)
{
    struct host *host = host_new();
    int code = CLI_PROBLEM;
    bool ok = true;
    if (simulation->real || simulation->history) {
        char *plan = declaration(simulation, host);
        ok = plan != NULL && database_open(&simulation->database, "simulate");
        if (ok) {
            ok = (!simulation->history || read_history(simulation)) &&
                 (!simulation->real || read_fleet(simulation, plan));
            database_close(&simulation->database);
        }
        free(plan);
    }
    if (ok)
        code = simulate(simulation, host);
    host_free(host);
    PQclear(simulation->devices);
    free(simulation->texts);
    free(simulation->its_firmware);
    return code;
}

int cli_simulate(int argc, char **argv)
{
    struct simulation simulation = {.request = json_object(),
                                    .fleet = json_object(),
                                    .assume = json_object(),
                                    .rollout = json_object()};
    const char *name = NULL;
    int code = read_arguments(&simulation, argc, argv, &name);
    if (code < 0 && !cli_source_open(&simulation.source, "simulate", name, false))
        code = CLI_PROBLEM;
    if (code < 0) {
        code = run(&simulation);
        cli_source_close(&simulation.source);
    }
    json_decref(simulation.request);
    json_decref(simulation.fleet);
    json_decref(simulation.assume);
    json_decref(simulation.rollout);
    return code;
}
