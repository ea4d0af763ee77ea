/* The yardstick of publishing offers: a Paho publisher without anything behind it.
 *
 *   bench-retain URL USER PASSWORD FIRST_DEVICE DEVICES SIZE WINDOW
 *
 * Publishes SIZE bytes, retained and with QoS 1, to device/N/ota of each device, as otad does, at most WINDOW
 * of them unacknowledged; prints one line of JSON once all are acknowledged. main() sends and waits; Paho's
 * callbacks come on threads of its own, and meet it at `lock`. */
#include <MQTTAsync.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct publisher {
    pthread_mutex_t lock;
    pthread_cond_t moved;
    bool connected;
    unsigned long open, window;
};

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "bench-retain: %s failed\n", what);
    _exit(1);
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void on_lost(void *arg, char *cause)
{
    die("connection");
}

static void on_failed(void *arg, MQTTAsync_failureData *data)
{
    die("connect or publish");
}

static void on_connected(void *arg, MQTTAsync_successData *data)
{
    struct publisher *publisher = arg;
    pthread_mutex_lock(&publisher->lock);
    publisher->connected = true;
    pthread_cond_signal(&publisher->moved);
    pthread_mutex_unlock(&publisher->lock);
}

static void on_published(void *arg, MQTTAsync_successData *data)
{
    struct publisher *publisher = arg;
    pthread_mutex_lock(&publisher->lock);
    publisher->open--;
    pthread_cond_signal(&publisher->moved);
    pthread_mutex_unlock(&publisher->lock);
}

static void wait_below(struct publisher *publisher, unsigned long most)
{
    pthread_mutex_lock(&publisher->lock);
    while (publisher->open > most)
        pthread_cond_wait(&publisher->moved, &publisher->lock);
    publisher->open++;
    pthread_mutex_unlock(&publisher->lock);
}

int main(int argc, char **argv)
{
    struct publisher publisher = {.lock = PTHREAD_MUTEX_INITIALIZER, .moved = PTHREAD_COND_INITIALIZER};
    MQTTAsync client;
    MQTTAsync_connectOptions connect = MQTTAsync_connectOptions_initializer;
    MQTTAsync_responseOptions response = MQTTAsync_responseOptions_initializer;
    if (argc != 8) {
        fputs("usage: bench-retain URL USER PASSWORD FIRST_DEVICE DEVICES SIZE WINDOW\n", stderr);
        return 2;
    }
    unsigned long first = strtoul(argv[4], NULL, 10), devices = strtoul(argv[5], NULL, 10);
    int size = atoi(argv[6]);
    publisher.window = strtoul(argv[7], NULL, 10);
    if (devices == 0 || size <= 0 || publisher.window == 0)
        die("reading numbers");
    char *payload = malloc((size_t)size);
    if (payload == NULL)
        die("malloc");
    memset(payload, 'x', (size_t)size);

    if (MQTTAsync_create(&client, argv[1], "bench-retain", MQTTCLIENT_PERSISTENCE_NONE, NULL) !=
            MQTTASYNC_SUCCESS ||
        MQTTAsync_setConnectionLostCallback(client, &publisher, on_lost) != MQTTASYNC_SUCCESS)
        die("client");
    connect.username = argv[2];
    connect.password = argv[3];
    connect.maxInflight = 65535;
    connect.onSuccess = on_connected;
    connect.onFailure = on_failed;
    connect.context = &publisher;
    if (MQTTAsync_connect(client, &connect) != MQTTASYNC_SUCCESS)
        die("connect");
    pthread_mutex_lock(&publisher.lock);
    while (!publisher.connected)
        pthread_cond_wait(&publisher.moved, &publisher.lock);
    pthread_mutex_unlock(&publisher.lock);

    double started = now();
    for (unsigned long i = 0; i < devices; i++) {
        char topic[48];
        snprintf(topic, sizeof(topic), "device/%lu/ota", first + i);
        wait_below(&publisher, publisher.window - 1);
        response.onSuccess = on_published;
        response.onFailure = on_failed;
        response.context = &publisher;
        if (MQTTAsync_send(client, topic, size, payload, 1, 1, &response) != MQTTASYNC_SUCCESS)
            die("publish");
    }
    pthread_mutex_lock(&publisher.lock);
    while (publisher.open > 0)
        pthread_cond_wait(&publisher.moved, &publisher.lock);
    pthread_mutex_unlock(&publisher.lock);
    printf("{\"seconds\": %.6f}\n", now() - started);
    return 0;
}
