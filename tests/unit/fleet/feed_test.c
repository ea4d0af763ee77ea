/* One hub and real connections: queues that readers share, what is lost and told, limits, goodbyes. What goes
 * from hub to hub and from instance to instance is in tests/api/test_feed.py. */
#include "../http_client.h"
#include "fleet/feed.h"
#include "net/listener.h"
#include <stdio.h>
#include <string.h>

static struct worker *worker;
static struct http_server *server;
static struct http_context *context;
static struct guard *guard;
static struct guard_budget budget;
static struct listener *listener;
static struct metrics *metrics;
static struct feed_shared *shared;
static struct feed *feed;
static unsigned heard, gone;
static bool slow; /* answers come later, if at all */

static void handle(struct http_request *request, void *arg)
{
    struct feed_account account = {.id = 7, .sid = "sid", .expires = INT32_MAX};
    h2o_iovec_t path = http_path(request);
    account.operator= h2o_memis(path.base, path.len, "/operator", 9);
    feed_connect(feed, request, &account);
}

static void on_text(void *arg, struct feed_client *client, const char *text, size_t len, void **asking)
{
    heard++;
    if (slow) {
        *asking = &gone;
        return;
    }
    if (len == 1 && *text == '?') {
        feed_done(client, INT64_MIN);
        feed_answered(client);
        return;
    }
    bool drop = len > 0 && *text == '-';
    if (!(drop ? feed_unsubscribe(client, text + 1, len - 1) : feed_subscribe(client, text, len)))
        feed_complain(client, text, len, "no");
    feed_answered(client);
}

static void on_gone(void *asking)
{
    ++*(unsigned *)asking;
}

static int setup(void **state)
{
    char *error = NULL;
    struct http_options options = {.max_entity = 4096, .http1_timeout = 5000, .http2_idle = 5000};
    static const struct feed_limits limits = {.clients = 100,
                                              .clients_of_account = 2,
                                              .memory = 1 << 20,
                                              .origins = ""};
    worker = loop_worker();
    heard = gone = 0;
    slow = false;
    metrics = metrics_new();
    shared = feed_shared_new(&limits, &worker, 1);
    feed = feed_new(&(struct feed_options){
        .shared = shared, .worker = worker, .metrics = metrics, .on_text = on_text, .on_gone = on_gone});
    server = http_server_new(&options);
    context = http_context_new(server, worker, metrics, handle, NULL);
    budget = (struct guard_budget){.limit = 1 << 20};
    guard = guard_new(worker->timers, http_context_h2o(context), &budget, 100);
    struct listener_config config = {.address = "127.0.0.1", .guard = guard};
    listener = listener_open(worker, http_context_h2o(context), &config, &error);
    return listener == NULL;
}

static int teardown(void **state)
{
    listener_close(listener);
    feed_stop(feed);
    guard_drain(guard);
    http_context_shutdown(context);
    for (int i = 0; i < 300 && guard_connections(guard) != 0; i++)
        loop_for(worker, NULL, NULL, 10);
    assert_int_equal(guard_connections(guard), 0);
    loop_for(worker, NULL, NULL, 10);
    assert_false(feed_watched(feed));
    feed_free(feed);
    feed_shared_free(shared);
    listener_free(listener);
    guard_free(guard);
    http_context_free(context);
    http_server_free(server);
    metrics_free(metrics);
    loop_finish(worker);
    return 0;
}

static int dial(const char *path)
{
    char request[400];
    int len = snprintf(request, sizeof(request),
                       "GET %s HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                       "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
                       path);
    return client_dial(listener_port(listener), request, (size_t)len);
}

/* What has come once nothing more does for a while; the number of bytes. */
static size_t take(int fd, char *text, size_t size)
{
    size_t len = 0;
    for (int idle = 0; idle < 30;) {
        ssize_t n = recv(fd, text + len, size - 1 - len, MSG_DONTWAIT);
        len += n > 0 ? (size_t)n : 0;
        idle = n > 0 ? 0 : idle + 1;
        loop_turn(worker, NULL, NULL, 2);
    }
    text[len] = '\0';
    return len;
}

