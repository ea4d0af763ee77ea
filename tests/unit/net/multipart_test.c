/* multipart/form-data: what curl, browsers and Python send, and everything that is not quite that. */
#include "net/multipart.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h> /* needs those above */

#define TYPE "multipart/form-data; boundary=b"
#define FIELD(name) "Content-Disposition: form-data; name=\"" name "\"\r\n\r\n"
#define ONE(headers, data) "--b\r\n" headers "\r\n\r\n" data "\r\n--b--\r\n"

static int parse(const char *type, const char *body, size_t len, struct multipart_part *parts,
                 const char **error)
{
    char *copy = malloc(len + 1); /* at the end of its block, so that ASan sees a read behind it */
    memcpy(copy + 1, body, len);
    int count = multipart_parse(type, strlen(type), copy + 1, len, parts, MULTIPART_PARTS_MAX, error);
    for (int i = 0; i < count; i++) { /* into the caller's bytes, which stay */
        struct content_text *texts[] = {&parts[i].name, &parts[i].filename, &parts[i].content_type};
        for (int t = 0; t < 3; t++)
            if (texts[t]->base)
                texts[t]->base = body + (texts[t]->base - copy - 1);
        parts[i].data = body + (parts[i].data - copy - 1);
    }
    free(copy);
    return count;
}

static int accepted(const char *type, const char *body, struct multipart_part *parts)
{
    const char *error = "";
    int count = parse(type, body, strlen(body), parts, &error);
    if (count < 0)
        fail_msg("refused: %s", error);
    assert_null(error);
    return count;
}

static void refused(const char *type, const char *body, const char *expected)
{
    struct multipart_part parts[MULTIPART_PARTS_MAX];
    const char *error = "";
    assert_int_equal(parse(type, body, strlen(body), parts, &error), -1);
    if (!strstr(error, expected))
        fail_msg("expected \"%s\", got \"%s\"", expected, error);
}

static void equals(struct content_text text, const char *expected)
{
    assert_non_null(text.base);
    assert_int_equal(text.len, strlen(expected));
    assert_memory_equal(text.base, expected, text.len);
}

static void reads_what_curl_sends(void **state)
{
    static const char body[] = "--------------------------d74496d66958873e\r\n"
                               "Content-Disposition: form-data; name=\"version\"\r\n"
                               "\r\n"
                               "1.3.0\r\n"
                               "--------------------------d74496d66958873e\r\n"
                               "Content-Disposition: form-data; name=\"file\"; filename=\"app.bin\"\r\n"
                               "Content-Type: application/octet-stream\r\n"
                               "\r\n"
                               "\xE9\x00\r\n--\r\n------\r\n\r\n"
                               "--------------------------d74496d66958873e--\r\n";
    static const char type[] = "multipart/form-data; boundary=------------------------d74496d66958873e";
    struct multipart_part parts[MULTIPART_PARTS_MAX];
    const char *error;
    assert_int_equal(parse(type, body, sizeof(body) - 1, parts, &error), 2);
    equals(parts[0].name, "version");
    assert_null(parts[0].filename.base);
    assert_null(parts[0].content_type.base);
    assert_int_equal(parts[0].len, 5);
    assert_memory_equal(parts[0].data, "1.3.0", 5);
    equals(parts[1].name, "file");
    equals(parts[1].filename, "app.bin");
    equals(parts[1].content_type, "application/octet-stream");
    assert_int_equal(parts[1].len, 16);
    assert_memory_equal(parts[1].data, "\xE9\x00\r\n--\r\n------\r\n", 16);
    assert_ptr_equal(multipart_find(parts, 2, "file"), &parts[1]);
    assert_ptr_equal(multipart_find(parts, 2, "version"), &parts[0]);
    assert_null(multipart_find(parts, 2, "fil"));
    assert_null(multipart_find(parts, 2, "File"));
    assert_null(multipart_find(parts, 0, "file"));
}

