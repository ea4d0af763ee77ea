#include "base/offload.h"
#include "base/mem.h"
#include <pthread.h>
#include <stdlib.h>

struct offload {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct offload_job *first, **last;
    size_t depth, limit; /* jobs waiting, not those being run */
    bool stopping;
    size_t threads;
    pthread_t thread[];
};

static void *run_jobs(void *arg)
{
    struct offload *pool = arg;
    pthread_mutex_lock(&pool->lock);
    for (;;) {
        while (pool->first == NULL && !pool->stopping)
            pthread_cond_wait(&pool->wake, &pool->lock);
        struct offload_job *job = pool->first;
        if (job == NULL)
            break;
        pool->first = job->next;
        if (pool->first == NULL)
            pool->last = &pool->first;
        pool->depth--;
        pthread_mutex_unlock(&pool->lock);
        job->run(job);
        job->done(job);
        pthread_mutex_lock(&pool->lock);
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

struct offload *offload_new(size_t threads, size_t queue)
{
    struct offload *pool = x_alloc(sizeof(*pool) + threads * sizeof(pool->thread[0]));
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->wake, NULL);
    pool->last = &pool->first;
    pool->limit = queue;
    for (; pool->threads < threads; pool->threads++) {
        if (pthread_create(&pool->thread[pool->threads], NULL, run_jobs, pool) != 0)
            abort();
    }
    return pool;
}

bool offload_submit(struct offload *pool, struct offload_job *job)
{
    pthread_mutex_lock(&pool->lock);
    bool taken = pool->depth < pool->limit && !pool->stopping;
    if (taken) {
        job->next = NULL;
        *pool->last = job;
        pool->last = &job->next;
        pool->depth++;
        pthread_cond_signal(&pool->wake);
    }
    pthread_mutex_unlock(&pool->lock);
    return taken;
}

size_t offload_depth(struct offload *pool)
{
    pthread_mutex_lock(&pool->lock);
    size_t depth = pool->depth;
    pthread_mutex_unlock(&pool->lock);
    return depth;
}

void offload_stop(struct offload *pool)
{
    pthread_mutex_lock(&pool->lock);
    pool->stopping = true;
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
    for (; pool->threads > 0; pool->threads--)
        pthread_join(pool->thread[pool->threads - 1], NULL);
}

void offload_free(struct offload *pool)
{
    offload_stop(pool);
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}
