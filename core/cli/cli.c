#include "cli/cli.h"
#include "base/mem.h"
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char usual_file[] = "conf/otad.lua";

static bool is_directory(const char *path)
{
    struct stat info;
    if (stat(path, &info) != 0)
        return false;
    errno = ENOTDIR;
    return S_ISDIR(info.st_mode);
}

/* The directory above that of `file`, where it holds sql/queries; else NULL. */
static char *tree_of(const char *file)
{
    char path[PATH_MAX];
    if (realpath(file, path) == NULL)
        return NULL;
    for (int i = 0; i < 2; i++) {
        char *slash = strrchr(path, '/');
        if (slash == NULL)
            return NULL;
        *slash = '\0';
    }
    char *queries = x_printf("%s/sql/queries", path);
    bool there = is_directory(queries);
    free(queries);
    return there ? x_strdup(path) : NULL;
}

/* NULL: not set, or empty, which is the same. */
static const char *variable_of(const char *name)
{
    const char *value = getenv(name);
    return value != NULL && *value != '\0' ? value : NULL;
}

static const char *named_file(void)
{
    return variable_of("OTAD_CONFIG");
}

/* What relative paths are under. NULL: the working directory. */
static char *find_home(void)
{
    const char *file = named_file();
    char *home = NULL;
    if (access(usual_file, F_OK) == 0 || is_directory("sql/queries"))
        return NULL;
    if (file != NULL)
        home = tree_of(file);
    return home != NULL ? home : tree_of("/proc/self/exe");
}

static char *file_in(const char *home)
{
    const char *file = named_file();
    return file != NULL   ? x_strdup(file)
           : home != NULL ? x_printf("%s/%s", home, usual_file)
                          : x_strdup(usual_file);
}

char *cli_config_file(void)
{
    char *home = find_home(), *file = file_in(home);
    free(home);
    return file;
}

struct config *cli_load_config(char **error)
{
    struct config *config = NULL;
    char *home = find_home(), *file = file_in(home);
    if (named_file() != NULL && access(file, R_OK) != 0)
        *error = x_printf("OTAD_CONFIG: %s: %s", file, strerror(errno));
    else
        config = config_load(file, home, error);
    free(file);
    free(home);
    return config;
}

bool cli_find_directory(const char *key, const char *path, const char *inside, char **error)
{
    char variable[96], with_file[112], here[PATH_MAX] = "";
    char *whole = x_printf("%s%s", path, inside);
    bool there = is_directory(whole);
    if (!there) {
        const char *why = strerror(errno);
        config_variable(key, variable, sizeof(variable));
        snprintf(with_file, sizeof(with_file), "%s_FILE", variable);
        bool named = variable_of(variable) != NULL || variable_of(with_file) != NULL;
        if (*path != '/' && getcwd(here, sizeof(here) - 1) != NULL)
            strcat(here, "/");
        *error = x_printf("cannot read the directory %s%s: %s\n"
                          "  %s%s names it. Run otad in the project's directory, or set %s to\n"
                          "  the directory %s of the project.",
                          here, whole, why, named ? variable : "The key ", named ? "" : key, variable, key);
    }
    free(whole);
    return there;
}
