/* otad: one binary, one subcommand at a time. `otad serve` is wired in cli/app.c and cli/parts.c. */
#include "cli/cli.h"
#include "policy/host.h"
#include <sodium.h>
#include <stdio.h>
#include <string.h>

static int print_version(int argc, char **argv)
{
    if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        puts("usage: otad version\n\nPrints the version.");
        return CLI_FINE;
    }
    if (argc > 1) {
        fputs("otad version: takes no arguments\n", stderr);
        return CLI_USAGE;
    }
    puts("otad " OTAD_VERSION);
    return CLI_FINE;
}

static const struct {
    const char *name, *help;
    int (*run)(int argc, char **argv);
} commands[] = {
    {"serve", "run the server", cli_serve},
    {"migrate", "bring the database's tables up to date", cli_migrate},
    {"check", "look for mistakes in scripts", cli_check},
    {"test", "run the tests of scripts (*_test.lua)", cli_test},
    {"explain", "tell why a device is, or is not, updated", cli_explain},
    {"simulate", "see what a policy would do with a fleet", cli_simulate},
    {"replay", "repeat recorded decisions with another source of a policy", cli_replay},
    {"diff", "compare two revisions of a policy", cli_diff},
    {"user", "make accounts and change their roles", cli_user},
    {"keygen", "make an Ed25519 key pair", cli_keygen},
    {"sign", "sign a firmware image for release", cli_sign},
    {"version", "print the version", print_version},
    {"policy-host", NULL, host_main}, /* not for people: the server starts it */
};

static void print_usage(FILE *out)
{
    fputs("usage: otad COMMAND [ARGUMENTS]\n\n", out);
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (commands[i].help != NULL)
            fprintf(out, "  %-8s %s\n", commands[i].name, commands[i].help);
    }
    fputs("\notad COMMAND --help tells more.\n", out);
}

/* -1: there is no such command. */
static int run_command(int argc, char **argv)
{
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (strcmp(argv[0], commands[i].name) == 0)
            return commands[i].run(argc, argv);
    }
    return -1;
}

int main(int argc, char **argv)
{
    if (sodium_init() < 0) {
        fputs("otad: libsodium cannot be initialized\n", stderr);
        return 1;
    }
    if (argc >= 2) {
        bool help = strcmp(argv[1], "help") == 0;
        if ((help && argc == 2) || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
            print_usage(stdout);
            return 0;
        }
        int code = help && argc == 3 ? run_command(2, (char *[]){argv[2], "--help", NULL})
                                     : run_command(argc - 1, argv + 1);
        if (code >= 0)
            return code;
        if (strcmp(argv[1], "--version") == 0)
            return print_version(argc - 1, argv + 1);
        fprintf(stderr, "otad: there is no command %s\n\n", argv[help && argc == 3 ? 2 : 1]);
    }
    print_usage(stderr);
    return 2;
}
