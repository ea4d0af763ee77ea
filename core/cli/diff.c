/* otad diff: two revisions of a policy, in source and in behaviour. */
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/recorded.h"
#include "cli/simulate_text.h"
#include "policy/host.h"
#include <errno.h>
#include <getopt.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static const char usage[] =
    "usage: otad diff NAME OLD [NEW] [--failure-rate F] [--json]\n"
    "\n"
    "Compares two sources of policy NAME: line by line, then in what they make of the decisions\n"
    "that were recorded, then in a simulated rollout to 1000 made-up devices. OLD and NEW are\n"
    "revisions (the beginning of the id is enough) or Lua files; NEW may be left out: what the\n"
    "scripts hold today.\n"
    "  --failure-rate F   in the simulation, the share of devices that cannot run the firmware [0]\n"
    "  --json             the two behaviours in JSON\n";

extern char **environ;

struct diff {
    struct cli_source old, new;
    struct database database;
    double failure_rate;
    bool json;
};

/* A file in memory that holds the source. */
static int hold(const struct cli_source *source)
{
    int fd = memfd_create("policy", 0);
    const struct policy_text *text = &source->source.source;
    for (size_t sent = 0; fd >= 0 && sent < text->len;) {
        ssize_t n = write(fd, text->text + sent, text->len - sent);
        if (n < 0 && errno != EINTR) {
            close(fd);
            return -1;
        }
        sent += n > 0 ? (size_t)n : 0;
    }
    return fd;
}

/* diff(1) of the two. */
static bool print_source(const struct diff *diff)
{
    int old = hold(&diff->old), new = hold(&diff->new), status = -1;
    char *old_path = x_printf("/proc/self/fd/%d", old), *new_path = x_printf("/proc/self/fd/%d", new);
    char *arguments[] = {"diff",         "-u", "--label", diff->old.path, "--label",
                         diff->new.path, "--", old_path,  new_path,       NULL};
    pid_t pid;
    fflush(stdout);
    int error = old < 0 || new < 0 ? errno : posix_spawnp(&pid, "diff", NULL, NULL, arguments, environ);
    if (error != 0)
        fprintf(stderr, "otad diff: cannot run diff: %s\n", strerror(error));
    else
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
            ;
    bool ok = error == 0 && WIFEXITED(status) && WEXITSTATUS(status) <= 1;
    if (ok && WEXITSTATUS(status) == 0)
        puts("The two sources are the same.");
    free(old_path);
    free(new_path);
    close(old);
    close(new);
    return ok;
}

/* With the params of the newest rollout: the policy may need them. */
static char *make_request(const struct diff *diff, const struct recorded *recorded)
{
    json_t *kept = json_loads(recorded->request, 0, NULL), *rollouts = json_object_get(kept, "rollouts");
    size_t count = json_array_size(rollouts);
    json_t *params = count == 0 ? NULL : json_object_get(json_array_get(rollouts, count - 1), "params");
    json_t *request = json_pack("{s:{s:f},s:{s:O*}}", "assume", "failure_rate", diff->failure_rate, "rollout",
                                "params", params);
    char *text = json_dumps(request, JSON_COMPACT);
    json_decref(request);
    json_decref(kept);
    return text;
}

static bool simulate(const struct diff *diff, const struct recorded *recorded, struct host *host,
                     const struct cli_source *source, struct buffer *json)
{
    char *request = make_request(diff, recorded);
    bool ok =
        host_simulate(host, &source->source, (struct policy_text){request, strlen(request)}, NULL, 0, json);
    free(request);
    if (!ok)
        cli_print_problems(source, "diff", buffer_text(json), diff->json);
    return ok;
}

static void print_simulation(const struct cli_source *source, struct buffer *json)
{
    json_t *answer = json_loadb(json->data, json->len, 0, NULL);
    printf("\n%s\n", source->path);
    simulate_print(source, answer);
    json_decref(answer);
}

