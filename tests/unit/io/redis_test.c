/* The client against a real redis-server on a free port. */
#include "../loop.h"
#include "io/redis.h"
#include <netinet/in.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static struct worker *worker;
static struct redis *redis;
static pid_t server;
static int port;

/* Below those that outgoing connections take: the server comes back to it. */
static int free_port(void)
{
    for (;;) {
        int found = 15000 + (int)randombytes_uniform(17000),
            fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        struct sockaddr_in address = {.sin_family = AF_INET,
                                      .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                      .sin_port = htons((uint16_t)found)};
        bool bound = bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
        close(fd);
        if (bound)
            return found;
    }
}

static void start_server(const char *password)
{
    char text[16];
    snprintf(text, sizeof(text), "%d", port);
    server = fork();
    if (server == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (freopen("/dev/null", "w", stdout) == NULL)
            _exit(126);
        execlp("redis-server", "redis-server", "--port", text, "--bind", "127.0.0.1", "--save", "", "--dir",
               "/tmp", "--requirepass", password, "--user", "otad", "on", ">h:u@s:h", "~*", "+@all", NULL);
        _exit(127);
    }
    assert_true(server > 0);
}

static void stop_server(int with)
{
    if (server <= 0)
        return;
    kill(server, with);
    waitpid(server, NULL, 0);
    server = 0;
}

static void open_redis(const char *credentials, const char *path)
{
    char url[128];
    snprintf(url, sizeof(url), "redis://%s127.0.0.1:%d%s", credentials, port, path);
    redis = redis_new(worker, url);
    assert_non_null(redis);
}

static bool becomes_ready(unsigned ms)
{
    for (uint64_t end = clock_ms() + ms; !redis_ready(redis) && clock_ms() < end;)
        loop_for(worker, NULL, NULL, 5);
    return redis_ready(redis);
}

static int setup(void **state)
{
    worker = loop_worker();
    port = free_port();
    return 0;
}

static int teardown(void **state)
{
    if (redis != NULL)
        redis_free(redis);
    redis = NULL;
    stop_server(SIGKILL);
    loop_finish(worker);
    return 0;
}

struct call {
    unsigned answers;
    const char *err;
    char text[64];
    long long number;
    bool inside;
};

static bool asking;

static void on_answer(void *arg, const char *err, const redisReply *reply)
{
    struct call *call = arg;
    call->answers++;
    call->err = err;
    call->inside = asking;
    assert_true((err == NULL) == (reply != NULL));
    if (reply != NULL && (reply->type == REDIS_REPLY_STRING || reply->type == REDIS_REPLY_STATUS))
        snprintf(call->text, sizeof(call->text), "%.*s", (int)reply->len, reply->str);
    call->number = reply == NULL ? 0 : reply->integer;
}

static void ask(struct call *call, const char *a, const char *b, const char *c)
{
    const char *const args[] = {a, b, c};
    const size_t lengths[] = {strlen(a), b == NULL ? 0 : strlen(b), c == NULL ? 0 : strlen(c)};
    *call = (struct call){0};
    asking = true;
    redis_command(redis, c != NULL ? 3 : b != NULL ? 2 : 1, args, lengths, on_answer, call);
    asking = false;
}

static void expect(struct call *call, const char *err, const char *text)
{
    if (!loop_until(worker, NULL, NULL, &call->answers, 1, 5000))
        fail_msg("no answer");
    assert_int_equal(call->answers, 1);
    assert_false(call->inside);
    assert_ptr_equal(call->err, err);
    assert_string_equal(call->text, text);
}

#define NEEDS_SERVER                                                                                         \
    if (system("command -v redis-server >/dev/null") != 0)                                                   \
    skip()

static void test_commands(void **state)
{
    NEEDS_SERVER;
    struct call calls[500], call;
    start_server("");
    open_redis("", "/3");
    ask(&call, "PING", NULL, NULL); /* not there yet */
    expect(&call, redis_unavailable, "");
    assert_true(becomes_ready(20000));
    ask(&call, "SET", "a", "some thing");
    expect(&call, NULL, "OK");
    ask(&call, "GET", "a", NULL);
    expect(&call, NULL, "some thing");
    ask(&call, "INCR", "a", NULL);
    expect(&call, redis_failed, "");
    for (int i = 0; i < 500; i++)
        ask(&calls[i], "INCR", "n", NULL);
    for (int i = 0; i < 500; i++) {
        expect(&calls[i], NULL, "");
        assert_int_equal(calls[i].number, i + 1);
    }
    ask(&call, "SELECT", "3", NULL); /* the database of the URL is the one in use */
    expect(&call, NULL, "OK");
    ask(&call, "GET", "n", NULL);
    expect(&call, NULL, "500");
}

static void test_stop_and_start(void **state)
{
    NEEDS_SERVER;
    struct call flight, call;
    start_server("");
    open_redis("", "");
    assert_true(becomes_ready(20000));
    ask(&flight, "BLPOP", "nothing", "0");
    loop_for(worker, NULL, NULL, 50);
    stop_server(SIGKILL);
    expect(&flight, redis_unavailable, "");
    ask(&call, "PING", NULL, NULL);
    expect(&call, redis_unavailable, "");
    assert_false(redis_ready(redis));
    loop_for(worker, NULL, NULL, 300);
    start_server("");
    assert_true(becomes_ready(20000));
    ask(&call, "PING", NULL, NULL);
    expect(&call, NULL, "PONG");
    assert_int_equal(flight.answers, 1);
}

