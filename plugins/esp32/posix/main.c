/* otad-device: one simulated ESP32 on the command line, for trying out and for tests.
 *
 * It keeps its two slots, its boot loader's data and its record in a directory, so that it can be killed at
 * any moment and started again, like a board whose power is cut. */
#include "sim_device.h"
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TURN = 200, METRICS = 16, EXIT_FINE = 0, EXIT_PROBLEM = 1, EXIT_USAGE = 2 };

static volatile sig_atomic_t stopped; /* set by signals only */

struct arguments {
    const char *config, *state, *chip, *ca;
    bool once, until_confirmed, quiet;
    struct sim_options options;
    struct otad_metric metrics[METRICS];
};

static const char help[] =
    "Usage: otad-device --config registration.json --state DIR [options]\n"
    "A simulated ESP32: connects to the broker, reports its status, takes offers, downloads, verifies, "
    "switches\n"
    "slots, restarts, tests itself, confirms or rolls back. Stop it with Ctrl-C or kill it: the state "
    "survives.\n"
    "\n"
    "  --config FILE           the answer of POST /devices/register\n"
    "  --state DIR             slots, boot loader data and update record; made if missing\n"
    "  --initial IMAGE         what a new state directory runs [nothing: version 0.0.0]\n"
    "  --chip NAME             esp32, esp32s2, esp32c3, ... [as registered, else esp32]\n"
    "  --slot-size BYTES       [4194304]\n"
    "  --ca FILE               check broker and server against these certificates [those of the "
    "registration]\n"
    "\n"
    "Behaviour (durations: 500ms, 30s, 15m, 2h)\n"
    "  --heartbeat TIME        between statuses [60s]\n"
    "  --max-jitter TIME       longest wait before a download; fixed for a device and an update [0]\n"
    "  --retries N             of a download without progress [8]\n"
    "  --backoff TIME          before the first retry, doubled each time up to 5m [2s]\n"
    "  --connect-limit TIME    an attempt to reach the broker that has not ended by then is given up [2m]\n"
    "  --confirm-limit TIME    a new image not tested and connected by then is rolled back [15m]\n"
    "  --max-rate BYTES        download speed, a second [unlimited]\n"
    "  --battery PERCENT       [87]\n"
    "  --metric NAME=NUMBER    another telemetry field, up to 16 times\n"
    "\n"
    "Faults\n"
    "  --selftest ok|fail|crash  what a new image's self-test does [ok]\n"
    "  --crash-after-boot N    the first N boots of a new image die before its self-test\n"
    "  --die-after-bytes N     exit 137 once N bytes of an image were written, as if the power were cut\n"
    "\n"
    "Ending\n"
    "  --once                  exit 0 once the broker has acknowledged one status\n"
    "  --exit-when-confirmed   exit 0 once it has acknowledged `confirmed`, 1 if an update ended otherwise\n"
    "  --quiet                 no progress on standard output\n"
    "  --help, --version\n";

static void on_signal(int number)
{
    stopped = 1;
}

static void on_event(void *arg, const char *text)
{
    char at[16];
    time_t now = time(NULL);
    struct tm tm;
    strftime(at, sizeof at, "%H:%M:%S", localtime_r(&now, &tm));
    printf("%s device %" PRIu64 ": %s\n", at, *(const uint64_t *)arg, text);
    fflush(stdout);
}

static bool parse_number(const char *text, uint64_t most, uint64_t *out)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    *out = value;
    return *text >= '0' && *text <= '9' && *end == '\0' && errno == 0 && value <= most;
}

static bool parse_time(const char *text, uint32_t *out)
{
    static const struct {
        const char *unit;
        double ms;
    } units[] = {{"ms", 1}, {"s", 1e3}, {"m", 60e3}, {"h", 3600e3}, {"d", 86400e3}, {"", 1e3}};
    char *end;
    double value = strtod(text, &end);
    if (end == text || !(value >= 0)) {
        return false;
    }
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (strcmp(end, units[i].unit) == 0 && value * units[i].ms < 1e9) {
            *out = (uint32_t)(value * units[i].ms);
            return true;
        }
    }
    return false;
}

/* NAME=NUMBER; the name is cut out of text. */
static bool parse_metric(char *text, struct otad_vitals *vitals, struct otad_metric *metrics)
{
    char *equals = strchr(text, '='), *end;
    if (!equals || equals == text || vitals->metric_count == METRICS) {
        return false;
    }
    *equals = '\0';
    double value = strtod(equals + 1, &end);
    if (end == equals + 1 || *end != '\0' || !(fabs(value) < 1e12)) {
        return false;
    }
    metrics[vitals->metric_count++] = (struct otad_metric){text, llround(value * 1000), 3};
    vitals->metrics = metrics;
    return true;
}

