/* otad keygen: makes an Ed25519 key pair for signing firmware or offers. */
#include "cli/cli.h"
#include "fleet/signing.h"
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

static const char usage[] =
    "usage: otad keygen --out NAME\n"
    "\n"
    "Makes an Ed25519 key pair and writes it to\n"
    "  NAME.key  the secret key, readable by you alone; keep it safe and off the server\n"
    "  NAME.pub  the public key; list it in release.keys (OTAD_RELEASE_KEYS)\n"
    "Existing files are never overwritten.\n";

int cli_keygen(int argc, char **argv)
{
    static const struct option options[] = {{"out", required_argument, NULL, 'o'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    const char *name = NULL;
    struct signing_public public;
    char *error;
    int option;
    optind = 0; /* start anew */
    opterr = 0;
    while ((option = getopt_long(argc, argv, ":o:h", options, NULL)) != -1) {
        if (option == 'h') {
            fputs(usage, stdout);
            return CLI_FINE;
        }
        if (option != 'o') {
            fprintf(stderr, "otad keygen: %s %s\n%s", argv[optind - 1],
                    option == ':' ? "needs a value" : "is not an option", usage);
            return CLI_USAGE;
        }
        name = optarg;
    }
    if (name == NULL || *name == '\0' || optind != argc) {
        fputs(usage, stderr);
        return CLI_USAGE;
    }
    if (!signing_generate(name, &public, &error)) {
        fprintf(stderr, "otad keygen: %s\n", error);
        free(error);
        return CLI_PROBLEM;
    }
    printf("wrote %s.key (secret) and %s.pub\npublic key %s, id %s\n", name, name, public.text, public.id);
    return CLI_FINE;
}
