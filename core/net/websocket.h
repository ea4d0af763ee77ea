/* A WebSocket connection of a worker: handshake, pings, control frames, the end. What is sent is the owner's
 * business, one write at a time; what is read comes one message at a time.
 *
 * It pings each 30 s and ends where the client was silent since the last one. One that does not read is the
 * guard's to end. Worker thread only; the hooks are never called from within a call that caused them, but
 * for on_text. Lives until on_closed, which comes exactly once. */
#pragma once
#include "net/http.h"
#include "net/websocket_frame.h"

struct websocket;

struct websocket_hooks {
    /* Valid during the call. No other comes until websocket_resume(). */
    void (*on_text)(void *arg, const char *text, size_t len);
    /* What was written is out, and a write may begin: after the handshake, and after each write. */
    void (*on_writable)(void *arg);
    void (*on_closed)(void *arg); /* whatever the reason; freed afterwards */
};

/* Answers the handshake; with anything but a sound one it answers what is wrong, and returns NULL. Browsers
 * say what page they ask for (Origin): it must be of the host asked for, or of `origins`, a list of origins
 * with commas in between. `hooks` outlives the connection. */
struct websocket *websocket_accept(struct http_request *request, struct worker *worker, const char *origins,
                                   const struct websocket_hooks *hooks, void *arg);

/* Whether a write may begin now. */
bool websocket_writable(const struct websocket *socket);
/* Whole frames, which stay where they are until on_writable or on_closed. `count` 1 or more. */
void websocket_write(struct websocket *socket, h2o_iovec_t *frames, size_t count);
/* A message of our own besides; copied. It goes out before the next write. */
void websocket_say(struct websocket *socket, const char *text, size_t len);
void websocket_resume(struct websocket *socket);
/* Says goodbye; nothing comes of it any more but on_closed. */
void websocket_close(struct websocket *socket, enum websocket_status status);
