#include "lab.h"
#include "lua/bundle.h"
#include <unistd.h>

static struct bundle *read_bundle(struct lab *lab, const char *directory)
{
    char *error = NULL;
    struct bundle *bundle = bundle_read(directory == NULL ? lab->directory : directory, &error);
    if (bundle == NULL)
        fail_msg("%s", error);
    return bundle;
}

static void test_files_and_names(void **state)
{
    struct lab *lab = *state;
    char slashed[128];
    lab_write(lab, "routes/b.lua", "return {}");
    lab_write(lab, "routes/a_test.lua", "return {}");
    lab_write(lab, "lib/deep/er/x.lua", "");
    lab_write(lab, "top.lua", "-- top");
    lab_write(lab, "routes/.b.lua.swp.lua", "an editor's");
    lab_write(lab, "routes/b.lua~", "an editor's");
    lab_write(lab, "README.md", "text");
    lab_write(lab, "routes/.lua", "no name");
    snprintf(slashed, sizeof(slashed), "%s//", lab->directory);
    struct bundle *bundle = read_bundle(lab, slashed);
    static const char *const names[] = {"lib/deep/er/x", "routes/a_test", "routes/b", "top"};
    assert_int_equal(bundle->count, 4);
    for (size_t i = 0; i < 4; i++)
        assert_string_equal(bundle->files[i].name, names[i]);
    const struct bundle_file *file = bundle_find(bundle, "routes/b");
    assert_string_equal(file->path, "scripts/routes/b.lua");
    assert_string_equal(file->text, "return {}");
    assert_int_equal(file->len, 9);
    assert_null(bundle_find(bundle, "routes/c"));
    assert_null(bundle_find(bundle, ""));
    assert_true(bundle_is_test(bundle_find(bundle, "routes/a_test")));
    assert_false(bundle_is_test(file));
    bundle_release(bundle);
}

static void test_revision(void **state)
{
    struct lab *lab = *state;
    char before[65];
    lab_write(lab, "a.lua", "return 1");
    struct bundle *bundle = read_bundle(lab, NULL);
    strcpy(before, bundle->revision);
    assert_int_equal(strlen(before), 64);
    bundle_release(bundle);
    bundle = read_bundle(lab, NULL);
    assert_string_equal(bundle->revision, before);
    bundle_release(bundle_hold(bundle));
    bundle_release(bundle);
    lab_write(lab, "a.lua", "return 2");
    bundle = read_bundle(lab, NULL);
    assert_string_not_equal(bundle->revision, before);
    bundle_release(bundle);
    lab_write(lab, "a.lua", "return 1");
    lab_write(lab, "b.lua", "");
    bundle = read_bundle(lab, NULL);
    assert_string_not_equal(bundle->revision, before);
    bundle_release(bundle);
}

static void refuse(const char *directory, const char *says)
{
    char *error = NULL;
    if (bundle_read(directory, &error) != NULL)
        fail_msg("taken");
    if (strstr(error, says) == NULL)
        fail_msg("%s", error);
    free(error);
}

static void test_refusals(void **state)
{
    struct lab *lab = *state;
    char *large = malloc(256 * 1024 + 2);
    memset(large, ' ', 256 * 1024 + 1);
    large[256 * 1024 + 1] = '\0';
    refuse("/nonexistent", "/nonexistent");
    lab_write(lab, "a.lua", large);
    refuse(lab->directory, "a.lua: larger than 256 KiB");
    large[256 * 1024] = '\0';
    lab_write(lab, "a.lua", large);
    bundle_release(read_bundle(lab, NULL));
    for (int i = 0; i < 1001; i++) {
        char name[32];
        snprintf(name, sizeof(name), "many/%d.lua", i);
        lab_write(lab, name, "");
    }
    refuse(lab->directory, "more than 1000 files");
    free(large);
}

/* A failing read(2) looked like the end of the file: half a script was taken. */
static void test_unreadable(void **state)
{
    struct lab *lab = *state;
    char path[160];
    snprintf(path, sizeof(path), "%s/self.lua", lab->directory);
    assert_int_equal(symlink("/proc/self/mem", path), 0); /* opens, and does not read */
    refuse(lab->directory, "self.lua");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LAB_CASE(test_files_and_names),
        LAB_CASE(test_revision),
        LAB_CASE(test_refusals),
        LAB_CASE(test_unreadable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
