/* What only the file backend promises: nothing half-written stays, whatever happens to the writer. */
#include "../scratch.h"
#include "base/log.h"
#include "images.h"
#include "io/store_file.h"
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define ABSENT "00000000000000000000000000000000000000000000000000000000000000ff"

static struct store_backend *backend_new(const char *directory)
{
    char *error = NULL;
    struct store_backend *backend = store_file_new(directory, &error);
    if (backend == NULL)
        fail_msg("%s", error);
    return backend;
}

/* What a killed writer left goes at the next start; what another process is writing stays. */
static void test_sweep(void **state)
{
    char directory[512];
    strcpy(directory, scratch_path(*state, "store"));
    struct store_backend *backend = backend_new(directory);
    backend->free(backend);
    scratch_write(*state, "store/.tmp-0123456789abcdef", "half", 4, 0640);
    int writer = open(scratch_write(*state, "store/.tmp-fedcba9876543210", "half", 4, 0640), O_RDONLY);
    assert_int_equal(flock(writer, LOCK_EX), 0);
    scratch_write(*state, "store/" ABSENT, "whole", 5, 0640);
    backend = backend_new(directory);
    assert_int_equal(count_files(directory, ".tmp-"), 1);
    assert_int_equal(count_files(directory, ".tmp-fed"), 1);
    assert_int_equal(count_files(directory, ABSENT), 1);
    backend->free(backend);
    close(writer);
}

static void save_until_killed(const char *directory)
{
    char *error, name[80];
    size_t size = 200000;
    uint8_t *data = malloc(size);
    struct store_backend *backend = store_file_new(directory, &error);
    for (unsigned i = 0; backend != NULL; i++) {
        unsigned seed = i ^ (unsigned)getpid() << 12;
        memset(data, (int)i, size);
        memcpy(data, &seed, sizeof(seed));
        image_name(data, size, name);
        if (backend->save(backend, name, data, size) != NULL)
            break;
    }
    _exit(1);
}

/* Killed at any moment, a file under its final name is whole. */
static void test_killed(void **state)
{
    char directory[512], name[80];
    unsigned images = 0;
    strcpy(directory, scratch_path(*state, "killed"));
    for (unsigned round = 0; round < 40; round++) {
        pid_t child = fork();
        if (child == 0)
            save_until_killed(directory);
        int status;
        usleep(2000 + randombytes_uniform(20000));
        kill(child, SIGKILL);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
    }
    struct store_backend *backend = backend_new(directory);
    assert_int_equal(count_files(directory, ".tmp-"), 0);
    DIR *entries = opendir(directory);
    struct dirent *entry;
    while ((entry = readdir(entries)) != NULL) {
        const uint8_t *data;
        size_t size;
        if (entry->d_name[0] == '.')
            continue;
        assert_null(backend->load(backend, entry->d_name, &data, &size));
        assert_int_equal(size, 200000);
        image_name(data, size, name);
        assert_string_equal(name, entry->d_name);
        backend->unload(backend, data, size);
        images++;
    }
    closedir(entries);
    backend->free(backend);
    assert_true(images > 0);
}

