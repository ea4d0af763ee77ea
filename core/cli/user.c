/* otad user: accounts, from the command line; the only way to make the first operator. */
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/database.h"
#include <ctype.h>
#include <getopt.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

static const char usage[] =
    "usage: otad user add EMAIL [--role user|operator]\n"
    "       otad user role EMAIL user|operator\n"
    "       otad user password EMAIL\n"
    "       otad user list\n"
    "\n"
    "add and password ask for the password, or read it from standard input when that is no\n"
    "terminal: 10 to 128 characters. A new role or password ends the account's sessions.\n";

enum { SHORTEST = 10, LONGEST = 128, PASSES = 2 };
static const size_t hash_memory = 19 * 1024 * 1024; /* as crypto.hash_password for scripts */

static bool read_line(const char *prompt, char *out, size_t size)
{
    struct termios before, silent;
    bool terminal = isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &before) == 0;
    if (terminal) {
        silent = before;
        silent.c_lflag &= ~(tcflag_t)ECHO;
        fputs(prompt, stderr);
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent);
    }
    bool ok = fgets(out, (int)size, stdin) != NULL;
    if (terminal) {
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
        fputc('\n', stderr);
    }
    if (ok)
        out[strcspn(out, "\r\n")] = '\0';
    return ok;
}

static size_t count_characters(const char *text)
{
    size_t count = 0;
    for (; *text != '\0'; text++)
        count += ((unsigned char)*text & 0xc0) != 0x80;
    return count;
}

static bool read_password(char hash[crypto_pwhash_STRBYTES])
{
    char password[1024], again[1024];
    const char *problem = NULL;
    if (!read_line("Password: ", password, sizeof(password)))
        problem = "no password was given";
    else if (count_characters(password) < SHORTEST || count_characters(password) > LONGEST)
        problem = "a password has 10 to 128 characters";
    else if (isatty(STDIN_FILENO) &&
             (!read_line("Once more: ", again, sizeof(again)) || strcmp(password, again) != 0))
        problem = "the two are not the same";
    else if (crypto_pwhash_str_alg(hash, password, strlen(password), PASSES, hash_memory,
                                   crypto_pwhash_ALG_ARGON2ID13) != 0)
        problem = "no memory to hash the password";
    sodium_memzero(password, sizeof(password));
    sodium_memzero(again, sizeof(again));
    if (problem != NULL)
        fprintf(stderr, "otad user: %s\n", problem);
    return problem == NULL;
}

/* Runs a statement that answers with one row about the account: its id and role. */
static int change(struct database *database, const char *statement, size_t count, const char *const *values)
{
    char *error = NULL;
    PGresult *result = database_change(database, statement, count, values, &error);
    if (result == NULL) {
        bool taken = strstr(error, "users_email_key") != NULL;
        fprintf(stderr, "otad user: %s%s", taken ? values[0] : error,
                taken ? " has an account already\n" : "");
        free(error);
        return CLI_PROBLEM;
    }
    bool found = PQntuples(result) > 0;
    if (found)
        printf("%s: account %s, %s\n", values[0], PQgetvalue(result, 0, 0), PQgetvalue(result, 0, 1));
    else
        fprintf(stderr, "otad user: there is no account %s\n", values[0]);
    PQclear(result);
    return found ? CLI_FINE : CLI_PROBLEM;
}

static int list(struct database *database)
{
    char *error = NULL;
    PGresult *result = database_run(database, "user_list", 0, NULL, &error);
    if (result == NULL) {
        fprintf(stderr, "otad user: %s", error);
        free(error);
        return CLI_PROBLEM;
    }
    for (int i = 0; i < PQntuples(result); i++)
        printf("%6s  %-8s  %s\n", PQgetvalue(result, i, 0), PQgetvalue(result, i, 2),
               PQgetvalue(result, i, 1));
    PQclear(result);
    return CLI_FINE;
}

static bool valid_role(const char *role)
{
    return strcmp(role, "user") == 0 || strcmp(role, "operator") == 0;
}

static bool valid_email(const char *email)
{
    const char *at = strchr(email, '@');
    return at != NULL && at > email && at[1] != '\0' && strlen(email) <= 255 &&
           strpbrk(email, " \t\r\n") == NULL;
}

static int run(struct database *database, const char *verb, char *email, const char *role)
{
    char hash[crypto_pwhash_STRBYTES];
    const char *values[] = {email, hash, role};
    if (strcmp(verb, "list") == 0)
        return list(database);
    if (strcmp(verb, "role") == 0) {
        values[1] = role;
        return change(database, "user_set_role", 2, values);
    }
    if (!read_password(hash))
        return CLI_PROBLEM;
    if (strcmp(verb, "password") == 0)
        return change(database, "user_set_password", 2, values);
    return change(database, "user_add", 3, values);
}

int cli_user(int argc, char **argv)
{
    static const struct option options[] = {{"role", required_argument, NULL, 'r'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    const char *role = "user";
    struct database database;
    int option;
    optind = 0;
    opterr = 0;
    while ((option = getopt_long(argc, argv, ":r:h", options, NULL)) != -1) {
        if (option == 'h') {
            fputs(usage, stdout);
            return CLI_FINE;
        }
        if (option != 'r') {
            fprintf(stderr, "otad user: %s %s\n%s", argv[optind - 1],
                    option == ':' ? "needs a value" : "is not an option", usage);
            return CLI_USAGE;
        }
        role = optarg;
    }
    int left = argc - optind;
    const char *verb = left > 0 ? argv[optind] : "";
    char *email = left > 1 ? argv[optind + 1] : NULL;
    bool ok = (strcmp(verb, "list") == 0 && left == 1) || (strcmp(verb, "add") == 0 && left == 2) ||
              (strcmp(verb, "password") == 0 && left == 2) || (strcmp(verb, "role") == 0 && left == 3);
    if (ok && strcmp(verb, "role") == 0)
        role = argv[optind + 2];
    if (!ok || !valid_role(role) || (email != NULL && !valid_email(email))) {
        fputs(ok ? (valid_role(role) ? "otad user: that is not an e-mail address\n"
                                     : "otad user: a role is user or operator\n")
                 : usage,
              stderr);
        return CLI_USAGE;
    }
    for (char *at = email; at != NULL && *at != '\0'; at++)
        *at = (char)tolower((unsigned char)*at);
    if (!database_open(&database, "user"))
        return CLI_PROBLEM;
    int code = run(&database, verb, email, role);
    database_close(&database);
    return code;
}
