/* The yardstick of ingest: a Paho subscriber which only counts.
 *
 *   bench-count URL USER PASSWORD MESSAGES
 *
 * Subscribes to $share/otad/device/+/status with QoS 1, as otad does, on a broker without otad; prints
 * "ready" once that is granted, and after every MESSAGES messages one line of JSON: the time of the last of
 * them (CLOCK_MONOTONIC, seconds). Runs until it is killed. Paho's callbacks come on one thread of its own,
 * which owns all state here; main() only waits. */
#include <MQTTAsync.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct counter {
    MQTTAsync client;
    unsigned long seen, wanted;
};

static _Noreturn void die(const char *what, const char *why)
{
    fprintf(stderr, "bench-count: %s: %s\n", what, why != NULL ? why : "?");
    _exit(1);
}

static int on_message(void *arg, char *topic, int topic_len, MQTTAsync_message *message)
{
    struct counter *counter = arg;
    if (++counter->seen % counter->wanted == 0) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        printf("{\"messages\": %lu, \"at\": %ld.%06ld}\n", counter->seen, now.tv_sec, now.tv_nsec / 1000);
        fflush(stdout);
    }
    MQTTAsync_freeMessage(&message);
    MQTTAsync_free(topic);
    return 1;
}

static void on_lost(void *arg, char *cause)
{
    die("connection lost", cause);
}

static void on_subscribed(void *arg, MQTTAsync_successData *data)
{
    if (data->alt.qos > 2)
        die("subscribe", "refused");
    puts("ready");
    fflush(stdout);
}

static void on_failed(void *arg, MQTTAsync_failureData *data)
{
    die(arg == NULL ? "subscribe" : "connect", data->message != NULL ? data->message : "refused");
}

static void on_connected(void *arg, MQTTAsync_successData *data)
{
    struct counter *counter = arg;
    MQTTAsync_responseOptions options = MQTTAsync_responseOptions_initializer;
    options.onSuccess = on_subscribed;
    options.onFailure = on_failed;
    if (MQTTAsync_subscribe(counter->client, "$share/otad/device/+/status", 1, &options) != MQTTASYNC_SUCCESS)
        die("subscribe", "not sent");
}

int main(int argc, char **argv)
{
    static struct counter counter; /* outlives main(), as Paho's threads do */
    if (argc != 5 || (counter.wanted = strtoul(argv[4], NULL, 10)) == 0) {
        fputs("usage: bench-count URL USER PASSWORD MESSAGES\n", stderr);
        return 2;
    }
    MQTTAsync_connectOptions options = MQTTAsync_connectOptions_initializer;
    options.cleansession = 1;
    options.username = argv[2];
    options.password = argv[3];
    options.context = &counter;
    options.onSuccess = on_connected;
    options.onFailure = on_failed;
    if (MQTTAsync_create(&counter.client, argv[1], "bench-count", MQTTCLIENT_PERSISTENCE_NONE, NULL) !=
            MQTTASYNC_SUCCESS ||
        MQTTAsync_setCallbacks(counter.client, &counter, on_lost, on_message, NULL) != MQTTASYNC_SUCCESS ||
        MQTTAsync_connect(counter.client, &options) != MQTTASYNC_SUCCESS)
        die("connect", "not started");
    for (;;)
        pause();
}
