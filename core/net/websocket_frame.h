/* Frames of the WebSocket protocol (RFC 6455, 5): reads what a client sends, writes the head of what it is
 * sent. Foreign bytes are only looked at here. Without I/O; any thread, one reader a connection. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { WEBSOCKET_LONGEST = 65536, WEBSOCKET_HEAD = 10 }; /* bytes of a message; of our frames' heads */

enum websocket_opcode {
    WEBSOCKET_MORE = 0,
    WEBSOCKET_TEXT = 1,
    WEBSOCKET_BINARY = 2,
    WEBSOCKET_CLOSE = 8,
    WEBSOCKET_PING = 9,
    WEBSOCKET_PONG = 10
};

enum websocket_status { /* RFC 6455, 7.4.1 */
                        WEBSOCKET_NORMAL = 1000,
                        WEBSOCKET_AWAY = 1001,
                        WEBSOCKET_PROTOCOL = 1002,
                        WEBSOCKET_UNSUPPORTED = 1003,
                        WEBSOCKET_NOT_TEXT = 1007,
                        WEBSOCKET_POLICY = 1008,
                        WEBSOCKET_TOO_LONG = 1009
};

struct websocket_reader { /* zeroed at first */
    char *parts;          /* of a message whose last frame has not come */
    size_t len;
    bool open; /* there is such a message */
};

struct websocket_message {
    enum websocket_opcode opcode; /* TEXT, CLOSE, PING or PONG; MORE: nothing to do yet */
    const char *text;             /* in the input or the reader: until the next call */
    size_t len;
    enum websocket_status status; /* CLOSE: what the client said, or what to tell it */
    bool broken;                  /* CLOSE: the client did not say goodbye, it broke the protocol */
};

/* Takes one frame off `len` bytes of input, which it unmasks where they are. Returns how many bytes that
 * was; 0: the frame is not all there. What breaks the protocol comes as CLOSE with the status for it: nothing
 * more is to be read then. Extensions are not agreed on, so that there are none. */
size_t websocket_read(struct websocket_reader *reader, char *input, size_t len,
                      struct websocket_message *message) __attribute__((warn_unused_result));
void websocket_reader_free(struct websocket_reader *reader);

/* The head of an unmasked, unfragmented frame; returns its length. */
size_t websocket_head(enum websocket_opcode opcode, size_t len, char out[WEBSOCKET_HEAD]);
