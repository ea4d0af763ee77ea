/* otad check and otad test: scripts without a server. Both load everything as the server would, with no
 * database behind it; test then runs the functions of each *_test.lua. */
#include "base/buffer.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "lua/loader.h"
#include <getopt.h>
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char check_usage[] =
    "usage: otad check [--json] [DIRECTORY]\n"
    "\n"
    "Loads the scripts of DIRECTORY (scripts) as the server would and lists what is wrong.\n";
static const char test_usage[] =
    "usage: otad test [--json] [DIRECTORY]\n"
    "\n"
    "Runs each function of each *_test.lua below DIRECTORY (scripts); one that raises an error\n"
    "has failed.\n";

struct session {
    struct services services;
    struct runtime runtime;
    struct bundle *bundle;
    struct generation *generation;
    struct problems problems;
    bool json;
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
    *directory = optind < argc ? argv[optind] : "scripts";
    return -1;
}

static bool load(struct session *session, const char *directory)
{
    char *error = NULL;
    struct config *config = config_load(cli_config_file(), &error);
    if (config == NULL)
        goto fail;
    session->services.config = config;
    session->services.watchdog = watchdog_new();
    session->runtime.services = &session->services;
    session->runtime.watch.limit = (uint64_t)config->lua_call_timeout;
    watchdog_watch(session->services.watchdog, &session->runtime.watch);
    session->bundle = bundle_read(directory, &error);
    if (session->bundle == NULL)
        goto fail;
    session->generation = loader_load(&session->runtime, session->bundle, &session->problems);
    return true;
fail:
    fprintf(stderr, "otad: %s\n", error);
    free(error);
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

static void end(struct session *session)
{
    if (session->generation != NULL)
        generation_release(session->generation);
    bundle_release(session->bundle);
    problems_free(&session->problems);
    buffer_free(&session->runtime.out);
    watchdog_unwatch(session->services.watchdog, &session->runtime.watch);
    watchdog_free(session->services.watchdog);
    config_free((struct config *)session->services.config);
}

int cli_check(int argc, char **argv)
{
    struct session session = {0};
    const char *directory;
    int code = read_arguments(&session, argc, argv, check_usage, &directory);
    if (code >= 0)
        return code;
    if (!load(&session, directory))
        return CLI_PROBLEM;
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

static int push_handler(lua_State *L)
{
    luaL_traceback(L, L, lua_tostring(L, 1), 1);
    return 1;
}

/* Argument: light userdata of struct { file, tally }. */
struct test_file {
    const struct bundle_file *file;
    struct tally *tally;
};

static void report(struct tally *tally, const char *file, const char *name, const char *error)
{
    if (error == NULL) {
        tally->passed++;
        return;
    }
    tally->failed++;
    if (!tally->session->json)
        printf("FAILED %s: %s\n  %s\n", file, name, error);
    char *message = x_printf("%s: %s", name, error);
    problems_add_error(&tally->session->problems, file, message);
    free(message);
}

static int run_file(lua_State *L)
{
    const struct test_file *test = lua_touserdata(L, 1);
    generation_require(L, test->file->name);
    if (!lua_istable(L, -1))
        return luaL_error(L, "%s:1: must return a table of named functions", test->file->path);
    int table = lua_gettop(L);
    for (lua_pushnil(L); lua_next(L, table) != 0; lua_settop(L, table + 1)) {
        const char *name = lua_type(L, table + 1) == LUA_TSTRING ? lua_tostring(L, table + 1) : "(no name)";
        lua_pushcfunction(L, push_handler);
        lua_insert(L, -2);
        bool ok = lua_pcall(L, 0, 0, table + 2) == LUA_OK;
        report(test->tally, test->file->path, name, ok ? NULL : lua_tostring(L, -1));
    }
    return 0;
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
        return CLI_PROBLEM;
    for (size_t i = 0; session.generation != NULL && i < session.bundle->count; i++) {
        const struct bundle_file *file = &session.bundle->files[i];
        struct test_file test = {file, &tally};
        struct problems problems = {0};
        if (bundle_is_test(file) &&
            !generation_call(session.generation, run_file, &test, file->path, &problems))
            report(&tally, file->path, "load", problems.list[0].message);
        problems_free(&problems);
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