static void reads_lenient_forms(void **state)
{
    static const struct {
        const char *type, *body;
    } cases[] = {
        {TYPE, "--b\r\n" FIELD("n") "x\r\n--b--"},
        {TYPE, "\r\n--b\r\n" FIELD("n") "x\r\n--b--\r\n"},
        {TYPE, "--b \t\r\n" FIELD("n") "x\r\n--b--  \r\n"},
        {"  Multipart/Form-Data ;charset=utf-8; BOUNDARY=\"b\"", "--b\r\n" FIELD("n") "x\r\n--b--\r\n"},
        {"multipart/form-data; boundary=\"a b'()+_,-./:=?\"",
         "--a b'()+_,-./:=?\r\n" FIELD("n") "x\r\n--a b'()+_,-./:=?--\r\n"},
        {TYPE, ONE("content-disposition:form-data;name=n", "x")},
        {TYPE, ONE("X-Other: \xC3\xA9\r\nCONTENT-DISPOSITION: Form-Data; Name=\"n\"; size=5", "x")},
        {TYPE, ONE("Content-Disposition: form-data; name=\"n\"\r\nContent-Transfer-Encoding: Binary", "x")},
        {TYPE, ONE("Content-Disposition: form-data; name=\"n\"; filename*=UTF-8''%e2%82%ac.bin", "x")},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct multipart_part parts[MULTIPART_PARTS_MAX];
        assert_int_equal(accepted(cases[i].type, cases[i].body, parts), 1);
        equals(parts[0].name, "n");
        assert_int_equal(parts[0].len, 1);
        assert_int_equal(parts[0].data[0], 'x');
        assert_null(parts[0].filename.base);
    }
}

static void leaves_filenames_as_sent(void **state)
{
    static const char *const names[] = {
        "",       "../../etc/passwd", "a\\\"b.bin", "C:\\dir\\app.bin", "\xE2\x82\xAC.bin",
        "a;b=\t", "%22quoted%22.bin", "ends\\\\",   "x; name=y",
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char body[256];
        struct multipart_part parts[MULTIPART_PARTS_MAX];
        snprintf(body, sizeof(body),
                 ONE("Content-Disposition: form-data; filename=\"%s\"; name=\"file\"", ""), names[i]);
        assert_int_equal(accepted(TYPE, body, parts), 1);
        equals(parts[0].filename, names[i]);
        equals(parts[0].name, "file");
        assert_int_equal(parts[0].len, 0);
    }
}

static void reads_an_empty_form(void **state)
{
    struct multipart_part parts[1];
    assert_int_equal(accepted(TYPE, "--b--\r\n", parts), 0);
}

