/* otad explain: why a device is, or is not, being updated, or how a rollout stands. Runs what GET
 * /devices/:id/explain and GET /rollouts/:id run (scripts/lib/explain_device.lua, explain_rollout.lua), on a
 * connection that blocks. */
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/database.h"
#include "lua/json.h"
#include "lua/loader.h"
#include "policy/mod_policies.h"
#include <getopt.h>
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "usage: otad explain [--json] DEVICE\n"
    "       otad explain [--json] --rollout ID\n"
    "\n"
    "Says why the device is, or is not, being updated, or how the rollout stands and by which rule.\n"
    "DEVICE is its id or its device_code.\n";

struct explainer {
    struct database database;
    struct services services;
    struct runtime runtime;
    PGresult *result; /* of the last statement */
    const char *name; /* of the device, or the id of the rollout */
    bool rollout, json, unknown;
};

static const PGresult *query(void *arg, const struct pg_statement *statement, size_t count,
                             const char *const *values, const char **err)
{
    struct explainer *explainer = arg;
    PQclear(explainer->result);
    explainer->result =
        PQexecParams(explainer->database.conn, statement->text, (int)count, NULL, values, NULL, NULL, 0);
    if (PQresultStatus(explainer->result) != PGRES_TUPLES_OK)
        *err = PQstatus(explainer->database.conn) == CONNECTION_OK ? pg_failed : pg_unavailable;
    return explainer->result;
}

/* Stack: the explainer. Prints. */
static int explain(lua_State *L)
{
    struct explainer *explainer = lua_touserdata(L, 1);
    lua_getglobal(L, "db");
    lua_getfield(L, -1, "one");
    lua_pushstring(L, explainer->rollout ? "rollout_by_id" : "device_named");
    lua_pushstring(L, explainer->name);
    lua_call(L, 2, 1);
    if (lua_isnil(L, -1)) {
        explainer->unknown = true;
        return 0;
    }
    generation_require(L, explainer->rollout ? "lib.explain_rollout" : "lib.explain_device");
    lua_pushvalue(L, -2);
    lua_call(L, 1, 1);
    if (explainer->json) {
        struct buffer *out = &explainer->runtime.out;
        out->len = 0;
        json_write(L, lua_gettop(L), out);
        printf("%s\n", buffer_text(out));
        return 0;
    }
    lua_getfield(L, -1, "explanation");
    printf("%s\n", lua_tostring(L, -1));
    return 0;
}

static int run(struct explainer *explainer)
{
    struct config *config = explainer->database.config;
    struct problems problems = {0};
    char *error = NULL;
    int code = CLI_PROBLEM;
    struct bundle *bundle = NULL;
    struct generation *generation = NULL;

    explainer->services = (struct services){.config = config,
                                            .statements = explainer->database.statements,
                                            .open_policies = mod_policies_open,
                                            .watchdog = watchdog_new()};
    explainer->runtime = (struct runtime){.services = &explainer->services,
                                          .query = query,
                                          .query_arg = explainer,
                                          .watch.limit = (uint64_t)config->lua_call_timeout};
    watchdog_watch(explainer->services.watchdog, &explainer->runtime.watch);
    if (cli_find_directory("scripts", config->scripts, "", &error))
        bundle = bundle_read(config->scripts, &error);
    if (bundle != NULL)
        generation = loader_load(&explainer->runtime, bundle, &problems);
    if (generation != NULL && generation_call(generation, explain, explainer, "explain", &problems))
        code = explainer->unknown ? CLI_PROBLEM : CLI_FINE;
    if (explainer->unknown)
        error = x_printf("there is no %s %s", explainer->rollout ? "rollout" : "device", explainer->name);
    for (size_t i = 0; i < problems.count; i++)
        fprintf(stderr, "otad explain: %s:%d: %s\n", problems.list[i].file, problems.list[i].line,
                problems.list[i].message);
    if (error != NULL)
        fprintf(stderr, "otad explain: %s\n", error);
    free(error);
    PQclear(explainer->result);
    if (generation != NULL)
        generation_release(generation);
    bundle_release(bundle);
    problems_free(&problems);
    buffer_free(&explainer->runtime.out);
    watchdog_unwatch(explainer->services.watchdog, &explainer->runtime.watch);
    watchdog_free(explainer->services.watchdog);
    return code;
}

int cli_explain(int argc, char **argv)
{
    static const struct option options[] = {{"json", no_argument, NULL, 'j'},
                                            {"rollout", no_argument, NULL, 'r'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    struct explainer explainer = {0};
    int option;
    optind = 0;
    opterr = 0;
    while ((option = getopt_long(argc, argv, "jrh", options, NULL)) != -1) {
        if (option == 'h') {
            fputs(usage, stdout);
            return CLI_FINE;
        }
        if (option != 'j' && option != 'r') {
            fprintf(stderr, "otad explain: %s is not an option\n%s", argv[optind - 1], usage);
            return CLI_USAGE;
        }
        explainer.json |= option == 'j';
        explainer.rollout |= option == 'r';
    }
    if (argc - optind != 1) {
        fputs(usage, stderr);
        return CLI_USAGE;
    }
    explainer.name = argv[optind];
    if (explainer.rollout && (strspn(explainer.name, "0123456789") != strlen(explainer.name) ||
                              strlen(explainer.name) == 0 || strlen(explainer.name) > 9)) {
        fprintf(stderr, "otad explain: %s is not the id of a rollout\n", explainer.name);
        return CLI_USAGE;
    }
    if (!database_open(&explainer.database, "explain"))
        return CLI_PROBLEM;
    int code = run(&explainer);
    database_close(&explainer.database);
    return code;
}
