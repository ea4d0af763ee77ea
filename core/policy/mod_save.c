#include "policy/mod_save.h"
#include "base/config.h"
#include "base/file.h"
#include "base/mem.h"
#include "lua/modules.h"
#include "lua/work.h"
#include "net/timer.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct saving {
    struct work work;
    char *path, *unfinished; /* the latter hidden from who loads scripts, beside the former */
    char *source;
    size_t len;
    double age;    /* seconds */
    char *problem; /* NULL: saved */
};

static void drop(struct work *work)
{
    struct saving *saving = (struct saving *)work;
    free(saving->path);
    free(saving->unfinished);
    free(saving->source);
    free(saving->problem);
    free(saving);
}

static bool write_file(struct saving *saving)
{
    struct stat is;
    double at = clock_unix() - saving->age;
    struct timespec times[2] = {{.tv_nsec = UTIME_NOW}, {.tv_sec = (time_t)at}};
    mode_t mode = stat(saving->path, &is) == 0 ? is.st_mode & 07777 : 0644;
    int fd = mkostemp(saving->unfinished, O_CLOEXEC);
    if (fd < 0)
        return false;
    bool ok = file_write(fd, saving->source, saving->len) && fchmod(fd, mode) == 0 &&
              futimens(fd, times) == 0 && fsync(fd) == 0;
    ok = close(fd) == 0 && ok;
    ok = ok && rename(saving->unfinished, saving->path) == 0;
    if (!ok) {
        int cause = errno;
        unlink(saving->unfinished);
        errno = cause;
    }
    return ok;
}

static void run(struct work *work)
{
    struct saving *saving = (struct saving *)work;
    if (!write_file(saving))
        saving->problem = x_printf("cannot write %s: %s", saving->path, strerror(errno));
}

static int push_result(lua_State *L)
{
    const struct saving *saving = lua_touserdata(L, 1);
    lua_pushboolean(L, saving->problem == NULL);
    lua_pushstring(L, saving->problem);
    return 2;
}

static int done(lua_State *L, int status, lua_KContext context)
{
    struct saving *saving = lua_touserdata(L, -1);
    lua_pushcfunction(L, push_result);
    lua_pushlightuserdata(L, saving);
    int code = lua_pcall(L, 1, 2, 0);
    drop(&saving->work);
    return code == LUA_OK ? 2 : lua_error(L);
}

/* policies.save(name, source, age): true, or false and the problem. The file is as old as it is in force
 * (age: seconds), to the second before: what is saved later, by whomever, is newer. */
static int save(lua_State *L)
{
    size_t len;
    const char *name = luaL_checkstring(L, 1), *source = luaL_checklstring(L, 2, &len);
    double age = luaL_checknumber(L, 3);
    const char *scripts = runtime_of(L)->services->config->scripts;
    luaL_argcheck(L, strchr(name, '/') == NULL, 1, "is no name of a policy");
    struct saving *saving = x_new(struct saving);
    saving->path = x_printf("%s/policies/%s.lua", scripts, name);
    saving->unfinished = x_printf("%s/policies/.%s.XXXXXX", scripts, name);
    saving->source = x_memdup(source, len);
    saving->len = len;
    saving->age = age;
    saving->work.run = run;
    saving->work.drop = drop;
    return work_start(L, &saving->work, done);
}

void mod_save_add(lua_State *L)
{
    lua_pushcfunction(L, save);
    lua_setfield(L, -2, "save");
}