static bool parse_selftest(const char *text, enum sim_selftest *out)
{
    static const char *const names[] = {"ok", "fail", "crash"};
    for (int i = 0; i < 3; i++) {
        if (strcmp(text, names[i]) == 0) {
            *out = (enum sim_selftest)i;
            return true;
        }
    }
    return false;
}

enum choice {
    CONFIG = 256,
    STATE,
    INITIAL,
    CHIP,
    SLOT_SIZE,
    CA,
    HEARTBEAT,
    MAX_JITTER,
    RETRIES,
    BACKOFF,
    CONNECT_LIMIT,
    CONFIRM_LIMIT,
    MAX_RATE,
    BATTERY,
    METRIC,
    SELFTEST,
    CRASH_AFTER_BOOT,
    DIE_AFTER_BYTES,
    ONCE,
    EXIT_WHEN_CONFIRMED,
    QUIET,
    HELP,
    VERSION
};
static const struct option long_options[] = {{"config", 1, 0, CONFIG},
                                             {"state", 1, 0, STATE},
                                             {"initial", 1, 0, INITIAL},
                                             {"chip", 1, 0, CHIP},
                                             {"slot-size", 1, 0, SLOT_SIZE},
                                             {"ca", 1, 0, CA},
                                             {"heartbeat", 1, 0, HEARTBEAT},
                                             {"max-jitter", 1, 0, MAX_JITTER},
                                             {"retries", 1, 0, RETRIES},
                                             {"backoff", 1, 0, BACKOFF},
                                             {"connect-limit", 1, 0, CONNECT_LIMIT},
                                             {"confirm-limit", 1, 0, CONFIRM_LIMIT},
                                             {"max-rate", 1, 0, MAX_RATE},
                                             {"battery", 1, 0, BATTERY},
                                             {"metric", 1, 0, METRIC},
                                             {"selftest", 1, 0, SELFTEST},
                                             {"crash-after-boot", 1, 0, CRASH_AFTER_BOOT},
                                             {"die-after-bytes", 1, 0, DIE_AFTER_BYTES},
                                             {"once", 0, 0, ONCE},
                                             {"exit-when-confirmed", 0, 0, EXIT_WHEN_CONFIRMED},
                                             {"quiet", 0, 0, QUIET},
                                             {"help", 0, 0, HELP},
                                             {"version", 0, 0, VERSION},
                                             {0}};

/* False: the value is no good. */
static bool take_option(struct arguments *arguments, int option, char *value)
{
    struct sim_options *options = &arguments->options;
    uint64_t number = 0;
    switch (option) {
    case CONFIG:
        arguments->config = value;
        return true;
    case STATE:
        options->state = value;
        return true;
    case INITIAL:
        options->initial = value;
        return true;
    case CHIP:
        arguments->chip = value;
        return otad_image_chip_id(value) >= 0;
    case SLOT_SIZE:
        return parse_number(value, 64 << 20, &number) &&
               (options->config.trust.slot_size = (uint32_t)number) > 0;
    case CA:
        arguments->ca = value;
        return true;
    case HEARTBEAT:
        return parse_time(value, &options->config.heartbeat) && options->config.heartbeat > 0;
    case MAX_JITTER:
        return parse_time(value, &options->config.max_jitter);
    case RETRIES:
        options->config.retries = parse_number(value, 200, &number) ? (uint8_t)number : 0;
        return options->config.retries > 0;
    case BACKOFF:
        return parse_time(value, &options->config.backoff) && options->config.backoff > 0;
    case CONNECT_LIMIT:
        return parse_time(value, &options->config.connect_limit) && options->config.connect_limit > 0;
    case CONFIRM_LIMIT:
        return parse_time(value, &options->config.confirm_limit) && options->config.confirm_limit > 0;
    case MAX_RATE:
        options->max_rate = parse_number(value, INT64_MAX, &number) ? (int64_t)number : -1;
        return options->max_rate >= 0;
    case BATTERY:
        options->vitals.battery = parse_number(value, 100, &number) ? (uint8_t)number : UINT8_MAX;
        return options->vitals.battery <= 100;
    case METRIC:
        return parse_metric(value, &options->vitals, arguments->metrics);
    case SELFTEST:
        return parse_selftest(value, &options->selftest);
    case CRASH_AFTER_BOOT:
        options->crash_after_boot = parse_number(value, 1000, &number) ? (unsigned)number : UINT32_MAX;
        return options->crash_after_boot <= 1000;
    case DIE_AFTER_BYTES:
        return parse_number(value, UINT64_MAX, &options->die_after);
    case ONCE:
        return arguments->once = true;
    case EXIT_WHEN_CONFIRMED:
        return arguments->until_confirmed = true;
    case QUIET:
        return arguments->quiet = true;
    default:
        return false;
    }
}

