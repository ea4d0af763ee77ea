/* The store with real files, real pool threads and real workers. Each call runs on its worker's thread; its
 * callback is held to the contract: once, on that thread, never inside the call. */
#include "../scratch.h"
#include "base/log.h"
#include "images.h"
#include "io/store_file.h"
#include <sched.h>
#include <semaphore.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <unistd.h>

#include <cmocka.h>

#define ABSENT "00000000000000000000000000000000000000000000000000000000000000ff"

/* -- a running store --------------------------------------------------------------------------------- */

enum { WORKERS = 2 };

struct fixture {
    struct scratch *scratch;
    struct offload *pool;
    struct store *store;
    struct worker *workers[WORKERS];
};

static void on_nothing(struct worker *worker)
{
}

static bool on_stopped(struct worker *worker)
{
    return true;
}

static const struct worker_hooks hooks = {on_nothing, on_nothing, on_nothing, on_stopped, on_nothing};

static void fixture_start(struct fixture *fixture, const char *directory, size_t threads, size_t queue,
                          size_t cache)
{
    char *error = NULL;
    struct store_backend *backend = store_file_new(directory, &error);
    if (backend == NULL)
        fail_msg("%s", error);
    fixture->pool = offload_new(threads, queue);
    fixture->store = store_new(backend, fixture->pool, cache);
    for (unsigned i = 0; i < WORKERS; i++) {
        fixture->workers[i] = worker_new(i, NULL, &hooks);
        worker_start(fixture->workers[i]);
    }
}

static void fixture_stop(struct fixture *fixture)
{
    offload_free(fixture->pool);
    for (unsigned i = 0; i < WORKERS; i++) {
        worker_stop(fixture->workers[i]);
        worker_join(fixture->workers[i]);
    }
    store_free(fixture->store);
}

struct call {
    struct letter letter; /* first: on_call casts */
    struct store *store;
    struct worker *worker;
    enum { PUT, OPEN, DELETE } kind;
    const void *data;
    size_t size;
    char name[80];
    /* results */
    const char *err;
    struct blob *blob;
    bool returned, inside, elsewhere;
    unsigned answers;
    pthread_t thread;
    sem_t answered;
};

static void answer(struct call *call, const char *err)
{
    call->err = err;
    call->inside |= !call->returned;
    call->elsewhere |= !pthread_equal(call->thread, pthread_self());
    call->answers++;
    sem_post(&call->answered);
}

static void on_put(void *arg, const char *err, const char *sha256)
{
    struct call *call = arg;
    if (sha256 != NULL)
        snprintf(call->name, sizeof(call->name), "%s", sha256);
    answer(call, err);
}

static void on_open(void *arg, const char *err, struct blob *blob)
{
    struct call *call = arg;
    call->blob = blob;
    answer(call, err);
}

static void on_delete(void *arg, const char *err)
{
    answer(arg, err);
}

static void on_call(struct letter *letter, struct worker *worker)
{
    struct call *call = (struct call *)letter;
    call->thread = pthread_self();
    if (call->kind == PUT)
        store_put(call->store, worker, call->data, call->size, on_put, call);
    else if (call->kind == OPEN)
        store_open(call->store, worker, call->name, on_open, call);
    else
        store_delete(call->store, worker, call->name, 0, on_delete, call);
    call->returned = true;
}

static void call_start(struct fixture *fixture, struct call *call, unsigned worker)
{
    sem_init(&call->answered, 0, 0);
    call->letter.deliver = on_call;
    call->store = fixture->store;
    call->worker = fixture->workers[worker];
    worker_post(call->worker, &call->letter);
}

static void call_wait(struct call *call)
{
    sem_wait(&call->answered);
    assert_false(call->inside);
    assert_false(call->elsewhere);
    assert_int_equal(call->answers, 1);
    assert_true(call->kind != OPEN || (call->err == NULL) == (call->blob != NULL));
    sem_destroy(&call->answered);
}

static const char *put(struct fixture *fixture, const void *data, size_t size, char name[80])
{
    struct call call = {.kind = PUT, .data = data, .size = size};
    call_start(fixture, &call, 0);
    call_wait(&call);
    memcpy(name, call.name, sizeof(call.name));
    return call.err;
}

