/* Values of headers that code of ours reads: X-Forwarded-For, Content-Type, conditions,
 * Accept-Encoding. The first byte says whose; each value in memory of its own, to the byte. */
#include "net/condition.h"
#include "net/content_type.h"
#include "net/encoding.h"
#include "net/proxies.h"
#include <arpa/inet.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool promise)
{
    if (!promise)
        abort();
}

/* Up to the next line's end. */
static h2o_iovec_t take_line(const uint8_t **at, const uint8_t *end)
{
    const uint8_t *stop = *at == end ? NULL : memchr(*at, '\n', (size_t)(end - *at));
    size_t len = (size_t)((stop == NULL ? end : stop) - *at);
    h2o_iovec_t line = {malloc(len + (len == 0)), len};
    memcpy(line.base, *at, len);
    *at = stop == NULL ? end : stop + 1;
    return line;
}

/* First line: who is trusted; second: the header. */
static void forwarded(const uint8_t *at, const uint8_t *end)
{
    struct in6_addr address = {.s6_addr = {[10] = 0xff, [11] = 0xff, [12] = 10, [15] = 1}}, again;
    char text[INET6_ADDRSTRLEN], *error = NULL;
    h2o_iovec_t trusted = take_line(&at, end), header = take_line(&at, end);
    char *list = strndup(trusted.base, trusted.len);
    struct proxies *proxies = proxies_new(list, &error);
    if (proxies == NULL) {
        check(error != NULL);
    } else {
        /* Of many that are all trusted the leftmost; what was found is found again. */
        bool more = proxies_walk(proxies, header, &address);
        proxies_print(&address, text);
        check(inet_pton(AF_INET6, text, &again) == 1 || inet_pton(AF_INET, text, &again) == 1);
        again = address;
        check(proxies_walk(proxies, h2o_iovec_init(NULL, 0), &again) == more || !more);
        check(memcmp(&again, &address, sizeof(again)) == 0);
        proxies_free(proxies);
    }
    free(error);
    free(list);
    free(trusted.base);
    free(header.base);
}

static void content_type(const uint8_t *at, const uint8_t *end)
{
    h2o_iovec_t header = take_line(&at, end);
    if (content_type_is_json(header.base, header.len)) {
        check(content_type_is(header.base, header.len, "application/json"));
        check(!content_type_is(header.base, header.len, "multipart/form-data"));
        check(h2o_strstr(header.base, header.len, H2O_STRLIT("utf-16")) == SIZE_MAX ||
              h2o_strstr(header.base, header.len, H2O_STRLIT("=")) != SIZE_MAX);
    }
    free(header.base);
}

static void encodings(const uint8_t *at, const uint8_t *end)
{
    static const bool all[] = {true, true, true}, none[] = {true, false, false};
    h2o_iovec_t header = take_line(&at, end);
    check(encoding_choose(header, all) < ENCODINGS);
    check(encoding_choose(header, none) == ENCODING_IDENTITY);
    free(header.base);
}

/* Four lines, of which empty ones are not there; a fifth is If-Range. */
static void conditions(const uint8_t *at, const uint8_t *end)
{
    const struct condition_state state = {h2o_iovec_init(H2O_STRLIT("\"tag\"")), 784111777};
    h2o_iovec_t lines[5];
    for (int i = 0; i < 5; i++) {
        lines[i] = take_line(&at, end);
        if (lines[i].len == 0) {
            free(lines[i].base);
            lines[i].base = NULL;
        }
    }
    struct condition condition = {lines[0], lines[1], lines[2], lines[3]}, without = condition;
    int status = condition_check(&condition, &state);
    check(status == 0 || status == 304 || status == 412);
    without.if_match = without.if_unmodified_since = h2o_iovec_init(NULL, 0);
    check(condition_check(&without, &state) != 412);
    check(status == 412 || status == condition_check(&without, &state));
    check(condition_range(lines[4], &state) || lines[4].base != NULL);
    for (int i = 0; i < 5; i++)
        free(lines[i].base);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const all[])(const uint8_t *at, const uint8_t *end) = {forwarded, content_type, conditions,
                                                                         encodings};
    if (size > 0)
        all[data[0] % 4](data + 1, data + size);
    return 0;
}
