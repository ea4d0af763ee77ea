/* otad-fleet: thousands of simulated ESP32s on one thread, for tests. Reads registrations, runs, answers
 * words on its standard input, and tells at the end what every device did. */
#include "fleet.h"
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { TURN = 20, EXIT_FINE = 0, EXIT_PROBLEM = 1, EXIT_USAGE = 2, IMAGE_MOST = 16 << 20 };

static volatile sig_atomic_t stopped, asked; /* set by signals only */

static const char help[] =
    "Usage: otad-fleet --devices FILE [options]\n"
    "Runs the device client for each line of FILE: the answer of POST /devices/register, in one line, as it "
    "came,\n"
    "and in it \"image\": the path of what the device runs at first (none: nothing, version 0.0.0).\n"
    "\n"
    "  --seed N                draws modes, places and times [1]\n"
    "  --share MODE=FRACTION   how many devices have this fault; repeat for others:\n"
    "                          slow, lossy, cut_off, corrupting, crashing, vanishing, power_cut, refusing, "
    "sleeping\n"
    "  --rate N                devices switched on a second [2000]\n"
    "  --slot-size BYTES       [4194304]\n"
    "\n"
    "Times (500ms, 30s, 5m)\n"
    "  --heartbeat TIME [60s]  --backoff TIME [500ms]  --jitter TIME [0]  --confirm-limit TIME [60s]\n"
    "  --connect-limit TIME [20s]\n"
    "  --boot TIME             from a restart to the first instruction [200ms]\n"
    "  --away TIME             how long cut_off devices lack the broker, half to one and a half of it [3s]\n"
    "  --period TIME, --awake TIME  of sleeping devices [60s, 5s]\n"
    "  --slow-rate BYTES       a second, of slow devices [32768]\n"
    "\n"
    "Words on standard input: `summary` and `report` each print one line of JSON; `stop`, or its end, prints "
    "the\n"
    "report and ends. SIGUSR1 is `report`, SIGTERM and SIGINT are `stop`.\n";

static void on_stop(int number)
{
    stopped = 1;
}

static void on_ask(int number)
{
    asked = 1;
}

/* --- options --- */

static bool parse_number(const char *text, double most, double *out)
{
    char *end;
    *out = strtod(text, &end);
    return end != text && *end == '\0' && *out >= 0 && *out <= most;
}

static bool parse_time(const char *text, uint32_t *out)
{
    static const struct {
        const char *unit;
        double ms;
    } units[] = {{"ms", 1}, {"s", 1e3}, {"m", 60e3}, {"h", 3600e3}};
    char *end;
    double value = strtod(text, &end);
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (end != text && strcmp(end, units[i].unit) == 0 && value >= 0 && value * units[i].ms < 1e9) {
            *out = (uint32_t)(value * units[i].ms);
            return true;
        }
    }
    return false;
}

static bool parse_share(const char *text, double shares[FLEET_MODES])
{
    const char *equals = strchr(text, '=');
    for (int mode = FLEET_HEALTHY + 1; equals && mode < FLEET_MODES; mode++) {
        const char *name = fleet_mode_name((enum fleet_mode)mode);
        if (strlen(name) == (size_t)(equals - text) && strncmp(name, text, strlen(name)) == 0) {
            return parse_number(equals + 1, 1, &shares[mode]);
        }
    }
    return false;
}

struct arguments {
    const char *devices;
    double rate;
    struct fleet_settings settings;
};

enum choice {
    DEVICES = 256,
    SEED,
    SHARE,
    RATE,
    SLOT_SIZE,
    HEARTBEAT,
    BACKOFF,
    JITTER,
    CONFIRM_LIMIT,
    CONNECT_LIMIT,
    BOOT,
    AWAY,
    PERIOD,
    AWAKE,
    SLOW_RATE,
    HELP
};
static const struct option long_options[] = {{"devices", 1, 0, DEVICES},
                                             {"seed", 1, 0, SEED},
                                             {"share", 1, 0, SHARE},
                                             {"rate", 1, 0, RATE},
                                             {"slot-size", 1, 0, SLOT_SIZE},
                                             {"heartbeat", 1, 0, HEARTBEAT},
                                             {"backoff", 1, 0, BACKOFF},
                                             {"jitter", 1, 0, JITTER},
                                             {"boot", 1, 0, BOOT},
                                             {"confirm-limit", 1, 0, CONFIRM_LIMIT},
                                             {"away", 1, 0, AWAY},
                                             {"connect-limit", 1, 0, CONNECT_LIMIT},
                                             {"period", 1, 0, PERIOD},
                                             {"awake", 1, 0, AWAKE},
                                             {"help", 0, 0, HELP},
                                             {"slow-rate", 1, 0, SLOW_RATE},
                                             {0}};

