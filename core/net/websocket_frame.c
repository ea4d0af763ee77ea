#include "net/websocket_frame.h"
#include "base/flatjson.h"
#include "base/mem.h"
#include <stdlib.h>
#include <string.h>

enum { LONGEST_CONTROL = 125, MASK = 4 };

struct head {
    bool final, masked;
    unsigned reserved, opcode;
    size_t size; /* of the head itself, mask and all */
    uint64_t len;
    bool minimal; /* the length takes no more bytes than it must */
};

/* False: not all there. */
static bool read_head(struct head *head, const unsigned char *input, size_t len)
{
    if (len < 2)
        return false;
    size_t extra = (input[1] & 127) == 127 ? 8 : (input[1] & 127) == 126 ? 2 : 0;
    *head = (struct head){.final = input[0] & 128,
                          .masked = input[1] & 128,
                          .reserved = input[0] & 0x70,
                          .opcode = input[0] & 15,
                          .size = 2 + extra + MASK,
                          .len = input[1] & 127,
                          .minimal = true};
    if (len < 2 + extra)
        return false;
    if (extra != 0) {
        head->len = 0;
        for (size_t i = 0; i < extra; i++)
            head->len = head->len << 8 | input[2 + i];
        head->minimal = head->len >= (extra == 2 ? 126 : 65536) && head->len >> 63 == 0;
    }
    return true;
}

/* What is wrong with a frame by its head; 0: nothing. */
static enum websocket_status judge_head(const struct websocket_reader *reader, const struct head *head)
{
    if (!head->masked || head->reserved != 0 || !head->minimal)
        return WEBSOCKET_PROTOCOL;
    switch (head->opcode) {
    case WEBSOCKET_CLOSE:
    case WEBSOCKET_PING:
    case WEBSOCKET_PONG:
        return head->final && head->len <= LONGEST_CONTROL ? 0 : WEBSOCKET_PROTOCOL;
    case WEBSOCKET_MORE:
        if (!reader->open)
            return WEBSOCKET_PROTOCOL;
        return head->len > WEBSOCKET_LONGEST - reader->len ? WEBSOCKET_TOO_LONG : 0;
    case WEBSOCKET_TEXT:
        if (reader->open)
            return WEBSOCKET_PROTOCOL;
        return head->len > WEBSOCKET_LONGEST ? WEBSOCKET_TOO_LONG : 0;
    case WEBSOCKET_BINARY:
        return reader->open ? WEBSOCKET_PROTOCOL : WEBSOCKET_UNSUPPORTED;
    default:
        return WEBSOCKET_PROTOCOL;
    }
}

static void unmask(char *payload, size_t len, const char mask[MASK])
{
    for (size_t i = 0; i < len; i++)
        payload[i] = (char)(payload[i] ^ mask[i % MASK]);
}

static bool is_utf8(const char *text, size_t len)
{
    for (size_t at = 0, n; at < len; at += n) {
        n = flatjson_sequence(text + at, len - at);
        if (n == 0)
            return false;
    }
    return true;
}

/* What the client says by closing, which is told back to it; or what is wrong with that. */
static enum websocket_status read_close(const char *payload, size_t len)
{
    if (len == 0)
        return WEBSOCKET_NORMAL;
    unsigned status = len < 2 ? 0 : (unsigned)((unsigned char)payload[0] << 8 | (unsigned char)payload[1]);
    bool known = (status >= 1000 && status <= 1014 && (status < 1004 || status > 1006)) ||
                 (status >= 3000 && status <= 4999);
    if (!known)
        return WEBSOCKET_PROTOCOL;
    return is_utf8(payload + 2, len - 2) ? (enum websocket_status)status : WEBSOCKET_NOT_TEXT;
}

static void keep_part(struct websocket_reader *reader, const char *payload, size_t len)
{
    reader->parts = x_realloc(reader->parts, reader->len + len + 1);
    memcpy(reader->parts + reader->len, payload, len);
    reader->len += len;
    reader->open = true;
}

static void take(struct websocket_reader *reader, const struct head *head, char *payload, size_t len,
                 struct websocket_message *message)
{
    *message = (struct websocket_message){(enum websocket_opcode)head->opcode, payload, len, 0, false};
    if (head->opcode == WEBSOCKET_CLOSE) {
        message->status = read_close(payload, len);
        return;
    }
    if (head->opcode >= WEBSOCKET_CLOSE)
        return;
    if (!head->final || reader->open) {
        keep_part(reader, payload, len);
        if (!head->final) {
            message->opcode = WEBSOCKET_MORE;
            return;
        }
        message->text = reader->parts;
        message->len = reader->len;
        reader->len = 0;
        reader->open = false;
    }
    message->opcode = WEBSOCKET_TEXT;
    if (!is_utf8(message->text, message->len)) {
        message->opcode = WEBSOCKET_CLOSE;
        message->status = WEBSOCKET_NOT_TEXT;
        message->broken = true;
    }
}

size_t websocket_read(struct websocket_reader *reader, char *input, size_t len,
                      struct websocket_message *message)
{
    struct head head;
    if (!read_head(&head, (const unsigned char *)input, len))
        return 0;
    enum websocket_status wrong = judge_head(reader, &head);
    if (wrong != 0) {
        *message = (struct websocket_message){.opcode = WEBSOCKET_CLOSE, .status = wrong, .broken = true};
        return len;
    }
    if (len < head.size || len - head.size < head.len)
        return 0;
    char *payload = input + head.size;
    unmask(payload, (size_t)head.len, payload - MASK);
    take(reader, &head, payload, (size_t)head.len, message);
    return head.size + (size_t)head.len;
}

void websocket_reader_free(struct websocket_reader *reader)
{
    free(reader->parts);
    *reader = (struct websocket_reader){0};
}

size_t websocket_head(enum websocket_opcode opcode, size_t len, char out[WEBSOCKET_HEAD])
{
    size_t extra = len < 126 ? 0 : len < 65536 ? 2 : 8;
    out[0] = (char)(128 | opcode);
    out[1] = (char)(extra == 0 ? len : extra == 2 ? 126 : 127);
    for (size_t i = 0; i < extra; i++)
        out[2 + i] = (char)(len >> (8 * (extra - 1 - i)));
    return 2 + extra;
}
