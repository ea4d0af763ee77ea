#include "base/offload.h"
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

struct job {
    struct offload_job job; /* first: the pool's callbacks cast */
    sem_t *gate;            /* waited for before running; NULL: none */
    atomic_uint *runs, *dones;
    pthread_t thread;
    bool same_thread;
};

static void run(struct offload_job *base)
{
    struct job *job = (struct job *)base;
    if (job->gate != NULL)
        sem_wait(job->gate);
    job->thread = pthread_self();
    atomic_fetch_add(job->runs, 1);
}

static void done(struct offload_job *base)
{
    struct job *job = (struct job *)base;
    job->same_thread = pthread_equal(job->thread, pthread_self());
    atomic_fetch_add(job->dones, 1);
}

static void test_full_is_refused(void **state)
{
    sem_t gate;
    atomic_uint runs = 0, dones = 0;
    struct job jobs[8];
    unsigned taken = 0;
    sem_init(&gate, 0, 0);
    struct offload *pool = offload_new(2, 3);
    for (int i = 0; i < 8; i++) {
        jobs[i] = (struct job){.job = {run, done, NULL}, .gate = &gate, .runs = &runs, .dones = &dones};
        taken += offload_submit(pool, &jobs[i].job);
        if (i == 0) { /* until a thread has taken it, it counts as waiting */
            while (offload_depth(pool) != 0)
                sched_yield();
        }
    }
    assert_true(taken >= 4 && taken <= 5); /* one or two running, three waiting */
    assert_true(offload_depth(pool) <= 3);
    assert_int_equal(runs, 0);
    for (unsigned i = 0; i < taken; i++)
        sem_post(&gate);
    offload_free(pool); /* finishes what was taken */
    assert_int_equal(runs, taken);
    assert_int_equal(dones, taken);
    sem_destroy(&gate);
}

struct crowd {
    struct offload *pool;
    atomic_uint *runs, *dones, *taken;
    struct job *jobs;
};

enum { EACH = 2000, SENDERS = 3 };

static void *submit_many(void *arg)
{
    struct crowd *crowd = arg;
    for (int i = 0; i < EACH; i++) {
        crowd->jobs[i] = (struct job){.job = {run, done, NULL}, .runs = crowd->runs, .dones = crowd->dones};
        atomic_fetch_add(crowd->taken, offload_submit(crowd->pool, &crowd->jobs[i].job));
    }
    return NULL;
}

static void test_each_job_once_from_many_threads(void **state)
{
    atomic_uint runs = 0, dones = 0, taken = 0;
    pthread_t threads[SENDERS];
    struct crowd crowds[SENDERS];
    struct offload *pool = offload_new(3, 50);
    for (int i = 0; i < SENDERS; i++) {
        crowds[i] = (struct crowd){pool, &runs, &dones, &taken, calloc(EACH, sizeof(struct job))};
        pthread_create(&threads[i], NULL, submit_many, &crowds[i]);
    }
    for (int i = 0; i < SENDERS; i++)
        pthread_join(threads[i], NULL);
    offload_free(pool);
    assert_true(taken > 0);
    assert_int_equal(runs, taken);
    assert_int_equal(dones, taken);
    for (int i = 0; i < SENDERS; i++) {
        for (int j = 0; j < EACH; j++) {
            if (crowds[i].jobs[j].thread != 0)
                assert_true(crowds[i].jobs[j].same_thread);
        }
        free(crowds[i].jobs);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_full_is_refused),
        cmocka_unit_test(test_each_job_once_from_many_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