static int exit_code(pid_t child)
{
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* In a child with a limit on the size of files: refused as full, nothing left, and what fits is still taken.
 */
static void test_file_limit(void **state)
{
    char directory[512];
    strcpy(directory, scratch_path(*state, "limit"));
    pid_t child = fork();
    if (child == 0) {
        static uint8_t data[200000];
        char *error, name[80];
        struct store_backend *backend = store_file_new(directory, &error);
        struct rlimit limit = {100000, 100000};
        signal(SIGXFSZ, SIG_IGN);
        if (backend == NULL || setrlimit(RLIMIT_FSIZE, &limit) != 0)
            _exit(2);
        image_name(data, sizeof(data), name);
        if (backend->save(backend, name, data, sizeof(data)) != store_error_full)
            _exit(3);
        image_name(data, 1000, name);
        _exit(backend->save(backend, name, data, 1000) == NULL ? 0 : 4);
    }
    assert_int_equal(exit_code(child), 0);
    assert_int_equal(count_files(directory, ""), 1);
    assert_int_equal(count_files(directory, ".tmp-"), 0);
}

/* The same with a really full file system, where this user may mount one of its own. */
static void test_disk_full(void **state)
{
    enum { NOT_ALLOWED = 77 };
    char directory[512];
    strcpy(directory, scratch_path(*state, "disk"));
    assert_int_equal(mkdir(directory, 0755), 0);
    pid_t child = fork();
    if (child == 0) {
        static uint8_t data[400000];
        char *error, name[80];
        if (unshare(CLONE_NEWNS | (geteuid() == 0 ? 0 : CLONE_NEWUSER)) != 0 ||
            mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
            mount("tmpfs", directory, "tmpfs", 0, "size=128k") != 0)
            _exit(NOT_ALLOWED);
        struct store_backend *backend = store_file_new(directory, &error);
        if (backend == NULL)
            _exit(2);
        image_name(data, sizeof(data), name);
        if (backend->save(backend, name, data, sizeof(data)) != store_error_full ||
            count_files(directory, "") != 0)
            _exit(3);
        image_name(data, 100000, name);
        if (backend->save(backend, name, data, 100000) != NULL ||
            backend->save(backend, name, data, 100000) != NULL) /* nothing to write: needs no room */
            _exit(4);
        image_name(data, 99999, name);
        if (backend->save(backend, name, data, 99999) != store_error_full || count_files(directory, "") != 1)
            _exit(5);
        _exit(0);
    }
    int code = exit_code(child);
    if (code == NOT_ALLOWED)
        skip();
    assert_int_equal(code, 0);
}

static void make_old(const char *directory, const char *name)
{
    char path[600];
    struct timespec then[2] = {{time(NULL) - 7200, 0}, {time(NULL) - 7200, 0}};
    snprintf(path, sizeof(path), "%s/%s", directory, name);
    assert_int_equal(utimensat(AT_FDCWD, path, then, 0), 0);
}

static void test_ages(void **state)
{
    static const uint8_t data[] = "an image", other[] = "another";
    char directory[512], name[80], young[80], *names;
    strcpy(directory, scratch_path(*state, "ages"));
    struct store_backend *backend = backend_new(directory);
    image_name(data, sizeof(data), name);
    image_name(other, sizeof(other), young);
    assert_null(backend->save(backend, name, data, sizeof(data)));
    assert_null(backend->save(backend, young, other, sizeof(other)));
    scratch_write(*state, "ages/other.file", "", 0, 0640);
    make_old(directory, name);
    make_old(directory, "other.file");
    assert_null(backend->list(backend, 3600, &names));
    assert_string_equal(names, name);
    free(names);
    assert_null(backend->list(backend, 0, &names));
    assert_int_equal(strlen(names), 128);
    free(names);

    assert_null(backend->remove(backend, young, 3600));
    assert_int_equal(count_files(directory, young), 1);
    assert_null(backend->save(backend, name, data, sizeof(data))); /* once more: young again */
    assert_null(backend->remove(backend, name, 3600));
    assert_int_equal(count_files(directory, name), 1);
    make_old(directory, name);
    assert_null(backend->remove(backend, name, 3600));
    assert_int_equal(count_files(directory, name), 0);
    assert_null(backend->remove(backend, name, 3600));
    assert_null(backend->remove(backend, young, 0));
    assert_int_equal(count_files(directory, young), 0);
    backend->free(backend);
}

static const uint8_t contended[] = "an image that was orphaned";

static void *remove_old(void *arg)
{
    struct store_backend *backend = arg;
    char name[80];
    image_name(contended, sizeof(contended), name);
    return backend->remove(backend, name, 3600) == NULL ? arg : NULL;
}

/* What was saved is there, whoever removes it at the same time because it was old before. */
static void test_removed_and_saved_at_once(void **state)
{
    char directory[512], name[80];
    strcpy(directory, scratch_path(*state, "contended"));
    struct store_backend *backend = backend_new(directory);
    image_name(contended, sizeof(contended), name);
    assert_null(backend->save(backend, name, contended, sizeof(contended)));
    for (int round = 0; round < 2000; round++) {
        pthread_t remover;
        void *done;
        make_old(directory, name);
        assert_int_equal(pthread_create(&remover, NULL, remove_old, backend), 0);
        for (int i = 0; i < round % 50; i++)
            sched_yield();
        assert_null(backend->save(backend, name, contended, sizeof(contended)));
        pthread_join(remover, &done);
        assert_non_null(done);
        assert_int_equal(count_files(directory, name), 1);
    }
    backend->free(backend);
}

static void test_directory(void **state)
{
    char *error = NULL;
    assert_null(store_file_new(scratch_path(*state, "no/such/parent"), &error));
    assert_non_null(strstr(error, "No such file"));
    free(error);
    assert_null(store_file_new(scratch_write(*state, "file", "", 0, 0644), &error));
    assert_non_null(strstr(error, "Not a directory"));
    free(error);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_sweep),     TEST(test_killed), TEST(test_file_limit),
        TEST(test_disk_full), TEST(test_ages),   TEST(test_removed_and_saved_at_once),
        TEST(test_directory),
    };
    log_set_level(LOG_FATAL); /* the errors here are meant */
    return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