static const char *open_blob(struct fixture *fixture, const char *name, struct blob **blob)
{
    struct call call = {.kind = OPEN};
    snprintf(call.name, sizeof(call.name), "%s", name);
    call_start(fixture, &call, 1);
    call_wait(&call);
    *blob = call.blob;
    return call.err;
}

static const char *delete (struct fixture *fixture, const char *name)
{
    struct call call = {.kind = DELETE};
    snprintf(call.name, sizeof(call.name), "%s", name);
    call_start(fixture, &call, 0);
    call_wait(&call);
    return call.err;
}

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    void *scratch;
    *state = fixture;
    if (scratch_setup(&scratch) != 0)
        return 1;
    fixture->scratch = scratch;
    fixture_start(fixture, scratch_path(scratch, "store"), 2, 64, 1000);
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    void *scratch = fixture->scratch;
    fixture_stop(fixture);
    free(fixture);
    return scratch_teardown(&scratch);
}

/* -- tests ------------------------------------------------------------------------------------------- */

static void test_put_open_delete(void **state)
{
    struct fixture *fixture = *state;
    char name[80], expected[80], path[128];
    struct blob *blob, *again;
    struct stat st;
    size_t size = 3 << 20;
    uint8_t *data = malloc(size);
    randombytes_buf(data, size);
    image_name(data, size, expected);
    assert_null(put(fixture, data, size, name));
    assert_string_equal(name, expected);
    snprintf(path, sizeof(path), "store/%s", name);
    assert_int_equal(stat(scratch_path(fixture->scratch, path), &st), 0);
    assert_int_equal(st.st_size, size);
    assert_int_equal(count_files(scratch_path(fixture->scratch, "store"), ""), 1);

    assert_null(put(fixture, data, size, name)); /* again: fine, and the same file */
    struct stat st2;
    assert_int_equal(stat(scratch_path(fixture->scratch, path), &st2), 0);
    assert_int_equal(st.st_ino, st2.st_ino);

    assert_null(open_blob(fixture, name, &blob));
    assert_int_equal(blob->size, size);
    assert_string_equal(blob->sha256, name);
    assert_memory_equal(blob->data, data, size);
    assert_null(open_blob(fixture, name, &again));
    assert_ptr_equal(again, blob); /* shared */
    blob_release(again);

    assert_null(delete (fixture, name));
    assert_int_not_equal(stat(scratch_path(fixture->scratch, path), &st), 0);
    assert_memory_equal(blob->data, data, size); /* its holder keeps it */
    assert_ptr_equal(open_blob(fixture, name, &again), store_error_not_found);
    assert_null(put(fixture, data, size, name)); /* and it can come back */
    assert_null(open_blob(fixture, name, &again));
    assert_ptr_not_equal(again, blob);
    blob_release(again);
    blob_release(blob);
    blob_release(NULL);
    assert_null(delete (fixture, name));
    assert_null(delete (fixture, name)); /* gone is gone */
    free(data);
}

static void test_empty(void **state)
{
    char name[80];
    struct blob *blob;
    assert_null(put(*state, NULL, 0, name));
    assert_string_equal(name, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_null(open_blob(*state, name, &blob));
    assert_int_equal(blob->size, 0);
    blob_release(blob);
}

static void test_names(void **state)
{
    static const char *const bad[] = {
        "",
        ".",
        "../store/x",
        "00000000000000000000000000000000000000000000000000000000000000f",
        "00000000000000000000000000000000000000000000000000000000000000ff0",
        "00000000000000000000000000000000000000000000000000000000000000FF",
        "0000000000000000000000000000000000000000000000000000000000000/ff",
        "../../../../../../../../../../../../../../../../../../etc/passwd",
        "00000000000000000000000000000000000000000000000000000000000000f\n",
    };
    struct blob *blob;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(store_name_valid(bad[i]));
        assert_ptr_equal(open_blob(*state, bad[i], &blob), store_error_name);
        assert_ptr_equal(delete (*state, bad[i]), store_error_name);
    }
    assert_true(store_name_valid(ABSENT));
    assert_ptr_equal(open_blob(*state, ABSENT, &blob), store_error_not_found);
}

