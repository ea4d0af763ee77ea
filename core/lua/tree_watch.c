#include "lua/tree_watch.h"
#include "base/log.h"
#include "base/mem.h"
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    SETTLE = 60,      /* ms after the last change */
    LOOK_EVERY = 500, /* ms */
    DEEPEST = 4,      /* as bundle_read() */
    MOST_PLACES = 4096
};

/* A directory, or what a link leads to. */
struct place {
    char *path;
    int wd;         /* inotify's; -1: not watched */
    struct stat is; /* st_ino 0: nothing there */
};

struct places {
    struct place *list;
    size_t count;
};

struct tree_watch {
    struct worker *worker;
    const char *directory;
    void (*changed)(void *arg);
    void *arg;
    int inotify; /* -1: none to be had */
    h2o_socket_t *socket;
    struct timer settle, look;
    struct places places;
    bool warned;
};

static void warn(struct tree_watch *watch, const char *path)
{
    if (!watch->warned)
        log_warn("scripts are not all watched: reload by SIGHUP", LOG_STR("path", path),
                 LOG_STR("cause", strerror(errno)));
    watch->warned = true;
}

static void add_place(struct places *places, const struct place *place)
{
    if ((places->count & (places->count - 1)) == 0) /* a power of two, or none: full */
        places->list = x_realloc(places->list, (places->count == 0 ? 1 : places->count * 2) * sizeof(*place));
    places->list[places->count++] = *place;
}

/* Takes over `path`. */
static void find_places(struct tree_watch *watch, struct places *places, char *path, int depth)
{
    struct place place = {.path = path, .wd = -1};
    if (stat(path, &place.is) != 0)
        place.is.st_ino = 0;
    bool directory = place.is.st_ino != 0 && S_ISDIR(place.is.st_mode);
    if (directory && watch->inotify >= 0) {
        place.wd = inotify_add_watch(watch->inotify, path,
                                     IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_CREATE |
                                         IN_ONLYDIR);
        if (place.wd < 0)
            warn(watch, path);
    }
    add_place(places, &place);
    DIR *open = directory && depth < DEEPEST ? opendir(path) : NULL;
    if (open == NULL)
        return;
    for (struct dirent *entry; (entry = readdir(open)) != NULL;) {
        if (entry->d_name[0] == '.' || entry->d_type == DT_REG)
            continue;
        if (places->count < MOST_PLACES) {
            find_places(watch, places, x_printf("%s/%s", path, entry->d_name), depth + 1);
        } else {
            errno = EMFILE;
            warn(watch, path);
        }
    }
    closedir(open);
}

static const struct place *place_of(const struct places *places, int wd)
{
    for (size_t i = 0; i < places->count; i++) {
        if (places->list[i].wd == wd)
            return &places->list[i];
    }
    return NULL;
}

static void free_places(struct places *places)
{
    for (size_t i = 0; i < places->count; i++)
        free(places->list[i].path);
    free(places->list);
}

/* Known places stay watched; of those that are no longer below the directory nothing more is heard. */
static void find_all(struct tree_watch *watch)
{
    struct places old = watch->places, now = {0};
    find_places(watch, &now, x_strdup(watch->directory), 0);
    for (size_t i = 0; i < old.count; i++) {
        if (old.list[i].wd >= 0 && place_of(&now, old.list[i].wd) == NULL)
            inotify_rm_watch(watch->inotify, old.list[i].wd);
    }
    free_places(&old);
    watch->places = now;
}

static void on_settle(struct timer *timer)
{
    struct tree_watch *watch = H2O_STRUCT_FROM_MEMBER(struct tree_watch, settle, timer);
    find_all(watch);
    watch->changed(watch->arg);
}

static void want(struct tree_watch *watch)
{
    timer_set(watch->worker->timers, &watch->settle, SETTLE);
}

/* Of directories inotify tells what changes in them; and editors change their times without end. */
static bool has_changed(const struct place *place)
{
    const struct stat *was = &place->is;
    struct stat is;
    if (stat(place->path, &is) != 0)
        return was->st_ino != 0;
    if (is.st_dev != was->st_dev || is.st_ino != was->st_ino)
        return true;
    return !S_ISDIR(is.st_mode) && (is.st_size != was->st_size || is.st_mtim.tv_sec != was->st_mtim.tv_sec ||
                                    is.st_mtim.tv_nsec != was->st_mtim.tv_nsec);
}

static void on_look(struct timer *timer)
{
    struct tree_watch *watch = H2O_STRUCT_FROM_MEMBER(struct tree_watch, look, timer);
    bool changed = false;
    for (size_t i = 0; i < watch->places.count && !changed; i++)
        changed = has_changed(&watch->places.list[i]);
    if (changed)
        want(watch);
    timer_set(watch->worker->timers, timer, LOOK_EVERY);
}

/* Editors leave other files too; and a file being created is not written yet, but a link is whole. */
static bool matters(const struct tree_watch *watch, const struct inotify_event *event)
{
    size_t len = event->len == 0 ? 0 : strlen(event->name);
    if ((event->mask & (IN_ISDIR | IN_Q_OVERFLOW)) != 0)
        return true;
    if (len == 0 || event->name[0] == '.')
        return false;
    if (!(event->mask & IN_CREATE) && len > 4 && strcmp(event->name + len - 4, ".lua") == 0)
        return true;
    const struct place *place = place_of(&watch->places, event->wd);
    struct stat is;
    if (place == NULL || !(event->mask & (IN_CREATE | IN_MOVED_TO)))
        return false;
    char *path = x_printf("%s/%s", place->path, event->name);
    bool link = lstat(path, &is) == 0 && S_ISLNK(is.st_mode);
    free(path);
    return link;
}

static void on_inotify(h2o_socket_t *socket, const char *err)
{
    struct tree_watch *watch = socket->data;
    char events[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
    bool ours = false;
    ssize_t n;
    while ((n = read(watch->inotify, events, sizeof(events))) > 0) {
        for (char *at = events; at < events + n;) {
            const struct inotify_event *event = (const struct inotify_event *)at;
            ours = ours || matters(watch, event);
            at += sizeof(*event) + event->len;
        }
    }
    if (ours)
        want(watch);
}

struct tree_watch *tree_watch_new(struct worker *worker, const char *directory, void (*changed)(void *arg),
                                  void *arg)
{
    struct tree_watch *watch = x_new(struct tree_watch);
    watch->worker = worker;
    watch->directory = directory;
    watch->changed = changed;
    watch->arg = arg;
    watch->settle.fire = on_settle;
    watch->look.fire = on_look;
    watch->inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (watch->inotify < 0)
        warn(watch, directory);
    find_all(watch);
    if (watch->inotify >= 0) {
        watch->socket = worker_watch(worker, watch->inotify);
        watch->socket->data = watch;
        h2o_socket_read_start(watch->socket, on_inotify);
    }
    timer_set(worker->timers, &watch->look, LOOK_EVERY);
    return watch;
}

void tree_watch_free(struct tree_watch *watch)
{
    timer_cancel(watch->worker->timers, &watch->settle);
    timer_cancel(watch->worker->timers, &watch->look);
    if (watch->socket != NULL)
        h2o_socket_close(watch->socket);
    if (watch->inotify >= 0)
        close(watch->inotify);
    free_places(&watch->places);
    free(watch);
}
