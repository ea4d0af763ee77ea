/* otad check and otad test: scripts without a server. Both load everything as the server would, with no
 * database behind it; test then runs the functions of each *_test.lua. */
#include "base/buffer.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "lua/loader.h"
#include "policy/mod_policies.h"
#include "policy/shelf.h"
#include <getopt.h>
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char check_usage[] =
    "usage: otad check [--json] [DIRECTORY]\n"
    "\n"
    "Loads the scripts of DIRECTORY [the key scripts] as the server would and lists what is wrong.\n";
static const char test_usage[] =
    "usage: otad test [--json] [DIRECTORY]\n"
    "\n"
    "Runs each function of each *_test.lua below DIRECTORY [the key scripts]; one that raises an\n"
    "error has failed.\n";

struct session {
    struct services services;
    struct runtime runtime;
    struct bundle *bundle;
    struct generation *generation;
    struct problems problems;
    bool json;
    bool empty; /* no scripts where they were said to be */
};

/* -1: go on; else the exit code. */
static int read_arguments(struct session *session, int argc, char **argv, const char *usage,
                          const char **directory)
{
    static const struct option options[] = {{"json", no_argument, NULL, 'j'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    int option;
    optind = 0;
    opterr = 0;
    while ((option = getopt_long(argc, argv, "jh", options, NULL)) != -1) {
        if (option == 'h') {
            fputs(usage, stdout);
            return CLI_FINE;
        }
        if (option != 'j') {
            fprintf(stderr, "otad %s: %s is not an option\n%s", argv[0], argv[optind - 1], usage);
            return CLI_USAGE;
        }
        session->json = true;
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

static void put_problem_json(struct buffer *out, const struct problem *problem)
{
    buffer_puts(out, "{\"file\":");
    buffer_put_json(out, problem->file, strlen(problem->file));
    buffer_printf(out, ",\"line\":%d,\"severity\":\"error\",\"message\":", problem->line);
    buffer_put_json(out, problem->message, strlen(problem->message));
    buffer_putc(out, '}');
}

static void print_problems(const struct session *session, const char *before, const char *after)
{
    struct buffer out = {0};
    for (size_t i = 0; i < session->problems.count; i++) {
        const struct problem *problem = &session->problems.list[i];
        if (session->json) {
            buffer_puts(&out, i == 0 ? "" : ",");
            put_problem_json(&out, problem);
        } else if (problem->line != 0) {
            buffer_printf(&out, "%s:%d: %s\n", problem->file, problem->line, problem->message);
        } else {
            buffer_printf(&out, "%s%s%s\n", problem->file, *problem->file == '\0' ? "" : ": ",
                          problem->message);
        }
    }
    printf("%s%s%s", before, buffer_text(&out), after);
    buffer_free(&out);
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
    code = session.problems.count == 0 ? CLI_FINE : CLI_PROBLEM;
    if (session.json) {
        print_problems(&session,
                       code == CLI_FINE ? "{\"ok\":true,\"problems\":[" : "{\"ok\":false,\"problems\":[",
                       "]}\n");
    } else if (code == CLI_FINE) {
        printf("%zu files, no problems\n", session.bundle->count);
    } else {
        print_problems(&session, "", "");
    }
    end(&session);
    return code;
}

struct tally {
    struct session *session;
    size_t passed, failed;
};

/* The tests of one file; an argument of the calls below. */
struct test_file {
    const struct bundle_file *file;
    char **names;
    size_t count;
    const char *name; /* of the one to be run */
};

/* Takes over the problem of a failed test. */
static void report(struct tally *tally, const char *name, struct problems *problems)
{
    const struct problem *problem = &problems->list[0];
    char *message = x_printf("%s: %s", name, problem->message);
    tally->failed++;
    if (!tally->session->json)
        printf("FAILED %s: %s\n  %s:%d: %s\n", problem->file, name, problem->file, problem->line,
               problem->message);
    problems_add(&tally->session->problems, problem->file, problem->line, message);
    free(message);
    problems_free(problems);
}

static int list_tests(lua_State *L)
{
    struct test_file *test = lua_touserdata(L, 1);
    generation_require(L, test->file->name);
    if (!lua_istable(L, -1))
        return luaL_error(L, "%s:1: must return a table of named functions", test->file->path);
    for (lua_pushnil(L); lua_next(L, -2) != 0; lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING || !lua_isfunction(L, -1))
            return luaL_error(L, "%s:1: must return a table of named functions", test->file->path);
        test->names = x_realloc(test->names, (test->count + 1) * sizeof(*test->names));
        test->names[test->count++] = x_strdup(lua_tostring(L, -2));
    }
    return 0;
}

static int push_traceback(lua_State *L)
{
    luaL_traceback(L, L, lua_tostring(L, 1), 1);
    return 1;
}

static int run_test(lua_State *L)
{
    const struct test_file *test = lua_touserdata(L, 1);
    lua_pushcfunction(L, push_traceback);
    generation_require(L, test->file->name);
    lua_getfield(L, -1, test->name);
    if (lua_pcall(L, 0, 0, 2) != LUA_OK)
        return lua_error(L);
    return 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Each test is a call of its own, with its own time. */
static void run_file(struct tally *tally, const struct bundle_file *file)
{
    struct generation *generation = tally->session->generation;
    struct test_file test = {.file = file};
    struct problems problems = {0};
    bool listed = generation_call(generation, list_tests, &test, file->path, &problems);
    if (!listed)
        report(tally, "load", &problems);
    else if (test.count != 0)
        qsort(test.names, test.count, sizeof(*test.names), by_name);
    for (size_t i = 0; listed && i < test.count; i++) {
        test.name = test.names[i];
        if (generation_call(generation, run_test, &test, file->path, &problems))
            tally->passed++;
        else
            report(tally, test.name, &problems);
    }
    for (size_t i = 0; i < test.count; i++)
        free(test.names[i]);
    free(test.names);
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
    for (size_t i = 0; session.generation != NULL && i < session.bundle->count; i++) {
        if (bundle_is_test(&session.bundle->files[i]))
            run_file(&tally, &session.bundle->files[i]);
    }
    code = tally.failed == 0 && session.problems.count == 0 && session.generation != NULL ? CLI_FINE
                                                                                          : CLI_PROBLEM;
    if (session.json) {
        char *head = x_printf("{\"passed\":%zu,\"failed\":%zu,\"problems\":[", tally.passed, tally.failed);
        print_problems(&session, head, "]}\n");
        free(head);
    } else if (session.generation == NULL) {
        print_problems(&session, "", "");
    } else {
        printf("%zu passed, %zu failed\n", tally.passed, tally.failed);
    }
    end(&session);
    return code;
}
