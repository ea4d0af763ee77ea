/* Whose address counts: of peers, proxies and what they, or clients, wrote into X-Forwarded-For. */
#include "net/proxies.h"
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h> /* needs those above */

static struct in6_addr address(const char *text)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    struct in6_addr out;
    bool is_v4 = inet_pton(AF_INET, text, &v4.sin_addr) == 1;
    if (!is_v4)
        assert_int_equal(inet_pton(AF_INET6, text, &v6.sin6_addr), 1);
    assert_true(proxies_address(is_v4 ? (struct sockaddr *)&v4 : (struct sockaddr *)&v6, &out));
    return out;
}

/* Two headers, the second may be NULL; each in memory of its own, to the byte. */
static void client_is(const char *trusted, const char *peer, const char *first, const char *second,
                      const char *expected)
{
    char *error = NULL, text[INET6_ADDRSTRLEN];
    struct proxies *proxies = proxies_new(trusted, &error);
    assert_non_null(proxies);
    struct in6_addr is = address(peer);
    const char *headers[] = {second, first};
    bool more = true;
    for (int i = 0; i < 2 && more; i++) {
        if (headers[i] == NULL)
            continue;
        size_t len = strlen(headers[i]);
        char *copy = malloc(len + (len == 0));
        memcpy(copy, headers[i], len);
        more = proxies_walk(proxies, h2o_iovec_init(copy, len), &is);
        free(copy);
    }
    proxies_print(&is, text);
    if (strcmp(text, expected) != 0)
        fail_msg("%s by %s: %s, not %s", first, peer, text, expected);
    proxies_free(proxies);
}

static void nobody_is_trusted_by_default(void **state)
{
    client_is("", "127.0.0.1", "1.2.3.4", NULL, "127.0.0.1");
    client_is(" , ", "::1", "1.2.3.4", NULL, "::1");
    client_is("10.0.0.1", "10.0.0.2", "1.2.3.4", NULL, "10.0.0.2");
}

static void the_rightmost_untrusted_is_the_client(void **state)
{
    client_is("10.0.0.1", "10.0.0.1", "1.2.3.4", NULL, "1.2.3.4");
    client_is("10.0.0.1", "10.0.0.1", "6.6.6.6, 1.2.3.4", NULL, "1.2.3.4"); /* a client wrote the first */
    client_is("10.0.0.0/8", "10.9.9.9", "6.6.6.6,1.2.3.4 ,\t10.1.1.1", NULL, "1.2.3.4");
    client_is("10.0.0.0/8", "10.9.9.9", "10.1.1.2, 10.1.1.1", NULL, "10.1.1.2"); /* all are: the farthest */
    client_is("10.0.0.0/8", "10.9.9.9", "6.6.6.6, 10.1.1.2", "10.1.1.1", "6.6.6.6");
    client_is("10.0.0.0/8", "10.9.9.9", "6.6.6.6", "1.2.3.4", "1.2.3.4");
    client_is("10.0.0.0/8", "10.9.9.9", NULL, NULL, "10.9.9.9");
    client_is("10.0.0.0/8", "10.9.9.9", ", ,1.2.3.4,,", "", "1.2.3.4");
}

static void what_is_no_address_ends_the_walk(void **state)
{
    static const char *const wrong[] = {
        "unknown",      "1.2.3",
        "1.2.3.4.5",    "_hidden",
        "[::1",         "::g",
        "1.2.3.4 5",    "[1.2.3.4]",
        "[::1]x",       ":1",
        "fe80::1%eth0", "1.2.3.4/8",
        "\"1.2.3.4\"",  "0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        char header[160];
        snprintf(header, sizeof(header), "6.6.6.6, %s", wrong[i]);
        client_is("10.0.0.1", "10.0.0.1", header, NULL, "10.0.0.1");
        snprintf(header, sizeof(header), "6.6.6.6, %s, 10.0.0.1", wrong[i]);
        client_is("10.0.0.1", "10.0.0.1", header, NULL, "10.0.0.1");
    }
}

static void both_families(void **state)
{
    client_is("10.0.0.1", "::ffff:10.0.0.1", "1.2.3.4", NULL, "1.2.3.4"); /* a socket that takes both */
    client_is("::ffff:10.0.0.0/104", "10.1.2.3", "::ffff:1.2.3.4", NULL, "1.2.3.4");
    client_is("", "::ffff:1.2.3.4", NULL, NULL, "1.2.3.4");
    client_is("fd00::/8, ::1", "::1", "2001:db8::7, fd12::1", NULL, "2001:db8::7");
    client_is("fd00::/8", "fd00::1", "[2001:db8::7]:443", NULL, "2001:db8::7");
    client_is("fd00::/8", "fd00::1", "[2001:db8::7]", NULL, "2001:db8::7");
    client_is("fd00::/8", "fd00::1", "1.2.3.4:5678", NULL, "1.2.3.4");
    client_is("0.0.0.0/0", "9.9.9.9", "2001:db8::7", NULL, "2001:db8::7");
    client_is("0.0.0.0/0", "2001:db8::7", "1.2.3.4", NULL, "2001:db8::7");
    client_is("::/0", "9.9.9.9", "1.2.3.4", NULL, "1.2.3.4");
}

static void networks_end_where_they_say(void **state)
{
    client_is("10.20.0.0/14", "10.23.255.255", "1.2.3.4", NULL, "1.2.3.4");
    client_is("10.20.0.0/14", "10.24.0.0", "1.2.3.4", NULL, "10.24.0.0");
    client_is("10.0.0.4/31", "10.0.0.5", "1.2.3.4", NULL, "1.2.3.4");
    client_is("10.0.0.4/31", "10.0.0.6", "1.2.3.4", NULL, "10.0.0.6");
    client_is("2001:db8::/33", "2001:db8:7fff::1", "1.2.3.4", NULL, "1.2.3.4");
    client_is("2001:db8::/33", "2001:db8:8000::1", "1.2.3.4", NULL, "2001:db8:8000::1");
}

static void what_is_no_network_is_refused(void **state)
{
    static const char *const wrong[] = {
        "x",          "10.0.0.0/33", "10.0.0.0/",   "10.0.0.0/-1", "10.0.0.0/8/8", "::1/129",      "10.0.0",
        "10.0.0.1:8", "[::1]",       "10.0.0.0/ 8", "localhost",   "10.0.0.1, x",  "10.0.0.0/0008"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        char *error = NULL;
        if (proxies_new(wrong[i], &error) != NULL)
            fail_msg("%s was taken", wrong[i]);
        assert_non_null(strstr(error, "is neither an address nor a network"));
        free(error);
    }
}

static void other_families_have_no_address(void **state)
{
    struct in6_addr out;
    assert_false(proxies_address(&(struct sockaddr){.sa_family = AF_UNIX}, &out));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_is_trusted_by_default),
        cmocka_unit_test(the_rightmost_untrusted_is_the_client),
        cmocka_unit_test(what_is_no_address_ends_the_walk),
        cmocka_unit_test(both_families),
        cmocka_unit_test(networks_end_where_they_say),
        cmocka_unit_test(what_is_no_network_is_refused),
        cmocka_unit_test(other_families_have_no_address),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