/* -1: go on; else the exit code. */
static int parse(struct arguments *arguments, int argc, char **argv)
{
    int option, index = 0;
    while ((option = getopt_long(argc, argv, "", long_options, &index)) != -1) {
        if (option == HELP) {
            fputs(help, stdout);
            return EXIT_FINE;
        }
        if (option == VERSION) {
            puts("otad-device " OTAD_VERSION);
            return EXIT_FINE;
        }
        if (option == '?') {
            return EXIT_USAGE;
        }
        if (!take_option(arguments, option, optarg)) {
            fprintf(stderr, "otad-device: --%s cannot be %s\n", long_options[index].name, optarg);
            return EXIT_USAGE;
        }
    }
    if (optind < argc || !arguments->config || !arguments->options.state) {
        fputs("otad-device: needs --config FILE and --state DIR, and no other words; see --help\n", stderr);
        return EXIT_USAGE;
    }
    return -1;
}

static char *read_text(const char *path)
{
    enum { MOST = 1 << 20 };
    FILE *file = fopen(path, "re");
    char *text = file ? calloc(1, MOST + 1) : NULL;
    if (text && fread(text, 1, MOST, file) == 0) {
        free(text);
        text = NULL;
    }
    if (file) {
        fclose(file);
    }
    return text;
}

/* Runs until a signal, or until what it was asked to wait for has happened. */
static int run(const struct arguments *arguments, struct sim_loop *loop, struct sim_device *device)
{
    unsigned statuses;
    while (!stopped) {
        sim_loop_turn(loop, TURN);
        enum otad_state told = sim_device_told(device, &statuses);
        if (arguments->once && statuses > 0) {
            break;
        }
        if (arguments->until_confirmed && told >= OTAD_STATE_CONFIRMED) {
            return told == OTAD_STATE_CONFIRMED ? EXIT_FINE : EXIT_PROBLEM;
        }
    }
    return EXIT_FINE;
}

static int with_registration(struct arguments *arguments, struct sim_registration *registration)
{
    const char *error;
    struct sim_loop *loop = sim_loop_new();
    if (!loop) {
        fputs("otad-device: out of memory\n", stderr);
        return EXIT_PROBLEM;
    }
    if (arguments->chip) {
        snprintf(registration->trust.chip, sizeof registration->trust.chip, "%s", arguments->chip);
    }
    arguments->options.registration = registration;
    arguments->options.on_event = arguments->quiet ? NULL : on_event;
    arguments->options.arg = &registration->trust.device_id;
    struct sim_device *device = sim_device_new(loop, &arguments->options, &error);
    int code = EXIT_PROBLEM;
    if (device) {
        code = run(arguments, loop, device);
        sim_device_goodbye(device);
        sim_device_free(device);
    } else {
        int cause = errno;
        fprintf(stderr, "otad-device: %s: %s%s%s\n", arguments->options.state, error, cause ? ": " : "",
                cause ? strerror(cause) : "");
    }
    sim_loop_free(loop);
    return code;
}

int main(int argc, char **argv)
{
    struct arguments arguments = {.options = {.config = {.trust = {.slot_size = 4 << 20}},
                                              .vitals = {.has_rssi = true,
                                                         .rssi = -61,
                                                         .has_heap = true,
                                                         .heap = 183920,
                                                         .has_battery = true,
                                                         .battery = 87}}};
    struct sim_registration registration;
    char *error = NULL;
    int code = parse(&arguments, argc, argv);
    if (code >= 0) {
        return code;
    }
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    signal(SIGPIPE, SIG_IGN);
    if (!sim_registration_load(&registration, arguments.config, &error)) {
        fprintf(stderr, "otad-device: %s: %s\n", arguments.config, error ? error : "out of memory");
        free(error);
        return EXIT_PROBLEM;
    }
    if (arguments.ca) {
        free(registration.ca);
        registration.ca = read_text(arguments.ca);
        if (!registration.ca) {
            fprintf(stderr, "otad-device: cannot read %s\n", arguments.ca);
            sim_registration_free(&registration);
            return EXIT_PROBLEM;
        }
    }
    code = with_registration(&arguments, &registration);
    sim_registration_free(&registration);
    return code;
}
