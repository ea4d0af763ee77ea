#include "../scratch.h"
#include "base/file.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static void refused(const char *path, enum file_kind kind, const char *why)
{
    char buffer[16], *error = NULL;
    assert_int_equal(file_load(path, kind, buffer, sizeof(buffer), &error), -1);
    assert_non_null(error);
    assert_non_null(strstr(error, path));
    assert_non_null(strstr(error, why));
    free(error);
}

static void test_load(void **state)
{
    char buffer[16], *error = NULL;
    assert_int_equal(file_load(scratch_write(*state, "a", "abc\n", 4, 0600), FILE_SECRET, buffer, 16, &error),
                     4);
    assert_memory_equal(buffer, "abc\n", 4);
    const char *full = scratch_write(*state, "b", "0123456789abcdef", 16, 0644);
    assert_int_equal(file_load(full, FILE_PUBLIC, buffer, 16, &error), 16);
    assert_int_equal(file_load(scratch_write(*state, "c", "", 0, 0400), FILE_SECRET, buffer, 16, &error), 0);
    assert_null(error);
}

static void test_refused(void **state)
{
    refused(scratch_path(*state, "missing"), FILE_PUBLIC, "No such file");
    refused(scratch_write(*state, "large", "0123456789abcdefg", 17, 0600), FILE_SECRET, "16 bytes");
    refused(((struct scratch *)*state)->path, FILE_PUBLIC, "not a regular file");
    const char *fifo = scratch_path(*state, "fifo");
    assert_int_equal(mkfifo(fifo, 0600), 0);
    refused(fifo, FILE_SECRET, "not a regular file");
}

static void test_secret_open_to_others(void **state)
{
    static const mode_t modes[] = {0640, 0604, 0620, 0602, 0610, 0601, 0644, 0666, 0777};
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
        refused(scratch_write(*state, "key", "secret", 6, modes[i]), FILE_SECRET, "chmod 600");
}

static void test_list(void **state)
{
    char list[] = " a.key ,, b.key,\n,c d.key", none[] = " , ", *rest = list, *empty = none;
    assert_string_equal(file_list_next(&rest), "a.key");
    assert_string_equal(file_list_next(&rest), "b.key");
    assert_string_equal(file_list_next(&rest), "c d.key");
    assert_null(file_list_next(&rest));
    assert_null(file_list_next(&rest));
    assert_null(file_list_next(&empty));
}

static void test_sync_parent(void **state)
{
    assert_true(file_sync_parent(scratch_path(*state, "not there yet")));
    assert_true(file_sync_parent("relative"));
    assert_true(file_sync_parent("/x"));
    assert_false(file_sync_parent("/no/such/directory"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_load, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_refused, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_secret_open_to_others, scratch_setup, scratch_teardown),
        cmocka_unit_test(test_list),
        cmocka_unit_test_setup_teardown(test_sync_parent, scratch_setup, scratch_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