static void refuses_content_types(void **state)
{
    static const struct {
        const char *type, *why;
    } cases[] = {
        {"", "not multipart"},
        {"application/json", "not multipart"},
        {"multipart/form-dat", "not multipart"},
        {"multipart/mixed; boundary=b", "not multipart"},
        {"multipart/form-data", "no boundary"},
        {"multipart/form-data; charset=utf-8", "no boundary"},
        {"multipart/form-data; boundary=\"\"", "no boundary"},
        {"multipart/form-data; boundary=\"b \"", "no boundary"},
        {"multipart/form-data; boundary=\"b\\\\\"", "no boundary"},
        {"multipart/form-data; boundary=\"b\r\nX: y\"", "no boundary"},
        {"multipart/form-data; boundary=\xC3\xA9", "malformed"},
        {"multipart/form-data; boundary=", "malformed"},
        {"multipart/form-data; boundary=\"b", "malformed"},
        {"multipart/form-data; boundary", "malformed"},
        {"multipart/form-data; boundary=b;", "malformed"},
        {"multipart/form-data boundary=b", "malformed"},
        {"multipart/form-datax; boundary=b", "malformed"},
        {"multipart/form-data; boundary=b; boundary=b", "two boundaries"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        refused(cases[i].type, "--b--\r\n", cases[i].why);
}

static void bounds_the_boundary(void **state)
{
    char type[128], body[128], boundary[72];
    struct multipart_part parts[1];
    memset(boundary, 'x', 71);
    for (int len = 70; len <= 71; len++) {
        snprintf(type, sizeof(type), "multipart/form-data; boundary=%.*s", len, boundary);
        snprintf(body, sizeof(body), "--%.*s--\r\n", len, boundary);
        if (len == 70)
            assert_int_equal(accepted(type, body, parts), 0);
        else
            refused(type, body, "no boundary");
    }
}

static void refuses_bodies(void **state)
{
    static const struct {
        const char *body, *why;
    } cases[] = {
        {"", "does not start"},
        {"preamble\r\n--b--\r\n", "does not start"},
        {"--c--\r\n", "does not start"},
        {"--b", "something else than a line's end"},
        {"--b-", "something else than a line's end"},
        {"--bx\r\n" FIELD("n") "x\r\n--b--\r\n", "something else than a line's end"},
        {"--b\n" FIELD("n") "x\r\n--b--\r\n", "something else than a line's end"},
        {"--b--\r\nepilogue", "Something follows"},
        {"--b--x", "Something follows"},
        {"--b\r\n", "ends within its headers"},
        {"--b\r\nContent-Disposition: form-data; name=n", "ends within its headers"},
        {"--b\r\n" FIELD("n"), "closing boundary"},
        {"--b\r\n" FIELD("n") "x\r\n--", "closing boundary"},
        {"--b\r\n" FIELD("n") "x\n--b--\r\n", "closing boundary"},
        {"--b\r\n" FIELD("n") "x\r\n--b", "something else than a line's end"},
        {"--b\r\n" FIELD("n") "x\r\n--bb\r\n--b--\r\n", "something else than a line's end"},
        {"--b\r\n" FIELD("n") "x\r\n--b\r\n" FIELD("n") "y\r\n--b--\r\n", "same name"},
        {"--b\r\n\r\nx\r\n--b--\r\n", "no Content-Disposition"},
        {ONE("Content-Type: text/plain", "x"), "no Content-Disposition"},
        {ONE("Content-Disposition: attachment; name=\"n\"", "x"), "not form-data"},
        {ONE("Content-Disposition: form-data", "x"), "no name"},
        {ONE("Content-Disposition: form-data; filename=\"f\"", "x"), "no name"},
        {ONE("Content-Disposition: form-data; name=\"\"", "x"), "no name"},
        {ONE("Content-Disposition: form-data; name=\"a\"; name=\"b\"", "x"), "two names"},
        {ONE("Content-Disposition: form-data; name=a; filename=\"\"; filename=b", "x"), "two names"},
        {ONE("Content-Disposition: form-data; name=\"a", "x"), "malformed"},
        {ONE("Content-Disposition: form-data; name=\"a\\\"", "x"), "malformed"},
        {ONE("Content-Disposition: form-data; name=\"a\"b", "x"), "malformed"},
        {ONE("Content-Disposition: form-data; name", "x"), "malformed"},
        {ONE("Content-Disposition: form-data; =a", "x"), "malformed"},
        {ONE("Content-Disposition: form-data name=a", "x"), "malformed"},
        {ONE("Content-Disposition: form-data; name=a\r\nContent-Disposition: form-data; name=b", "x"),
         "two Content-Disposition"},
        {ONE("Content-Disposition: form-data; name=a\r\nContent-Type: a/b\r\nContent-Type: a/b", "x"),
         "two Content-Type"},
        {ONE("Content-Disposition: form-data; name=a\r\nContent-Transfer-Encoding: base64", "eA=="),
         "Content-Transfer-Encoding"},
        {ONE("Content-Disposition: form-data;\r\n name=a", "x"), "malformed"},
        {ONE("Content-Disposition : form-data; name=a", "x"), "header is malformed"},
        {ONE(": form-data; name=a", "x"), "header is malformed"},
        {ONE("no colon", "x"), "header is malformed"},
        {ONE("Content-Disposition: form-data; name=\"a\nb\"", "x"), "control character"},
        {ONE("Content-Disposition: form-data; name=\"a\rb\"", "x"), "control character"},
        {ONE("Content-Disposition: form-data; name=\"a\x7F\"", "x"), "control character"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        refused(TYPE, cases[i].body, cases[i].why);
}

static void refuses_a_nul_in_a_header(void **state)
{
    static const char body[] =
        ONE("Content-Disposition: form-data; name=\"file\"; filename=\"a\0.bin\"", "x");
    struct multipart_part parts[MULTIPART_PARTS_MAX];
    const char *error = "";
    assert_int_equal(parse(TYPE, body, sizeof(body) - 1, parts, &error), -1);
    assert_non_null(strstr(error, "control character"));
}

static void bounds_the_headers(void **state)
{
    static const char head[] = "--b\r\n", tail[] = FIELD("n") "x\r\n--b--\r\n";
    const size_t disposition = sizeof(FIELD("n")) - 1 - 2; /* without the empty line */
    for (int extra = 0; extra < 2; extra++) {
        size_t filler = MULTIPART_HEADER_MAX - disposition - 5 + (size_t)extra; /* 5: "X: " and CRLF */
        char body[MULTIPART_HEADER_MAX + 200], *to = body;
        struct multipart_part parts[MULTIPART_PARTS_MAX];
        to += sprintf(to, "%sX: ", head);
        memset(to, 'x', filler);
        sprintf(to + filler, "\r\n%s", tail);
        if (extra)
            refused(TYPE, body, "too long");
        else
            assert_int_equal(accepted(TYPE, body, parts), 1);
    }
}

static void bounds_the_parts(void **state)
{
    char body[4096], *to = body;
    struct multipart_part parts[MULTIPART_PARTS_MAX + 1];
    const char *error = "";
    for (int i = 0; i < MULTIPART_PARTS_MAX; i++)
        to += sprintf(to, "--b\r\nContent-Disposition: form-data; name=n%d\r\n\r\n%d\r\n", i, i);
    strcpy(to, "--b--\r\n");
    assert_int_equal(accepted(TYPE, body, parts), MULTIPART_PARTS_MAX);
    equals(parts[15].name, "n15");
    assert_int_equal(multipart_parse(TYPE, strlen(TYPE), body, strlen(body), parts, 15, &error), -1);
    assert_non_null(strstr(error, "too many"));
    sprintf(to, "--b\r\n%s\r\n--b--\r\n", FIELD("last"));
    assert_int_equal(multipart_parse(TYPE, strlen(TYPE), body, strlen(body), parts, 17, &error), -1);
    assert_non_null(strstr(error, "too many"));
}

static void refuses_every_cut(void **state)
{
    static const char body[] = "--b\r\n" FIELD("n") "x\r\n--b\r\n" FIELD("m") "y\r\n--b--\r\n";
    for (size_t len = 0; len < sizeof(body) - 1 - 2; len++) { /* the last CRLF may be missing, but whole */
        struct multipart_part parts[MULTIPART_PARTS_MAX];
        const char *error;
        if (parse(TYPE, body, len, parts, &error) != -1)
            fail_msg("cut to %zu bytes it was accepted", len);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_curl_sends),    cmocka_unit_test(reads_lenient_forms),
        cmocka_unit_test(leaves_filenames_as_sent), cmocka_unit_test(reads_an_empty_form),
        cmocka_unit_test(refuses_content_types),    cmocka_unit_test(bounds_the_boundary),
        cmocka_unit_test(refuses_bodies),           cmocka_unit_test(refuses_a_nul_in_a_header),
        cmocka_unit_test(bounds_the_headers),       cmocka_unit_test(bounds_the_parts),
        cmocka_unit_test(refuses_every_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
