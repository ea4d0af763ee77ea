/* Scripts of a test's own, loaded as the server loads them, without a server or with the loop of loop.h. */
#pragma once
#include "../scratch.h"
#include "lua/loader.h"
#include "lua/modules.h"
#include "lua/request.h"
#include <lualib.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/stat.h>

#include <cmocka.h>

struct lab {
    struct scratch *scratch;
    char directory[96]; /* "/tmp/.../scripts" */
    struct config *config;
    struct services services;
    struct runtime runtime;
    struct problems problems;
    char result[4096];
};

static inline int lab_setup(void **state)
{
    struct lab *lab = calloc(1, sizeof(*lab));
    char *error = NULL;
    void *scratch;
    if (sodium_init() < 0 || scratch_setup(&scratch) != 0)
        return -1;
    lab->scratch = scratch;
    snprintf(lab->directory, sizeof(lab->directory), "%s/scripts", lab->scratch->path);
    lab->config = config_load(scratch_path(lab->scratch, "none"), NULL, &error);
    lab->config->lua_call_timeout = 5000; /* sanitized programs are slow; tests of time set less */
    lab->services.config = lab->config;
    lab->services.watchdog = watchdog_new();
    lab->runtime.services = &lab->services;
    lab->runtime.metrics = metrics_new();
    lab->runtime.watch.limit = (uint64_t)lab->config->lua_call_timeout;
    watchdog_watch(lab->services.watchdog, &lab->runtime.watch);
    *state = lab;
    return mkdir(lab->directory, 0700);
}

static inline void lab_drop(struct lab *lab)
{
    if (lab->runtime.current != NULL)
        generation_release(lab->runtime.current);
    lab->runtime.current = NULL;
    problems_free(&lab->problems);
}

static inline int lab_teardown(void **state)
{
    struct lab *lab = *state;
    void *scratch = lab->scratch;
    lab_drop(lab);
    watchdog_unwatch(lab->services.watchdog, &lab->runtime.watch);
    watchdog_free(lab->services.watchdog);
    metrics_free(lab->runtime.metrics);
    buffer_free(&lab->runtime.out);
    request_free_interned(&lab->runtime);
    config_free(lab->config);
    free(lab);
    return scratch_teardown(&scratch);
}

/* "routes/a.lua"; makes its folder. Written aside and moved into place, as editors do. */
static inline void lab_write(struct lab *lab, const char *name, const char *text)
{
    char path[160], aside[sizeof(lab->scratch->name)];
    snprintf(path, sizeof(path), "scripts/%s", name);
    for (char *slash = strchr(path + 8, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(scratch_path(lab->scratch, path), 0700);
        *slash = '/';
    }
    snprintf(aside, sizeof(aside), "%s", scratch_write(lab->scratch, "aside", text, strlen(text), 0600));
    if (rename(aside, scratch_path(lab->scratch, path)) != 0)
        abort();
}

/* One of the project's own scripts. */
static inline void lab_copy(struct lab *lab, const char *name)
{
    static char text[65536];
    char path[256];
    snprintf(path, sizeof(path), "%s/scripts/%s", SOURCE_DIR, name);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
    fclose(file);
    lab_write(lab, name, text);
}

/* NULL and lab->problems when something is wrong. */
static inline struct generation *lab_load(struct lab *lab)
{
    char *error = NULL;
    lab_drop(lab);
    struct bundle *bundle = bundle_read(lab->directory, &error);
    if (bundle == NULL)
        fail_msg("%s", error);
    lab->runtime.current = loader_load(&lab->runtime, bundle, &lab->problems);
    bundle_release(bundle);
    return lab->runtime.current;
}

static inline void lab_load_fine(struct lab *lab)
{
    if (lab_load(lab) == NULL)
        fail_msg("%s:%d: %s", lab->problems.list[0].file, lab->problems.list[0].line,
                 lab->problems.list[0].message);
}

/* There must be a problem in this file and line, which says so. */
static inline void lab_has_problem(struct lab *lab, const char *file, int line, const char *says)
{
    for (size_t i = 0; i < lab->problems.count; i++) {
        const struct problem *problem = &lab->problems.list[i];
        if (strcmp(problem->file, file) == 0 && problem->line == line &&
            strstr(problem->message, says) != NULL)
            return;
    }
    for (size_t i = 0; i < lab->problems.count; i++)
        print_message("%s:%d: %s\n", lab->problems.list[i].file, lab->problems.list[i].line,
                      lab->problems.list[i].message);
    fail_msg("no problem at %s:%d says: %s", file, line, says);
}

static inline void lab_refused(struct lab *lab, const char *file, int line, const char *says)
{
    if (lab_load(lab) != NULL)
        fail_msg("taken: %s", says);
    lab_has_problem(lab, file, line, says);
}

struct lab_chunk {
    const char *text;
    char *result;
    size_t size;
};

static inline int lab_run_chunk(lua_State *L)
{
    struct lab_chunk *chunk = lua_touserdata(L, 1);
    if (luaL_loadbufferx(L, chunk->text, strlen(chunk->text), "=chunk", "t") != LUA_OK)
        return lua_error(L);
    lua_call(L, 0, 1);
    snprintf(chunk->result, chunk->size, "%s", luaL_tolstring(L, -1, NULL));
    return 0;
}

/* Runs a chunk of Lua among the scripts; what it returns as text, or "error: ...". Good until the next call.
 */
static inline const char *lab_run(struct lab *lab, const char *text)
{
    struct problems problems = {0};
    struct lab_chunk chunk = {text, lab->result, sizeof(lab->result)};
    if (!generation_call(lab->runtime.current, lab_run_chunk, &chunk, "chunk", &problems)) {
        snprintf(lab->result, sizeof(lab->result), "error: %s", problems.list[0].message);
        problems_free(&problems);
    }
    return lab->result;
}

static inline void lab_expect(struct lab *lab, const char *text, const char *result)
{
    if (strcmp(lab_run(lab, text), result) != 0)
        fail_msg("%s\n  gave %s\n  not  %s", text, lab->result, result);
}

static inline void lab_expect_error(struct lab *lab, const char *text, const char *says)
{
    if (strncmp(lab_run(lab, text), "error: ", 7) != 0 || strstr(lab->result, says) == NULL)
        fail_msg("%s\n  gave %s\n  not an error with %s", text, lab->result, says);
}

#define LAB_CASE(name) cmocka_unit_test_setup_teardown(name, lab_setup, lab_teardown)