/* A changed byte, a cut file, something that is no file: never handed out; and putting the image mends it. */
static void test_damaged(void **state)
{
    struct fixture *fixture = *state;
    char name[80], path[512], link[512];
    struct blob *blob;
    assert_null(put(fixture, "an image", 8, name));
    snprintf(path, sizeof(path), "store/%s", name);
    scratch_write(fixture->scratch, path, "an imagE", 8, 0640);
    assert_ptr_equal(open_blob(fixture, name, &blob), store_error_damaged);
    assert_null(put(fixture, "an image", 8, name));
    assert_null(open_blob(fixture, name, &blob));
    blob_release(blob);
    assert_null(delete (fixture, name));
    scratch_write(fixture->scratch, path, "an im", 5, 0640);
    assert_ptr_equal(open_blob(fixture, name, &blob), store_error_damaged);

    strcpy(link, scratch_write(fixture->scratch, "elsewhere", "an image", 8, 0640));
    unlink(scratch_path(fixture->scratch, path));
    assert_int_equal(symlink(link, scratch_path(fixture->scratch, path)), 0);
    assert_ptr_equal(open_blob(fixture, name, &blob), store_error_io);
    unlink(scratch_path(fixture->scratch, path));
    assert_int_equal(mkdir(scratch_path(fixture->scratch, path), 0755), 0);
    assert_ptr_equal(open_blob(fixture, name, &blob), store_error_damaged);
}

/* Of an image in the cache, or in use, a changed byte was sent under the old hash. */
static void test_damaged_while_loaded(void **state)
{
    struct fixture *fixture = *state;
    char name[80], path[512];
    struct blob *blob, *held;
    assert_null(put(fixture, "an image", 8, name));
    assert_null(open_blob(fixture, name, &held));
    snprintf(path, sizeof(path), "store/%s", name);
    scratch_write(fixture->scratch, path, "an imagE", 8, 0640);
    assert_ptr_equal(open_blob(fixture, name, &blob), store_error_damaged);
    blob_release(held);
    assert_null(put(fixture, "an image", 8, name));
    assert_null(open_blob(fixture, name, &blob));
    blob_release(blob); /* idle */
    scratch_write(fixture->scratch, path, "an imagE", 8, 0640);
    assert_ptr_equal(open_blob(fixture, name, &blob), store_error_damaged);
    assert_null(put(fixture, "an image", 8, name));
    assert_null(open_blob(fixture, name, &held));
    assert_null(put(fixture, "an image", 8, name)); /* touches the file, and changes nothing */
    assert_null(open_blob(fixture, name, &blob));
    assert_memory_equal(blob->data, "an image", 8);
    blob_release(blob);
    blob_release(held);
}

/* 1,000 bytes of cache, images of 400: two stay, the one used least is dropped. */
static void test_cache(void **state)
{
    struct fixture *fixture = *state;
    char names[4][80], path[512];
    struct blob *blobs[4], *blob;
    for (int i = 0; i < 4; i++) {
        uint8_t data[400];
        memset(data, i, sizeof(data));
        assert_null(put(fixture, data, sizeof(data), names[i]));
        assert_null(open_blob(fixture, names[i], &blobs[i]));
    }
    for (int i = 0; i < 4; i++) { /* those held are shared, however many they are */
        assert_null(open_blob(fixture, names[i], &blob));
        assert_ptr_equal(blob, blobs[i]);
        blob_release(blob);
        snprintf(path, sizeof(path), "store/%s", names[i]);
        assert_int_equal(unlink(scratch_path(fixture->scratch, path)), 0); /* so that only the cache has it */
    }
    for (int i = 0; i < 4; i++)
        blob_release(blobs[i]);
    assert_ptr_equal(open_blob(fixture, names[0], &blob), store_error_not_found);
    assert_ptr_equal(open_blob(fixture, names[1], &blob), store_error_not_found);
    assert_null(open_blob(fixture, names[2], &blob));
    assert_null(delete (fixture, names[2])); /* while held, and out of the cache */
    assert_int_equal(blob->data[399], 2);
    blob_release(blob);
    assert_ptr_equal(open_blob(fixture, names[2], &blob), store_error_not_found);
    assert_null(open_blob(fixture, names[3], &blob));
    blob_release(blob);
    assert_null(delete (fixture, names[3])); /* idle */
    assert_ptr_equal(open_blob(fixture, names[3], &blob), store_error_not_found);
}

struct block {
    struct offload_job job; /* first: the functions cast */
    sem_t entered, leave;
};

static void run_block(struct offload_job *job)
{
    struct block *block = (struct block *)job;
    sem_post(&block->entered);
    sem_wait(&block->leave);
}

