/* The loop. The mailbox is the only thing shared between threads, under its lock. */
#include "sim_loop.h"
#include "sim_fetch.h"
#include "sim_link.h"
#include <MQTTAsync.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct post {
    struct post *next;
    struct sim_link *link;
    enum sim_news news;
    int token;
    size_t len;
    char payload[];
};

struct sim_loop {
    CURLM *curl;
    struct sim_timers timers;
    pthread_mutex_t lock;
    struct post *first, *last;
};

uint64_t sim_loop_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

struct sim_loop *sim_loop_new(void)
{
    MQTTAsync_init_options options = MQTTAsync_init_options_initializer;
    struct sim_loop *loop = calloc(1, sizeof *loop);
    options.do_openssl_init = 1;
    MQTTAsync_global_init(&options);
    if (loop && (curl_global_init(CURL_GLOBAL_DEFAULT) != 0 || !(loop->curl = curl_multi_init()))) {
        free(loop);
        return NULL;
    }
    if (loop) {
        pthread_mutex_init(&loop->lock, NULL);
    }
    return loop;
}

CURLM *sim_loop_curl(struct sim_loop *loop)
{
    return loop->curl;
}

struct sim_timers *sim_loop_timers(struct sim_loop *loop)
{
    return &loop->timers;
}

void sim_loop_post(struct sim_loop *loop, struct sim_link *link, enum sim_news news, int token,
                   const void *payload, size_t len)
{
    struct post *post = malloc(sizeof *post + len);
    if (!post) {
        abort();
    }
    *post = (struct post){.link = link, .news = news, .token = token, .len = len};
    if (len > 0) {
        memcpy(post->payload, payload, len);
    }
    pthread_mutex_lock(&loop->lock);
    if (loop->first) {
        loop->last->next = post;
    } else {
        loop->first = post;
    }
    loop->last = post;
    pthread_mutex_unlock(&loop->lock);
    curl_multi_wakeup(loop->curl);
}

void sim_loop_forget(struct sim_loop *loop, struct sim_link *link)
{
    pthread_mutex_lock(&loop->lock);
    for (struct post *post = loop->first; post; post = post->next) {
        if (post->link == link) {
            post->link = NULL;
        }
    }
    pthread_mutex_unlock(&loop->lock);
}

static struct post *take(struct sim_loop *loop)
{
    pthread_mutex_lock(&loop->lock);
    struct post *post = loop->first;
    if (post) {
        loop->first = post->next;
    }
    pthread_mutex_unlock(&loop->lock);
    return post;
}

void sim_loop_free(struct sim_loop *loop)
{
    for (struct post *post; (post = take(loop));) {
        free(post);
    }
    curl_multi_cleanup(loop->curl);
    pthread_mutex_destroy(&loop->lock);
    sim_timers_free(&loop->timers);
    free(loop);
}

void sim_loop_turn(struct sim_loop *loop, int max_ms)
{
    struct post *post;
    int running, left;
    CURLMsg *message;
    while ((post = take(loop))) {
        if (post->link) {
            sim_link_take(post->link, post->news, post->token, post->payload, post->len);
        }
        free(post);
    }
    curl_multi_perform(loop->curl, &running);
    while ((message = curl_multi_info_read(loop->curl, &left))) {
        if (message->msg == CURLMSG_DONE) {
            sim_fetch_done(message->easy_handle, message->data.result);
        }
    }
    sim_timers_run(&loop->timers, sim_loop_now());
    curl_multi_poll(loop->curl, NULL, 0,
                    (int)sim_timers_wait(&loop->timers, sim_loop_now(), (uint64_t)max_ms), NULL);
}
