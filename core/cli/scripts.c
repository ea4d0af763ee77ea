/* otad check and otad test: scripts without a server. Both load everything as the server would, with no
 * database behind it; check then reads what only shows when it runs (policy/check), and test runs the
 * functions of each *_test.lua (policy/policy_tests). */
#include "base/buffer.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "lua/loader.h"
#include "policy/mod_policies.h"
#include "policy/policy_tests.h"
#include "policy/shelf.h"
#include <getopt.h>
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char check_usage[] =
    "usage: otad check [--json] [DIRECTORY]\n"
    "\n"
    "Loads the scripts of DIRECTORY [the key scripts] as the server would, reads them for what would only\n"
    "show when they run, and lists what is wrong. Warnings are no failure.\n";
static const char test_usage[] =
    "usage: otad test [--json] [--coverage] [DIRECTORY]\n"
    "\n"
    "Runs each function of each *_test.lua below DIRECTORY [the key scripts]; one that raises an\n"
    "error has failed. Says how much of each policy ran; --coverage lists the lines that did not.\n";

struct session {
    struct services services;
    struct runtime runtime;
    struct bundle *bundle;
    struct generation *generation;
    struct problems problems;
    struct checker *checker;
    struct policies policies;
    struct policy_tests *tests;
    bool json, coverage;
    bool empty; /* no scripts where they were said to be */
};

/* -1: go on; else the exit code. */
static int read_arguments(struct session *session, int argc, char **argv, const char *usage,
                          const char **directory)
{
    static const struct option options[] = {{"json", no_argument, NULL, 'j'},
                                            {"help", no_argument, NULL, 'h'},
                                            {"coverage", no_argument, NULL, 'c'},
                                            {0}};
    int option;
    optind = 0;
    opterr = 0;
    while ((option = getopt_long(argc, argv, "jh", options, NULL)) != -1) {
        if (option == 'h') {
            fputs(usage, stdout);
            return CLI_FINE;
        }
        if (option != 'j' && (option != 'c' || usage != test_usage)) {
            fprintf(stderr, "otad %s: %s is not an option\n%s", argv[0], argv[optind - 1], usage);
            return CLI_USAGE;
        }
        session->json = session->json || option == 'j';
        session->coverage = session->coverage || option == 'c';
    }
    if (argc - optind > 1) {
        fputs(usage, stderr);
        return CLI_USAGE;
    }
    *directory = optind < argc ? argv[optind] : NULL;
    return -1;
}

static void end(struct session *session)
{
    policy_tests_close(session->tests);
    zones_free(session->policies.zones);
    checker_free(session->checker);
    if (session->generation != NULL)
        generation_release(session->generation);
    bundle_release(session->bundle);
    problems_free(&session->problems);
    buffer_free(&session->runtime.out);
    if (session->services.watchdog != NULL) {
        watchdog_unwatch(session->services.watchdog, &session->runtime.watch);
        watchdog_free(session->services.watchdog);
    }
    config_free((struct config *)session->services.config);
}

static bool load(struct session *session, const char *directory)
{
    char *error = NULL;
    struct config *config = cli_load_config(&error);
    if (config == NULL)
        goto fail;
    session->services.config = config;
    session->services.open_policies = mod_policies_open;
    session->services.watchdog = watchdog_new();
    session->runtime.services = &session->services;
    session->runtime.watch.limit = (uint64_t)config->lua_call_timeout;
    watchdog_watch(session->services.watchdog, &session->runtime.watch);
    if (directory == NULL) {
        directory = config->scripts;
        if (!cli_find_directory("scripts", directory, "", &error))
            goto fail;
    }
    session->bundle = bundle_read(directory, &error);
    if (session->bundle == NULL)
        goto fail;
    if (session->bundle->count == 0) {
        error = x_printf("%s: there are no scripts there", directory);
        session->empty = true;
        goto fail;
    }
    session->generation = loader_load(&session->runtime, session->bundle, &session->problems);
    shelf_check(session->bundle, &session->problems);
    return true;
fail:
    fprintf(stderr, "otad: %s\n", error);
    free(error);
    end(session);
    return false;
}

static void print_problems(const struct session *session)
{
    struct buffer out = {0};
    for (size_t i = 0; i < session->problems.count; i++) {
        const struct problem *problem = &session->problems.list[i];
        buffer_puts(&out, problem->file);
        if (problem->line != 0)
            buffer_printf(&out, ":%d", problem->line);
        buffer_printf(&out, "%s%s%s\n", *problem->file == '\0' ? "" : ": ",
                      problem->warning ? "warning: " : "", problem->message);
    }
    fputs(buffer_text(&out), stdout);
    buffer_free(&out);
}

static enum check_kind kind_of(const struct bundle_file *file)
{
    if (bundle_is_test(file))
        return CHECK_TEST;
    if (strncmp(file->name, "policies/", 9) == 0)
        return CHECK_POLICY;
    return strncmp(file->name, "lib/policy/", 11) == 0 ? CHECK_LIBRARY : CHECK_SCRIPT;
}

static void open_tests(struct session *session, struct generation *generation)
{
    session->policies.zones = zones_new(zones_load_file, NULL);
    session->tests =
        policy_tests_open(generation,
                          &(struct policy_tests_options){.policies = &session->policies, .traceback = true},
                          &session->problems);
}

