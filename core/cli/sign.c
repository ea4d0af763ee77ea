/* otad sign: makes the release signature of a firmware image, for the `signature` field of an upload. */
#include "base/file.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "fleet/image.h"
#include "fleet/signing.h"
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#define IMAGE_MAX ((size_t)64 << 20) /* more than any server takes */

static const char usage[] =
    "usage: otad sign --key NAME.key [--version V] FILE\n"
    "\n"
    "Prints the release signature of an ESP32 application image in base64. It covers chip, version and "
    "SHA-256\n"
    "of the image. The version is the one the image names; give --version where it is uploaded under "
    "another\n"
    "(images built with the Arduino core all name the same). Keys come from: otad keygen --out NAME\n";

static int problem(const char *file, const char *text)
{
    fprintf(stderr, "otad sign: %s%s%s\n", file == NULL ? "" : file, file == NULL ? "" : ": ", text);
    return CLI_PROBLEM;
}

static int sign(const char *key_file, const char *version, const char *file)
{
    struct signing_key *key;
    struct image image;
    struct image_error why;
    char signature[SIGNING_SIGNATURE_LEN + 1], *error;
    int code = CLI_PROBLEM;
    if ((key = signing_key_load(key_file, &error)) == NULL) {
        problem(NULL, error);
        free(error);
        return CLI_PROBLEM;
    }
    uint8_t *data = x_alloc(IMAGE_MAX);
    ssize_t len = file_load(file, FILE_PUBLIC, data, IMAGE_MAX, &error);
    if (len < 0) {
        problem(NULL, error);
        free(error);
    } else if (!image_parse(data, (size_t)len, &image, &why)) {
        fprintf(stderr, "otad sign: %s: not a sound ESP32 application image: %s (%s, byte %zu)\n", file,
                why.message, why.check, why.offset);
    } else if (version == NULL && image.version[0] == '\0') {
        problem(file, "the image names no version; give one with --version");
    } else if (!signing_release_sign(key, image.chip, version == NULL ? image.version : version, image.sha256,
                                     signature)) {
        problem(file, "a version has 1 to 50 bytes and no control characters");
    } else {
        puts(signature);
        code = CLI_FINE;
    }
    free(data);
    signing_key_free(key);
    return code;
}

int cli_sign(int argc, char **argv)
{
    static const struct option options[] = {{"key", required_argument, NULL, 'k'},
                                            {"version", required_argument, NULL, 'v'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    const char *key = NULL, *version = NULL;
    int option;
    optind = 0; /* start anew */
    opterr = 0;
    while ((option = getopt_long(argc, argv, ":k:v:h", options, NULL)) != -1) {
        switch (option) {
        case 'k':
            key = optarg;
            break;
        case 'v':
            version = optarg;
            break;
        case 'h':
            fputs(usage, stdout);
            return CLI_FINE;
        default:
            fprintf(stderr, "otad sign: %s %s\n%s", argv[optind - 1],
                    option == ':' ? "needs a value" : "is not an option", usage);
            return CLI_USAGE;
        }
    }
    if (key == NULL || optind + 1 != argc) {
        fprintf(stderr, "otad sign: %s\n%s", key == NULL ? "--key is missing" : "name one image file", usage);
        return CLI_USAGE;
    }
    return sign(key, version, argv[optind]);
}
