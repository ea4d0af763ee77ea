/* The live feed's clients and the script that answers them: scripts/topics/feed.lua, in a coroutine of its
 * own for each message, one at a time for a client, of the generation in force when the message comes. */
#pragma once
#include "lua/coroutine.h"

/* For a handler that returned 101: makes a WebSocket of the request, for the account in the table at `index`
 * (id, operator, sid, expires in Unix seconds), or answers why not. */
void feed_socket_open(lua_State *L, int index);

/* feed_options.on_text (`arg` is the worker's struct runtime) and on_gone. */
void feed_socket_text(void *arg, struct feed_client *client, const char *text, size_t len, void **asking);
void feed_socket_gone(void *asking);
