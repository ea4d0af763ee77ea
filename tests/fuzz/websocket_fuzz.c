/* What a client of a WebSocket sends: the first byte says how many bytes come at a time. Nothing is taken
 * that was not there, and a text is UTF-8 of the length that is allowed. */
#include "base/flatjson.h"
#include "net/websocket_frame.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct websocket_reader reader = {0};
    struct websocket_message message = {.opcode = WEBSOCKET_MORE};
    size_t step = size == 0 ? 0 : data[0] + (size_t)1, at = size == 0 ? 0 : 1, len = 0;
    char *input = NULL;
    while (at < size && message.opcode != WEBSOCKET_CLOSE) {
        size_t more = size - at < step ? size - at : step, taken;
        char *longer = malloc(len + more); /* no byte behind it */
        memcpy(longer, input == NULL ? "" : input, len);
        memcpy(longer + len, data + at, more);
        free(input);
        input = longer;
        len += more;
        at += more;
        while (len > 0 && message.opcode != WEBSOCKET_CLOSE &&
               (taken = websocket_read(&reader, input, len, &message)) != 0) {
            if (taken > len || message.len > WEBSOCKET_LONGEST)
                abort();
            for (size_t i = 0, n; message.opcode == WEBSOCKET_TEXT && i < message.len; i += n) {
                n = flatjson_sequence(message.text + i, message.len - i);
                if (n == 0)
                    abort();
            }
            memmove(input, input + taken, len - taken);
            len -= taken;
        }
    }
    free(input);
    websocket_reader_free(&reader);
    return 0;
}
