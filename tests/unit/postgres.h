/* A PostgreSQL of a test's own: made, started, stopped and removed here; it listens on a socket in its own
 * directory only. Run as root, its processes belong to the user postgres. */
#pragma once
#include "io/pg.h"
#include "scratch.h"
#include <fcntl.h>
#include <ftw.h>
#include <glob.h>
#include <grp.h>
#include <libpq-fe.h>
#include <pwd.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct postgres {
    char directory[64], bin[128], url[160];
    pid_t pid; /* 0: not running */
};

static inline pid_t postgres_spawn(const struct postgres *pg, const char *const *command)
{
    char path[256], log[96];
    snprintf(path, sizeof(path), "%s/%s", pg->bin, command[0]);
    snprintf(log, sizeof(log), "%s/log", pg->directory);
    pid_t parent = getpid(), pid = fork();
    if (pid != 0)
        return pid;
    const struct passwd *user = getpwnam("postgres");
    if (getuid() == 0 &&
        (user == NULL || setgroups(0, NULL) != 0 || setgid(user->pw_gid) != 0 || setuid(user->pw_uid) != 0))
        _exit(126);
    prctl(PR_SET_PDEATHSIG, SIGQUIT); /* nothing stays behind a test that crashed */
    int out = open(log, O_WRONLY | O_CREAT | O_APPEND, 0644);
    if (getppid() != parent || out < 0 || chdir(pg->directory) != 0)
        _exit(126);
    dup2(out, 1);
    dup2(out, 2);
    setenv("LC_ALL", "C", 1);
    unsetenv("LD_PRELOAD");
    execv(path, (char *const *)command);
    _exit(127);
}

static inline bool postgres_start(struct postgres *pg)
{
    const char *const command[] = {"postgres",          "-D", "data",      "-k", pg->directory,        "-c",
                                   "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=60", "-c",
                                   "autovacuum=off",    NULL};
    pg->pid = postgres_spawn(pg, command);
    for (int i = 0; i < 1000 && pg->pid > 0; i++) {
        if (PQping(pg->url) == PQPING_OK)
            return true;
        if (waitpid(pg->pid, NULL, WNOHANG) == pg->pid)
            break;
        nanosleep(&(struct timespec){0, 20000000}, NULL);
    }
    return false;
}

/* SIGINT: as `pg_ctl stop -m fast`; SIGQUIT: as a crash. */
static inline void postgres_stop(struct postgres *pg, int with)
{
    if (pg->pid <= 0)
        return;
    kill(pg->pid, with);
    waitpid(pg->pid, NULL, 0);
    pg->pid = 0;
}

static inline int postgres_remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    return remove(path);
}

static inline void postgres_free(struct postgres *pg)
{
    if (pg == NULL)
        return;
    postgres_stop(pg, SIGQUIT);
    nftw(pg->directory, postgres_remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(pg);
}

/* NULL: none is installed, or it does not start; the reason has been printed. */
static inline struct postgres *postgres_new(void)
{
    struct postgres *pg = calloc(1, sizeof(*pg));
    glob_t found;
    int status = -1;
    if (glob("/usr/lib/postgresql/*/bin/initdb", 0, NULL, &found) == 0) {
        snprintf(pg->bin, sizeof(pg->bin), "%s", found.gl_pathv[found.gl_pathc - 1]);
        *strrchr(pg->bin, '/') = '\0';
    }
    globfree(&found);
    strcpy(pg->directory, "/tmp/otad-pg-XXXXXX");
    const struct passwd *user = getpwnam("postgres");
    if (*pg->bin == '\0' || mkdtemp(pg->directory) == NULL ||
        (getuid() == 0 && (user == NULL || chown(pg->directory, user->pw_uid, user->pw_gid) != 0))) {
        print_message("PostgreSQL is not installed: skipped\n");
        free(pg);
        return NULL;
    }
    snprintf(pg->url, sizeof(pg->url), "postgresql://postgres@/postgres?host=%s", pg->directory);
    const char *const command[] = {"initdb", "-D", "data", "-U",        "postgres", "-A",
                                   "trust",  "-E", "UTF8", "--no-sync", NULL};
    pid_t pid = postgres_spawn(pg, command);
    if (pid > 0)
        waitpid(pid, &status, 0);
    if (status == 0 && postgres_start(pg))
        return pg;
    print_message("PostgreSQL does not start: see %s/log\n", pg->directory);
    abort();
}

/* At the start of a group: the statements of `sql`, and a server; *server is NULL where none is installed. */
static inline int postgres_begin(const char *sql, struct pg_statements **statements, struct postgres **server)
{
    void *scratch;
    char *error = NULL;
    if (scratch_setup(&scratch) != 0)
        return -1;
    scratch_write(scratch, "test.sql", sql, strlen(sql), 0600);
    *statements = pg_statements_load(((struct scratch *)scratch)->path, &error);
    scratch_teardown(&scratch);
    if (*statements == NULL)
        print_message("%s\n", error);
    free(error);
    *server = *statements == NULL ? NULL : postgres_new();
    return *statements == NULL;
}

static inline int postgres_end(struct pg_statements *statements, struct postgres *server)
{
    postgres_free(server);
    pg_statements_free(statements);
    return 0;
}