static void skip_handshake(int fd)
{
    char text[2048];
    take(fd, text, sizeof(text));
    assert_non_null(strstr(text, " 101 "));
    assert_non_null(strstr(text, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")); /* RFC 6455, 1.3 */
}

static void say(int fd, const char *text)
{
    unsigned char frame[132] = {0x81, (unsigned char)(0x80 | strlen(text))};
    memcpy(frame + 6, text, strlen(text)); /* masked with zeros */
    assert_int_equal(send(fd, frame, 6 + strlen(text), MSG_NOSIGNAL), 6 + strlen(text));
    for (unsigned before = heard; heard == before;)
        loop_turn(worker, NULL, NULL, 2);
}

static unsigned count(const char *text, size_t len, const char *word)
{
    unsigned found = 0;
    for (const char *at = text; (at = memmem(at, (size_t)(text + len - at), word, strlen(word))) != NULL;
         at++)
        found++;
    return found;
}

static const uint64_t topic = FEED_TOPIC(FEED_DEVICE, 42);

static void publish(unsigned number)
{
    char data[32];
    int len = snprintf(data, sizeof(data), "{\"n\":%u}", number);
    feed_publish(feed, FEED_ON_LOG, &topic, 1, data, (size_t)len);
}

static char text[4 << 20];

static void test_events_reach_those_who_listen(void **state)
{
    int one = dial("/"), other = dial("/");
    skip_handshake(one);
    skip_handshake(other);
    assert_false(feed_wanted(feed, &topic, 1));
    say(one, "device:42");
    assert_true(feed_wanted(feed, &topic, 1));
    publish(1);
    size_t len = take(one, text, sizeof(text));
    assert_int_equal(count(text, len, "{\"topic\":\"device:42\",\"event\":\"log\",\"at\":\"2"), 1);
    assert_int_equal(count(text, len, "Z\",\"data\":{\"n\":1}}"), 1);
    assert_int_equal(take(other, text, sizeof(text)), 0);
    say(one, "-device:42");
    assert_false(feed_wanted(feed, &topic, 1));
    publish(2);
    assert_int_equal(take(one, text, sizeof(text)), 0);
    close(one);
    close(other);
}

static void test_done_comes_before_what_happens_then(void **state)
{
    static const char done[] = "{\"event\":\"done\",\"data\":{\"id\":-9223372036854775808}}";
    int one = dial("/");
    skip_handshake(one);
    say(one, "device:42");
    say(one, "?");
    publish(1);
    size_t len = take(one, text, sizeof(text));
    assert_int_equal(count(text, len, done), 1);
    assert_int_equal(count(text, len, "{\"n\":1}"), 1);
    assert_true(strstr(text, done) < strstr(text, "{\"n\":1}"));
    close(one);
}

static void test_the_oldest_are_lost_and_told(void **state)
{
    int one = dial("/"), other = dial("/");
    skip_handshake(one);
    skip_handshake(other);
    say(one, "device:42");
    say(other, "device:42");
    for (unsigned i = 0; i < 3000; i++) /* the loop does not run: nobody is written to */
        publish(i);
    for (int i = 0; i < 2; i++) {
        size_t len = take(i == 0 ? one : other, text, sizeof(text));
        assert_int_equal(count(text, len, "{\"event\":\"dropped\",\"data\":{\"count\":1976}}"), 1);
        assert_int_equal(count(text, len, "\"log\""), 1024);
        assert_int_equal(count(text, len, "{\"n\":1975}"), 0);
        assert_int_equal(count(text, len, "{\"n\":2999}"), 1);
        assert_true(strstr(text, "dropped") < strstr(text, "{\"n\":1976}"));
    }
    publish(3000);
    size_t len = take(one, text, sizeof(text));
    assert_int_equal(count(text, len, "dropped"), 0);
    assert_int_equal(count(text, len, "\"log\""), 1);
    close(one);
    close(other);
}

static void test_memory_is_bounded_over_all_topics(void **state)
{
    static char big[64 * 1024];
    uint64_t more = FEED_TOPIC(FEED_FLEET, 0);
    int one = dial("/");
    skip_handshake(one);
    say(one, "device:42");
    say(one, "fleet");
    memset(big, '1', sizeof(big));
    publish(0);
    for (int i = 0; i < 40; i++)
        feed_publish(feed, FEED_ON_FIRMWARE, &more, 1, big, sizeof(big));
    publish(1);
    size_t len = take(one, text, sizeof(text));
    unsigned kept = count(text, len, "\"firmware\"");
    char told[64];
    snprintf(told, sizeof(told), "\"count\":%u}", 40 - kept);
    assert_in_range(kept, 10, 15); /* 64 KiB each, of 1 MiB */
    assert_int_equal(count(text, len, told), 1);
    assert_int_equal(count(text, len, "{\"n\":1}"), 1);
    assert_int_equal(count(text, len, "{\"n\":0}"), 0);
    close(one);
}

static void test_devices_of_an_owner(void **state)
{
    uint64_t topics[3];
    int user = dial("/"), operator= dial("/operator");
    skip_handshake(user);
    skip_handshake(operator);
    say(user, "devices");
    say(operator, "devices");
    assert_int_equal(feed_device_topics(1, 0, topics), 2);
    feed_publish(feed, FEED_ON_STATUS, topics, 2, "{\"of\":0}", 8);
    assert_int_equal(feed_device_topics(2, 7, topics), 3);
    feed_publish(feed, FEED_ON_STATUS, topics, 3, "{\"of\":7}", 8);
    size_t len = take(user, text, sizeof(text));
    assert_int_equal(count(text, len, "\"status\""), 1);
    assert_int_equal(count(text, len, "{\"topic\":\"devices\""), 1);
    assert_int_equal(count(text, len, "{\"of\":7}"), 1);
    len = take(operator, text, sizeof(text));
    assert_int_equal(count(text, len, "\"status\""), 2);
    close(user);
    close(operator);
}

static void test_counts_only_when_they_change(void **state)
{
    uint64_t counts = FEED_TOPIC(FEED_FLEET, 1);
    int one = dial("/operator"), late = dial("/operator");
    skip_handshake(one);
    skip_handshake(late);
    say(one, "fleet");
    for (int i = 0; i < 3; i++)
        feed_publish(feed, FEED_ON_STATUS, &counts, 1, "{\"online\":1}", 12);
    feed_publish(feed, FEED_ON_STATUS, &counts, 1, "{\"online\":2}", 12);
    size_t len = take(one, text, sizeof(text));
    assert_int_equal(count(text, len, "{\"online\":1}"), 1);
    assert_int_equal(count(text, len, "{\"online\":2}"), 1);
    say(late, "fleet");
    len = take(late, text, sizeof(text));
    assert_int_equal(count(text, len, "{\"online\":2}"), 1); /* as they are */
    close(one);
    close(late);
}

static void test_names(void **state)
{
    static const char *const none[] = {"",          "device",     "device:",   "device:0",
                                       "device:01", "device:+1",  "device:1x", "device:2147483648",
                                       "Devices",   "rollout:-1", "fleet ",    "device:99999999999"};
    for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
        assert_int_equal(feed_topic_read(none[i], strlen(none[i])), 0);
    assert_int_equal(feed_topic_read("device:2147483647", 17), FEED_TOPIC(FEED_DEVICE, INT32_MAX));
    assert_int_equal(feed_topic_read("rollout:3", 9), FEED_TOPIC(FEED_ROLLOUT, 3));
}

static void test_limits_and_ends(void **state)
{
    int one = dial("/"), two = dial("/");
    skip_handshake(one);
    skip_handshake(two);
    int three = dial("/");
    take(three, text, sizeof(text));
    assert_non_null(strstr(text, " 429 "));
    close(three);
    slow = true;
    say(one, "device:42");
    close(one); /* while its message is being answered: read on is what tells, and that waits */
    feed_revoke(feed, "other");
    assert_int_equal(take(two, text, sizeof(text)), 0);
    feed_revoke(feed, "sid");
    assert_int_equal(take(two, text, sizeof(text)), 4);
    assert_memory_equal(text, "\x88\x02\x03\xf0", 4); /* 1008 */
    close(two);
    loop_for(worker, NULL, NULL, 100);
    assert_int_equal(gone, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_events_reach_those_who_listen, setup, teardown),
        cmocka_unit_test_setup_teardown(test_done_comes_before_what_happens_then, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_oldest_are_lost_and_told, setup, teardown),
        cmocka_unit_test_setup_teardown(test_memory_is_bounded_over_all_topics, setup, teardown),
        cmocka_unit_test_setup_teardown(test_devices_of_an_owner, setup, teardown),
        cmocka_unit_test_setup_teardown(test_counts_only_when_they_change, setup, teardown),
        cmocka_unit_test_setup_teardown(test_limits_and_ends, setup, teardown),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