static void on_block_done(struct offload_job *job)
{
}

/* One pool thread, kept busy, and room for one job: everybody who wants that one image waits for one load. */
static void test_one_load_for_all(void **state)
{
    enum { CALLS = 200 };
    struct fixture fixture;
    struct scratch *scratch = ((struct fixture *)*state)->scratch;
    struct block block = {.job = {.run = run_block, .done = on_block_done}};
    struct call *calls = calloc(CALLS, sizeof(*calls)), refused = {.kind = PUT, .data = "x", .size = 1};
    char name[80];
    fixture_start(&fixture, scratch_path(scratch, "store"), 1, 1, 0);
    assert_null(put(&fixture, "an image", 8, name));
    sem_init(&block.entered, 0, 0);
    sem_init(&block.leave, 0, 0);
    assert_true(offload_submit(fixture.pool, &block.job));
    sem_wait(&block.entered);
    for (unsigned i = 0; i < CALLS; i++) {
        calls[i].kind = OPEN;
        strcpy(calls[i].name, name);
        call_start(&fixture, &calls[i], i % WORKERS);
    }
    while (offload_depth(fixture.pool) == 0)
        sched_yield();
    call_start(&fixture, &refused, 0); /* behind its worker's share of the opens */
    call_wait(&refused);
    assert_ptr_equal(refused.err, store_error_busy);
    struct blob *none;
    assert_ptr_equal(open_blob(&fixture, ABSENT, &none), store_error_busy);
    sem_post(&block.leave);
    for (unsigned i = 0; i < CALLS; i++) {
        call_wait(&calls[i]);
        assert_null(calls[i].err);
        assert_ptr_equal(calls[i].blob, calls[0].blob);
    }
    for (unsigned i = 0; i < CALLS; i++)
        blob_release(calls[i].blob);
    assert_ptr_equal(open_blob(&fixture, ABSENT, &none), store_error_not_found); /* not remembered as busy */
    free(calls);
    fixture_stop(&fixture);
}

static void *churn(void *arg)
{
    struct blob *blob = arg;
    for (int i = 0; i < 2000; i++)
        blob_release(blob_keep(blob));
    blob_release(blob);
    return NULL;
}

/* Opens, puts and deletes of few images on two workers at once, holders on four threads. */
static void test_races(void **state)
{
    enum { CALLS = 40, ROUNDS = 20 };
    struct fixture *fixture = *state;
    static const char *const images[] = {"one", "two", "three"};
    struct call *calls = calloc(CALLS, sizeof(*calls));
    for (unsigned round = 0; round < ROUNDS; round++) {
        pthread_t threads[CALLS];
        memset(calls, 0, CALLS * sizeof(*calls));
        for (unsigned i = 0; i < CALLS; i++) {
            const char *image = images[randombytes_uniform(3)];
            calls[i].kind = i % 4 == 0 ? PUT : i % 8 == 1 ? DELETE : OPEN;
            calls[i].data = image;
            calls[i].size = strlen(image);
            if (calls[i].kind != PUT)
                image_name(image, strlen(image), calls[i].name);
            call_start(fixture, &calls[i], i % 3 % WORKERS);
        }
        for (unsigned i = 0; i < CALLS; i++) {
            call_wait(&calls[i]);
            if (calls[i].kind == OPEN && calls[i].err == NULL) {
                assert_int_equal(calls[i].blob->size, calls[i].size);
                assert_memory_equal(calls[i].blob->data, calls[i].data, calls[i].size);
                pthread_create(&threads[i], NULL, churn, calls[i].blob);
            } else if (calls[i].kind == OPEN) {
                assert_ptr_equal(calls[i].err, store_error_not_found);
            } else {
                assert_null(calls[i].err);
            }
        }
        for (unsigned i = 0; i < CALLS; i++)
            if (calls[i].kind == OPEN && calls[i].err == NULL)
                pthread_join(threads[i], NULL);
    }
    free(calls);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_put_open_delete),
        TEST(test_empty),
        TEST(test_names),
        TEST(test_damaged),
        TEST(test_damaged_while_loaded),
        TEST(test_cache),
        TEST(test_one_load_for_all),
        TEST(test_races),
    };
    log_set_level(LOG_FATAL); /* the errors here are meant */
    return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
