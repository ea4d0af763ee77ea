/* otad replay: the decisions that a policy made, once more with another source of it. */
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/recorded.h"
#include "policy/host.h"
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "usage: otad replay NAME [--rollout ID] [--source FILE | --revision R] [--json]\n"
    "\n"
    "Asks policy NAME once more what it decided in rollouts, with the source that the scripts hold\n"
    "today, the Lua file FILE, or revision R (the beginning of its id is enough), and tells what\n"
    "would differ. Nothing is changed.\n"
    "  --rollout ID   of this rollout alone\n"
    "  --json         answer in JSON\n";

struct arguments {
    const char *name, *rollout, *file, *revision;
    bool json;
};

/* -1: go on; else the exit code. */
static int read_arguments(struct arguments *arguments, int argc, char **argv)
{
    static const struct option options[] = {{"rollout", required_argument, NULL, 'r'},
                                            {"source", required_argument, NULL, 's'},
                                            {"revision", required_argument, NULL, 'v'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    int option;
    optind = 0;
    opterr = 0;
    while ((option = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
        switch (option) {
        case 'r':
            arguments->rollout = optarg;
            break;
        case 's':
            arguments->file = optarg;
            break;
        case 'v':
            arguments->revision = optarg;
            break;
        case 'j':
            arguments->json = true;
            break;
        case 'h':
            fputs(usage, stdout);
            return CLI_FINE;
        default:
            fprintf(stderr, "otad replay: %s %s\n%s", argv[optind - 1],
                    option == ':' ? "needs a value" : "is not an option", usage);
            return CLI_USAGE;
        }
    }
    const char *rollout = arguments->rollout;
    if (rollout != NULL && (strspn(rollout, "0123456789") != strlen(rollout) || strlen(rollout) - 1 > 8)) {
        fprintf(stderr, "otad replay: --rollout must be the id of one, not %s\n", rollout);
        return CLI_USAGE;
    }
    if (argc - optind != 1 || (arguments->file != NULL && arguments->revision != NULL)) {
        fputs(usage, stderr);
        return CLI_USAGE;
    }
    arguments->name = argv[optind];
    return -1;
}

static int replay(const struct cli_source *source, const struct recorded *recorded, bool as_json)
{
    struct host *host = host_new();
    struct buffer json = {0};
    bool ok = host_replay(host, &source->source, NULL,
                          (struct policy_text){recorded->request, strlen(recorded->request)},
                          recorded->decisions, recorded->count, &json);
    if (!ok) {
        cli_print_problems(source, "replay", buffer_text(&json), as_json);
    } else if (as_json) {
        puts(buffer_text(&json));
    } else {
        json_t *answer = json_loadb(json.data, json.len, 0, NULL);
        printf("%s\n\n", source->path);
        recorded_print(recorded, answer, "then", "now");
        json_decref(answer);
    }
    buffer_free(&json);
    host_free(host);
    return ok ? CLI_FINE : CLI_PROBLEM;
}

int cli_replay(int argc, char **argv)
{
    struct arguments arguments = {0};
    struct cli_source source;
    struct database database;
    struct recorded recorded;
    int code = read_arguments(&arguments, argc, argv);
    if (code >= 0)
        return code;
    if (!cli_source_open(&source, "replay", arguments.name, true))
        return CLI_PROBLEM;
    code = CLI_PROBLEM;
    if ((arguments.file == NULL || cli_source_file(&source, "replay", arguments.file)) &&
        database_open(&database, "replay")) {
        bool absent = source.source.source.text == NULL;
        if (((arguments.revision == NULL && !absent) ||
             recorded_revision(&source, &database, "replay", arguments.revision)) &&
            recorded_read(&recorded, &database, "replay", source.name, arguments.rollout)) {
            code = replay(&source, &recorded, arguments.json);
            recorded_free(&recorded);
        }
        database_close(&database);
    }
    cli_source_close(&source);
    return code;
}