static int compare(const struct diff *diff, const struct recorded *recorded)
{
    struct host *host = host_new();
    struct buffer replayed = {0}, old = {0}, new = {0};
    bool ok = host_replay(host, &diff->new.source, &diff->old.source,
                          (struct policy_text){recorded->request, strlen(recorded->request)},
                          recorded->decisions, recorded->count, &replayed);
    if (!ok)
        cli_print_problems(&diff->new, "diff", buffer_text(&replayed), diff->json);
    ok = ok && simulate(diff, recorded, host, &diff->old, &old) &&
         simulate(diff, recorded, host, &diff->new, &new);
    if (ok && diff->json) {
        printf("{\"replay\":%s,\"simulate\":[%s,%s]}\n", buffer_text(&replayed), buffer_text(&old),
               buffer_text(&new));
    } else if (ok) {
        json_t *answer = json_loadb(replayed.data, replayed.len, 0, NULL);
        putchar('\n');
        if (recorded->count == 0)
            puts("No decisions of it were recorded yet.");
        else
            recorded_print(recorded, answer, "old", "new");
        json_decref(answer);
        puts("\nA rollout to 1000 made-up devices:");
        print_simulation(&diff->old, &old);
        print_simulation(&diff->new, &new);
    }
    buffer_free(&replayed);
    buffer_free(&old);
    buffer_free(&new);
    host_free(host);
    return ok ? CLI_FINE : CLI_PROBLEM;
}

/* What an argument names becomes the source; NULL: what the scripts hold, or else what is in force. */
static bool choose(struct diff *diff, struct cli_source *source, const char *which)
{
    if (which == NULL && source->source.source.text != NULL)
        return true;
    if (which != NULL && (strchr(which, '/') != NULL || strchr(which, '.') != NULL))
        return cli_source_file(source, "diff", which);
    return recorded_revision(source, &diff->database, "diff", which);
}

static int run(struct diff *diff, const char *name, const char *old, const char *new)
{
    struct recorded recorded;
    int code = CLI_PROBLEM;
    if (!cli_source_open(&diff->old, "diff", name, true))
        return code;
    if (cli_source_open(&diff->new, "diff", name, true)) {
        if (database_open(&diff->database, "diff")) {
            if (choose(diff, &diff->old, old) && choose(diff, &diff->new, new) &&
                recorded_read(&recorded, &diff->database, "diff", name, NULL)) {
                if (diff->json || print_source(diff))
                    code = compare(diff, &recorded);
                recorded_free(&recorded);
            }
            database_close(&diff->database);
        }
        cli_source_close(&diff->new);
    }
    cli_source_close(&diff->old);
    return code;
}

int cli_diff(int argc, char **argv)
{
    static const struct option options[] = {{"failure-rate", required_argument, NULL, 'f'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    struct diff diff = {0};
    int option;
    optind = 0;
    opterr = 0;
    while ((option = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
        if (option == 'h') {
            fputs(usage, stdout);
            return CLI_FINE;
        }
        if (option == 'j') {
            diff.json = true;
            continue;
        }
        char *end = NULL;
        double rate = option == 'f' ? strtod(optarg, &end) : 0;
        if (option != 'f' || *optarg < '0' || *optarg > '1' || *end != '\0' || !(rate >= 0 && rate <= 1)) {
            fprintf(stderr, "otad diff: %s %s\n%s", argv[optind - 1],
                    option == ':'   ? "needs a value"
                    : option == 'f' ? "is no share from 0 to 1"
                                    : "is not an option",
                    usage);
            return CLI_USAGE;
        }
        diff.failure_rate = rate;
    }
    if (argc - optind < 2 || argc - optind > 3) {
        fputs(usage, stderr);
        return CLI_USAGE;
    }
    return run(&diff, argv[optind], argv[optind + 1], argc - optind == 3 ? argv[optind + 2] : NULL);
}
