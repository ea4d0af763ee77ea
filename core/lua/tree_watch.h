/* Tells when what a directory holds may have changed: .lua files, directories, and what symbolic links in it
 * lead to. inotify tells of most; twice a second the directories and the targets of links are looked at, for
 * what it does not tell: another directory in the place of one, as deployments swap them by a link.
 *
 * One worker's thread. What cannot be watched is logged, and the looking goes on. */
#pragma once
#include "net/worker.h"

struct tree_watch;

/* `changed` comes on the worker some 60 ms after the last change. `directory` outlives the watch. */
struct tree_watch *tree_watch_new(struct worker *worker, const char *directory, void (*changed)(void *arg),
                                  void *arg);
void tree_watch_free(struct tree_watch *watch);
