#include "../scratch.h"
#include "net/files.h"
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <unistd.h>

#include <cmocka.h>

static void put(struct scratch *scratch, const char *name, const char *text)
{
    scratch_write(scratch, name, text, strlen(text), 0600);
}

static struct files *load(struct scratch *scratch)
{
    char *error = NULL;
    struct files *files = files_load(scratch->path, &error);
    if (files == NULL)
        fail_msg("%s", error);
    return files;
}

static const struct files_entry *find(const struct files *files, const char *name)
{
    return files_find(files, h2o_iovec_init(name, strlen(name)));
}

static void holds(const struct files_entry *file, enum encoding encoding, const char *text)
{
    const struct files_body *body = &file->bodies[encoding];
    assert_non_null(body->data);
    assert_int_equal(body->len, strlen(text));
    assert_memory_equal(body->data, text, body->len);
    assert_int_equal(strlen(body->etag), 32);
}

static void test_a_directory(void **state)
{
    struct scratch *scratch = *state;
    size_t bytes;
    mkdir(scratch_path(scratch, "media"), 0700);
    put(scratch, "index.html", "<html>");
    put(scratch, "media/font-AB12CD34.woff2", "font");
    put(scratch, "empty.txt", "");
    put(scratch, ".hidden", "secret");
    struct files *files = load(scratch);
    assert_int_equal(files_count(files, &bytes), 3);
    assert_int_equal(bytes, 10);
    holds(find(files, "index.html"), ENCODING_IDENTITY, "<html>");
    holds(find(files, "empty.txt"), ENCODING_IDENTITY, "");
    const struct files_entry *font = find(files, "media/font-AB12CD34.woff2");
    holds(font, ENCODING_IDENTITY, "font");
    assert_string_equal(font->type, "font/woff2");
    assert_true(font->hashed);
    static const char *const absent[] = {"",          "media",       "media/",         ".hidden",
                                         "index.htm", "index.html2", "/index",         "index.html/",
                                         "zzz",       "a",           "../files_test.c"};
    for (size_t i = 0; i < sizeof(absent) / sizeof(absent[0]); i++)
        assert_null(find(files, absent[i]));
    assert_null(files_find(files, h2o_iovec_init(H2O_STRLIT("index.html\0"))));
    files_free(files);
}

static void test_compressed_ones_become_encodings(void **state)
{
    struct scratch *scratch = *state;
    size_t bytes;
    put(scratch, "a.js", "0123456789");
    put(scratch, "a.js.br", "01");
    put(scratch, "a.js.gz", "012");
    put(scratch, "b.js", "0123");
    put(scratch, "b.js.gz", "0123456");     /* saves nothing */
    put(scratch, "alone.gz", "an archive"); /* of nothing here */
    put(scratch, "c.txt", "0123456789");
    put(scratch, "c.txt.gz", "012345");
    put(scratch, "c.txt.gz.br", "0123");
    struct files *files = load(scratch);
    const struct files_entry *a = find(files, "a.js"), *b = find(files, "b.js");
    holds(a, ENCODING_IDENTITY, "0123456789");
    holds(a, ENCODING_BR, "01");
    holds(a, ENCODING_GZIP, "012");
    assert_string_not_equal(a->bodies[ENCODING_BR].etag, a->bodies[ENCODING_GZIP].etag);
    holds(b, ENCODING_IDENTITY, "0123");
    assert_null(b->bodies[ENCODING_GZIP].data);
    assert_null(find(files, "a.js.br"));
    assert_null(find(files, "b.js.gz"));
    holds(find(files, "alone.gz"), ENCODING_IDENTITY, "an archive");
    holds(find(files, "c.txt.gz"), ENCODING_BR, "0123");
    assert_int_equal(files_count(files, &bytes), 5);
    assert_int_equal(bytes, 10 + 2 + 3 + 4 + 10 + 10 + 6 + 4);
    files_free(files);
}

static void test_one_that_is_not_there_is_empty(void **state)
{
    char *error = NULL;
    size_t bytes;
    struct files *files = files_load(scratch_path(*state, "none"), &error);
    assert_non_null(files);
    assert_int_equal(files_count(files, &bytes), 0);
    assert_null(find(files, "index.html"));
    files_free(files);
}

static void test_one_that_cannot_be_served(void **state)
{
    struct scratch *scratch = *state;
    char *error = NULL;
    put(scratch, "a.bin", "");
    assert_int_equal(truncate(scratch_path(scratch, "a.bin"), FILES_MOST_BYTES), 0);
    files_free(load(scratch));
    put(scratch, "b.bin", "x");
    assert_null(files_load(scratch->path, &error));
    assert_non_null(strstr(error, "b.bin: the directory holds more than 32 MiB"));
    free(error);
    assert_null(files_load(scratch_path(scratch, "b.bin"), &error));
    assert_non_null(strstr(error, "b.bin: Not a directory"));
    free(error);
}

static void test_names_with_a_hash(void **state)
{
    static const char *const hashed[] = {"main-5QJ2ABCD.js", "media/roboto-latin-400-normal-AB12CD34.woff2",
                                         "styles-ABCDEFGH.css", "main.1a2b3c4d5e6f7a8b.js",
                                         "chunk-A2B3C4D5.js.map"};
    static const char *const others[] = {"main.js",           "icon-192x192.png",
                                         "icon-20260102.png", "apple-touch-icon-precomposed.png",
                                         "a-CHANGELOG.md",    "ABCDEFGH.js",
                                         "main-abcdefgh.js",  "main-ABCD1234",
                                         "a-ABCD1234/b.js",   "ngsw.json",
                                         "deadbeef.js",       "x-deadbeefcafe.js"};
    for (size_t i = 0; i < sizeof(hashed) / sizeof(hashed[0]); i++)
        if (!files_name_hashed(hashed[i]))
            fail_msg("%s", hashed[i]);
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        if (files_name_hashed(others[i]))
            fail_msg("%s", others[i]);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)
    const struct CMUnitTest tests[] = {CASE(test_a_directory), CASE(test_compressed_ones_become_encodings),
                                       CASE(test_one_that_is_not_there_is_empty),
                                       CASE(test_one_that_cannot_be_served), CASE(test_names_with_a_hash)};
    return sodium_init() < 0 || cmocka_run_group_tests(tests, NULL, NULL);
}