/* False: the value is no good. */
static bool take_option(struct arguments *arguments, int option, char *value)
{
    struct fleet_settings *settings = &arguments->settings;
    double number = 0;
    switch (option) {
    case DEVICES:
        arguments->devices = value;
        return true;
    case SEED:
        settings->seed = parse_number(value, 1e15, &number) ? (uint64_t)number : 0;
        return settings->seed > 0;
    case SHARE:
        return parse_share(value, settings->shares);
    case RATE:
        return parse_number(value, 1e6, &arguments->rate) && arguments->rate > 0;
    case SLOT_SIZE:
        settings->config.trust.slot_size = parse_number(value, IMAGE_MOST, &number) ? (uint32_t)number : 0;
        return settings->config.trust.slot_size > 0;
    case SLOW_RATE:
        settings->slow_rate = parse_number(value, 1e9, &number) ? (int64_t)number : 0;
        return settings->slow_rate > 0;
    case HEARTBEAT:
        return parse_time(value, &settings->config.heartbeat) && settings->config.heartbeat > 0;
    case BACKOFF:
        return parse_time(value, &settings->config.backoff) && settings->config.backoff > 0;
    case JITTER:
        return parse_time(value, &settings->config.max_jitter);
    case CONFIRM_LIMIT:
        return parse_time(value, &settings->config.confirm_limit);
    case CONNECT_LIMIT:
        return parse_time(value, &settings->config.connect_limit);
    case BOOT:
        return parse_time(value, &settings->boot_time);
    case AWAY:
        return parse_time(value, &settings->away) && settings->away > 0;
    case PERIOD:
        return parse_time(value, &settings->period);
    case AWAKE:
        return parse_time(value, &settings->awake) && settings->awake > 0;
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
        if (option == '?') {
            return EXIT_USAGE;
        }
        if (!take_option(arguments, option, optarg)) {
            fprintf(stderr, "otad-fleet: --%s cannot be %s\n", long_options[index].name, optarg);
            return EXIT_USAGE;
        }
    }
    if (optind < argc || !arguments->devices || arguments->settings.awake > arguments->settings.period) {
        fputs(
            "otad-fleet: needs --devices FILE, --awake not above --period, and no other words; see --help\n",
            stderr);
        return EXIT_USAGE;
    }
    return -1;
}

/* --- words --- */

static void answer(const struct fleet *fleet, const char *word)
{
    if (strcmp(word, "stop") == 0) {
        stopped = 1;
    } else if (strcmp(word, "summary") == 0 || strcmp(word, "report") == 0) {
        fleet_report(fleet, *word == 'r', stdout);
    } else {
        fprintf(stderr, "otad-fleet: no such word: %s\n", word);
    }
}

/* Words may come in pieces: `line` keeps what is not ended yet. */
static void listen_to(const struct fleet *fleet, char *line, size_t size)
{
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    size_t len = strlen(line);
    if (poll(&input, 1, 0) <= 0) {
        return;
    }
    ssize_t n = read(STDIN_FILENO, line + len, size - len - 1);
    if (n == 0 || len + 1 == size || (n < 0 && errno != EINTR)) {
        stopped = 1;
        return;
    }
    line[len + (n > 0 ? (size_t)n : 0)] = '\0';
    for (char *end; (end = strchr(line, '\n'));) {
        *end = '\0';
        answer(fleet, line);
        memmove(line, end + 1, strlen(end + 1) + 1);
    }
}

static void run(struct fleet *fleet)
{
    char line[256] = "";
    while (!stopped) {
        sim_loop_turn(fleet->loop, TURN);
        listen_to(fleet, line, sizeof line);
        if (asked) {
            asked = 0;
            fleet_report(fleet, true, stdout);
        }
    }
    fleet_report(fleet, true, stdout);
}

int main(int argc, char **argv)
{
    struct arguments arguments = {.rate = 2000,
                                  .settings = {.seed = 1,
                                               .slow_rate = 32768,
                                               .away = 3000,
                                               .period = 60000,
                                               .awake = 5000,
                                               .boot_time = 200,
                                               .config = {.trust = {.slot_size = 4 << 20},
                                                          .backoff = 500,
                                                          .confirm_limit = 60000,
                                                          .connect_limit = 20000}}};
    struct rlimit files;
    int code = parse(&arguments, argc, argv);
    if (code >= 0) {
        return code;
    }
    signal(SIGINT, on_stop);
    signal(SIGTERM, on_stop);
    signal(SIGUSR1, on_ask);
    signal(SIGPIPE, SIG_IGN);
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    struct fleet fleet = {.settings = arguments.settings};
    if (sodium_init() < 0 || !(fleet.loop = sim_loop_new())) {
        fputs("otad-fleet: out of memory\n", stderr);
        return EXIT_PROBLEM;
    }
    code = EXIT_PROBLEM;
    if (fleet_load(&fleet, arguments.devices, arguments.rate)) {
        run(&fleet);
        code = EXIT_FINE;
    }
    fleet_unload(&fleet);
    sim_loop_free(fleet.loop);
    return code;
}
