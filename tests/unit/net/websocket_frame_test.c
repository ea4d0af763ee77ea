/* Frames as clients send them, and heads of ours. What the server does with connections is in tests/api. */
#include "net/websocket_frame.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A masked frame; returns its length. */
static size_t put(char *out, unsigned first, const char *payload, size_t len)
{
    static const char mask[4] = {1, 2, 3, 4};
    char head[WEBSOCKET_HEAD];
    size_t at = websocket_head(WEBSOCKET_TEXT, len, head);
    memcpy(out, head, at);
    out[0] = (char)first;
    out[1] = (char)(out[1] | 128);
    memcpy(out + at, mask, 4);
    for (size_t i = 0; i < len; i++)
        out[at + 4 + i] = (char)(payload[i] ^ mask[i % 4]);
    return at + 4 + len;
}

/* Reads from a copy without a byte behind it. */
static size_t read_copy(struct websocket_reader *reader, const char *input, size_t len,
                        struct websocket_message *message, char **copy)
{
    *copy = malloc(len + (len == 0));
    memcpy(*copy, input, len);
    return websocket_read(reader, *copy, len, message);
}

static void test_texts_of_all_lengths(void **state)
{
    static const size_t lengths[] = {0, 1, 125, 126, 65535, 65536};
    char *text = malloc(65537), *frame = malloc(65536 + 14);
    memset(text, 'x', 65537);
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        struct websocket_reader reader = {0};
        struct websocket_message message;
        size_t len = put(frame, 0x81, text, lengths[i]);
        for (size_t cut = 0; cut < len; cut += cut < 16 ? 1 : len / 7) {
            char *copy;
            assert_int_equal(read_copy(&reader, frame, cut, &message, &copy), 0);
            free(copy);
        }
        char *copy;
        assert_int_equal(read_copy(&reader, frame, len, &message, &copy), len);
        assert_int_equal(message.opcode, WEBSOCKET_TEXT);
        assert_int_equal(message.len, lengths[i]);
        assert_memory_equal(message.text, text, lengths[i]);
        free(copy);
        websocket_reader_free(&reader);
    }
    free(text);
    free(frame);
}

static void test_pieces_with_pings_between(void **state)
{
    struct websocket_reader reader = {0};
    struct websocket_message message;
    char stream[200];
    size_t len = put(stream, 0x01, "\xc3", 1);
    len += put(stream + len, 0x89, "hi", 2);
    len += put(stream + len, 0x00, "", 0);
    len += put(stream + len, 0x80, "\xa4!", 2);
    len += put(stream + len, 0x81, "next", 4);
    static const struct {
        enum websocket_opcode opcode;
        const char *text;
    } wanted[] = {{WEBSOCKET_MORE, NULL},
                  {WEBSOCKET_PING, "hi"},
                  {WEBSOCKET_MORE, NULL},
                  {WEBSOCKET_TEXT, "\xc3\xa4!"},
                  {WEBSOCKET_TEXT, "next"}};
    size_t at = 0;
    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
        size_t n = websocket_read(&reader, stream + at, len - at, &message);
        assert_int_not_equal(n, 0);
        assert_int_equal(message.opcode, wanted[i].opcode);
        if (wanted[i].text != NULL) {
            assert_int_equal(message.len, strlen(wanted[i].text));
            assert_memory_equal(message.text, wanted[i].text, message.len);
        }
        at += n;
    }
    assert_int_equal(at, len);
    websocket_reader_free(&reader);
}

static void broken(const char *bytes, size_t len, enum websocket_status status)
{
    struct websocket_reader reader = {0};
    struct websocket_message message = {.opcode = WEBSOCKET_MORE};
    char *copy;
    size_t n = 0, at = 0;
    copy = malloc(len);
    memcpy(copy, bytes, len);
    while (message.opcode != WEBSOCKET_CLOSE &&
           (n = websocket_read(&reader, copy + at, len - at, &message)) != 0)
        at += n;
    assert_int_equal(message.opcode, WEBSOCKET_CLOSE);
    assert_int_equal(message.status, status);
    free(copy);
    websocket_reader_free(&reader);
}
#define BROKEN(bytes, status) broken(bytes, sizeof(bytes) - 1, status)

static void test_what_breaks_the_protocol(void **state)
{
    BROKEN("\x81\x02hi", 1002);       /* not masked */
    BROKEN("\xc1\x80", 1002);         /* before more has come */
    BROKEN("\x8f\x80", 1002);         /* no such opcode */
    BROKEN("\x80\x80", 1002);         /* goes on with nothing */
    BROKEN("\x09\x80", 1002);         /* PING in pieces */
    BROKEN("\x89\xfe\x00\x7e", 1002); /* of 126 bytes */
    BROKEN("\x81\xfe\x00\x7d", 1002); /* length not as short as can be */
    BROKEN("\x81\xff\0\0\0\0\0\0\xff\xff", 1002);
    BROKEN("\x81\xff\x80\0\0\0\0\0\0\0", 1002);
    BROKEN("\x81\xff\0\0\0\0\0\1\0\1", 1009);
    BROKEN("\x82\x80", 1003);
    BROKEN("\x81\x81\0\0\0\0\xff", 1007);
    BROKEN("\x01\x81\0\0\0\0x\x81\x80", 1002); /* a message in a message */
    BROKEN("\x01\x81\0\0\0\0x\x80\xff\0\0\0\0\0\1\0\0", 1009);
    BROKEN("\x88\x81\0\0\0\0x", 1002);
    BROKEN("\x88\x82\0\0\0\0\x03\xed", 1002);
    BROKEN("\x88\x83\0\0\0\0\x03\xe8\xff", 1007);
}

static void test_goodbyes(void **state)
{
    BROKEN("\x88\x80\0\0\0\0", 1000);
    BROKEN("\x88\x82\0\0\0\0\x03\xe9", 1001);
    BROKEN("\x88\x85\0\0\0\0\x0f\xa0"
           "bye",
           4000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts_of_all_lengths),
        cmocka_unit_test(test_pieces_with_pings_between),
        cmocka_unit_test(test_what_breaks_the_protocol),
        cmocka_unit_test(test_goodbyes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