/* The database of the URL is not there: whatever AUTH said, nothing is written into another one. */
static void test_no_such_database(void **state)
{
    NEEDS_SERVER;
    struct call call;
    start_server("hush");
    open_redis("hush@", "/99");
    for (uint64_t end = clock_ms() + 1500; clock_ms() < end;) {
        loop_turn(worker, NULL, NULL, 1);
        assert_false(redis_ready(redis));
    }
    ask(&call, "PING", NULL, NULL);
    expect(&call, redis_unavailable, "");
}

/* A server that hangs: what waits is given up, and it is used again once it goes on. */
static void test_a_stopped_server(void **state)
{
    NEEDS_SERVER;
    struct call calls[3], call;
    start_server("");
    open_redis("", "");
    assert_true(becomes_ready(20000));
    kill(server, SIGSTOP);
    uint64_t began = clock_ms();
    for (int i = 0; i < 3; i++)
        ask(&calls[i], "PING", NULL, NULL);
    for (int i = 0; i < 3; i++)
        expect(&calls[i], redis_unavailable, "");
    assert_in_range(clock_ms() - began, 900, 10000);
    assert_false(redis_ready(redis));
    loop_for(worker, NULL, NULL, 2100); /* connects, as far as the kernel goes, and gives up again */
    assert_false(redis_ready(redis));
    kill(server, SIGCONT);
    assert_true(becomes_ready(20000));
    ask(&call, "PING", NULL, NULL);
    expect(&call, NULL, "PONG");
    loop_for(worker, NULL, NULL, 100);
    kill(server, SIGSTOP); /* with nothing asked */
    loop_for(worker, NULL, NULL, 2700);
    assert_false(redis_ready(redis));
    kill(server, SIGCONT);
    assert_true(becomes_ready(20000));
}

static void test_passwords(void **state)
{
    NEEDS_SERVER;
    static const struct {
        const char *credentials;
        bool good;
    } cases[] = {{"hush@", true},  {":hush@", true}, {"otad:h:u@s:h@", true}, {"ot%61d:h%3Au%40s%3ah@", true},
                 {"loud@", false}, {"", false},      {"otad:no@", false}};
    start_server("hush");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        open_redis(cases[i].credentials, "");
        if (becomes_ready(cases[i].good ? 5000 : 100) != cases[i].good)
            fail_msg("%s", cases[i].credentials);
        struct call call;
        ask(&call, "PING", NULL, NULL);
        expect(&call, cases[i].good ? NULL : redis_unavailable, cases[i].good ? "PONG" : "");
        redis_free(redis);
        redis = NULL;
    }
}

struct stubborn {
    struct call call;
    int left;
};

static void on_stubborn(void *arg, const char *err, const redisReply *reply)
{
    struct stubborn *stubborn = arg;
    const char *const ping = "PING";
    stubborn->call.answers++;
    stubborn->call.err = err;
    if (stubborn->left-- > 0)
        redis_command(redis, 1, &ping, &(size_t){4}, on_stubborn, stubborn);
}

/* What asks again when it is told of the end is answered, too. */
static void test_the_end(void **state)
{
    NEEDS_SERVER;
    struct stubborn stubborn = {.left = 1};
    struct call waiting;
    const char *const ping = "PING";
    start_server("");
    open_redis("", "");
    assert_true(becomes_ready(20000));
    ask(&waiting, "BLPOP", "nothing", "0");
    redis_command(redis, 1, &ping, &(size_t){4}, on_stubborn, &stubborn);
    redis_free(redis);
    redis = NULL;
    assert_int_equal(waiting.answers, 1);
    assert_ptr_equal(waiting.err, redis_unavailable);
    loop_for(worker, NULL, NULL, 20);
    assert_int_equal(stubborn.call.answers, 2);
    assert_ptr_equal(stubborn.call.err, redis_unavailable);
}

static void test_urls(void **state)
{
    static const char *const wrong[] = {"",
                                        "redis:",
                                        "http://localhost",
                                        "redis://host:0",
                                        "redis://host:65536",
                                        "redis://host:port",
                                        "redis://host:12x",
                                        "redis://host:4294973675",
                                        "redis://host:99999999999999999999",
                                        "redis://host:+6379",
                                        "redis://host:",
                                        "redis://a:%zz@host",
                                        "redis://host:6379/x"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        if (redis_new(worker, wrong[i]) != NULL)
            fail_msg("%s", wrong[i]);
    }
    static const char *const right[] = {"redis://", "redis://localhost", "redis://localhost:1/",
                                        "redis://a:b@c/15"};
    for (size_t i = 0; i < sizeof(right) / sizeof(right[0]); i++) {
        struct redis *one = redis_new(worker, right[i]);
        if (one == NULL)
            fail_msg("%s", right[i]);
        redis_free(one);
    }
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_commands),
        CASE(test_stop_and_start),
        CASE(test_a_stopped_server),
        CASE(test_no_such_database),
        CASE(test_passwords),
        CASE(test_the_end),
        CASE(test_urls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