/* What is to be seen without running anything, besides what loading found. */
static void check_sources(struct session *session)
{
    struct generation *sandbox = loader_open(&session->runtime, session->bundle, &session->problems);
    session->checker = checker_new(NULL);
    if (sandbox != NULL) {
        checker_learn(session->checker, CHECK_SCRIPT, sandbox->L);
        open_tests(session, sandbox);
        checker_learn(session->checker, CHECK_TEST, sandbox->L);
    }
    for (size_t i = 0; i < session->bundle->count; i++) {
        const struct bundle_file *file = &session->bundle->files[i];
        checker_run(session->checker, file->path, kind_of(file), (struct policy_text){file->text, file->len},
                    &session->problems);
    }
    if (checker_missing(session->checker) != NULL)
        problems_add(&session->problems, "", 0, checker_missing(session->checker));
    if (sandbox != NULL)
        generation_release(sandbox);
    problems_sort(&session->problems);
}

int cli_check(int argc, char **argv)
{
    struct session session = {0};
    const char *directory;
    int code = read_arguments(&session, argc, argv, check_usage, &directory);
    if (code >= 0)
        return code;
    if (!load(&session, directory))
        return session.empty ? CLI_USAGE : CLI_PROBLEM;
    check_sources(&session);
    code = problems_errors(&session.problems) == 0 ? CLI_FINE : CLI_PROBLEM;
    if (session.json) {
        struct buffer out = {0};
        problems_put_json(&session.problems, &out);
        printf("{\"ok\":%s,\"problems\":%s}\n", code == CLI_FINE ? "true" : "false", buffer_text(&out));
        buffer_free(&out);
    } else if (session.problems.count == 0) {
        printf("%zu file%s, no problems\n", session.bundle->count, session.bundle->count == 1 ? "" : "s");
    } else {
        print_problems(&session);
    }
    end(&session);
    return code;
}

struct tally {
    struct session *session;
    size_t passed, failed;
};

static void report(void *arg, const char *name, const struct problem *problem)
{
    struct tally *tally = arg;
    if (problem == NULL) {
        tally->passed++;
        return;
    }
    name = name == NULL ? "load" : name;
    char *message = x_printf("%s: %s", name, problem->message);
    tally->failed++;
    if (!tally->session->json)
        printf("FAILED %s: %s\n  %s:%d: %s\n", problem->file, name, problem->file, problem->line,
               problem->message);
    problems_add(&tally->session->problems, problem->file, problem->line, message);
    free(message);
}

/* "3, 5-7": consecutive ones among those that count are one range only where no line lies between. */
static void put_lines(struct buffer *out, const struct coverage *coverage, bool json)
{
    for (size_t i = 0; i < coverage->missed_count; i++) {
        size_t last = i;
        while (!json && last + 1 < coverage->missed_count &&
               coverage->missed[last + 1] == coverage->missed[last] + 1)
            last++;
        buffer_printf(out, i == 0 ? "%d" : json ? ",%d" : ", %d", coverage->missed[i]);
        if (last > i)
            buffer_printf(out, "-%d", coverage->missed[last]);
        i = last;
    }
}

static void put_coverage(struct session *session, struct buffer *out)
{
    for (size_t i = 0; session->tests != NULL && i < session->bundle->count; i++) {
        const struct bundle_file *file = &session->bundle->files[i];
        if (!policy_tests_covers(file))
            continue;
        struct coverage coverage = policy_tests_coverage(session->tests, session->checker, file);
        size_t ran = coverage.lines - coverage.missed_count;
        if (session->json) {
            buffer_puts(out, out->len == 0 ? "{\"file\":" : ",{\"file\":");
            buffer_put_json(out, file->path, strlen(file->path));
            buffer_printf(out, ",\"lines\":%zu,\"ran\":%zu,\"not_run\":[", coverage.lines, ran);
            put_lines(out, &coverage, true);
            buffer_puts(out, "]}");
        } else if (checker_missing(session->checker) == NULL) {
            buffer_printf(out, "%s: %zu of %zu lines ran", file->path, ran, coverage.lines);
            if (session->coverage && coverage.missed_count != 0) {
                buffer_puts(out, ", not ");
                put_lines(out, &coverage, false);
            }
            buffer_putc(out, '\n');
        }
        free(coverage.missed);
    }
    if (session->tests != NULL && !session->json && checker_missing(session->checker) != NULL)
        buffer_printf(out, "coverage: %s\n", checker_missing(session->checker));
}

int cli_test(int argc, char **argv)
{
    struct session session = {0};
    struct tally tally = {.session = &session};
    const char *directory;
    int code = read_arguments(&session, argc, argv, test_usage, &directory);
    if (code >= 0)
        return code;
    if (!load(&session, directory))
        return session.empty ? CLI_USAGE : CLI_PROBLEM;
    session.checker = checker_new(NULL);
    if (session.generation != NULL)
        open_tests(&session, session.generation);
    for (size_t i = 0; session.tests != NULL && i < session.bundle->count; i++) {
        if (bundle_is_test(&session.bundle->files[i]))
            policy_tests_run(session.tests, &session.bundle->files[i], report, &tally);
    }
    code = tally.failed == 0 && session.problems.count == 0 && session.generation != NULL ? CLI_FINE
                                                                                          : CLI_PROBLEM;
    struct buffer out = {0};
    put_coverage(&session, &out);
    if (session.json) {
        struct buffer problems = {0};
        problems_put_json(&session.problems, &problems);
        printf("{\"passed\":%zu,\"failed\":%zu,\"problems\":%s,\"coverage\":[%s]}\n", tally.passed,
               tally.failed, buffer_text(&problems), buffer_text(&out));
        buffer_free(&problems);
    } else if (session.tests == NULL) {
        print_problems(&session);
    } else {
        printf("%s%zu passed, %zu failed\n", buffer_text(&out), tally.passed, tally.failed);
    }
    buffer_free(&out);
    end(&session);
    return code;
}
