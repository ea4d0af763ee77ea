/* `otad serve`: one process that supervises and one that serves. The first only waits: it passes signals on
 * and starts the server anew, at once, when it crashes. After five crashes in a row, each within two seconds,
 * it ends with 1: what then is for whoever started it (systemd's Restart= has its own pauses). */
#include "base/config.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/app.h"
#include "cli/cli.h"
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FAST_CRASH = 2000, MOST_FAST_CRASHES = 5 }; /* ms; in a row */

static int print_help(void)
{
    size_t count;
    const struct config_key *keys = config_keys(&count);
    char *file = cli_config_file();
    printf("usage: otad serve\n\n"
           "Serves until SIGTERM. SIGHUP loads the scripts anew. The configuration is %s\n"
           "(OTAD_CONFIG names another file); each key has a variable in the environment, and the same\n"
           "with _FILE names a file that holds the value:\n\n",
           file);
    free(file);
    for (size_t i = 0; i < count; i++) {
        char variable[96];
        config_variable(keys[i].name, variable, sizeof(variable));
        printf("  %-24s %-30s %s%s%s%s\n", keys[i].name, variable, keys[i].help,
               *keys[i].fallback == '\0' ? "" : " [", keys[i].fallback, *keys[i].fallback == '\0' ? "" : "]");
    }
    return 0;
}

static void signals_we_take(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGHUP);
}

static int serve(struct config *config)
{
    char *error = NULL;
    sigset_t set;
    signals_we_take(&set);
    struct app *app = app_new(config, &error);
    if (app == NULL || !app_start(app, &error)) {
        fprintf(stderr, "otad: %s\n", error);
        _exit(1); /* at once: workers that run would meet what exit handlers of libraries have freed */
    }
    log_info("serving", LOG_INT("http_port", config->http_port),
             LOG_INT("https_port", app->tls == NULL ? 0 : config->https_port), LOG_INT("workers", app->count),
             LOG_STR("version", OTAD_VERSION));
    for (;;) {
        int number;
        if (sigwait(&set, &number) != 0)
            continue;
        if (number == SIGHUP) {
            app_reload(app);
            continue;
        }
        log_info("stopping");
        app_stop(app);
        log_info("stopped");
        return 0;
    }
}

/* Waits for the server to end, passing signals on to it. */
static int wait_for(pid_t child, bool *asked)
{
    sigset_t set;
    signals_we_take(&set);
    sigaddset(&set, SIGCHLD);
    for (;;) {
        int status, number;
        pid_t ended = waitpid(child, &status, WNOHANG);
        if (ended == child)
            return status;
        if (sigwait(&set, &number) != 0 || number == SIGCHLD)
            continue;
        if (number != SIGHUP)
            *asked = true;
        kill(child, number);
    }
}

static int supervise(struct config *config)
{
    int fast = 0;
    bool asked = false;
    for (;;) {
        uint64_t started = clock_ms();
        pid_t parent = getpid(), child = fork();
        if (child < 0) {
            fprintf(stderr, "otad: cannot start a process: %s\n", strerror(errno));
            return 1;
        }
        if (child == 0) {
            prctl(PR_SET_PDEATHSIG, SIGTERM);
            return getppid() == parent ? serve(config) : 1;
        }
        int status = wait_for(child, &asked);
        if (WIFEXITED(status) || asked) { /* an error that it has named, or the end that was asked for */
            config_free(config);          /* the child's is the application's */
            return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
        }
        fast = clock_ms() - started < FAST_CRASH ? fast + 1 : 0;
        log_error("server crashed", LOG_INT("signal", WTERMSIG(status)), LOG_INT("crashes_in_a_row", fast));
        if (fast >= MOST_FAST_CRASHES) {
            config_free(config);
            return 1;
        }
    }
}

int cli_serve(int argc, char **argv)
{
    char *error = NULL;
    sigset_t set;
    if (argc == 2 && strcmp(argv[1], "--help") == 0)
        return print_help();
    if (argc != 1) {
        fprintf(stderr, "otad serve: takes no arguments (see otad serve --help)\n");
        return 2;
    }
    struct config *config = cli_load_config(&error);
    if (config == NULL || !cli_find_directory("scripts", config->scripts, "", &error) ||
        !cli_find_directory("sql", config->sql, "/queries", &error)) {
        fprintf(stderr, "otad: %s\n", error);
        free(error);
        config_free(config);
        return 1;
    }
    int level = log_level_parse(config->log_level);
    if (level < 0) {
        fprintf(stderr, "otad: log.level must be debug, info, warn or error\n");
        return 1;
    }
    log_set_level((enum log_level)level);
    /* Blocked in every thread and taken by sigwait; libh2o and libpq may write to closed sockets. */
    signals_we_take(&set);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    mallopt(M_MMAP_THRESHOLD,
            128 * 1024);            /* bodies go back to the system: left to itself glibc raises the bound */
    struct rlimit no_core = {0, 0}; /* keys would be in it */
    setrlimit(RLIMIT_CORE, &no_core);
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    return supervise(config);
}
