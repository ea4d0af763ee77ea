/* This program is its own process of policies, as otad is: main() takes the subcommand. */
#include "hostile.h"
#include "lab.h"
#include "policy/host.h"
#include "policy/simulate.h"
#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* ms that the next call may take, whatever the one before did; sanitizers, and a machine where everything
 * else builds, take their time. */
enum { BOUND = SANITIZED ? 2000 : 1000, LOADS = 40 };

static int setup(void **state)
{
    *state = host_new();
    return 0;
}

static int teardown(void **state)
{
    host_free(*state);
    return 0;
}

static struct policy_verdict admit(struct host *host, const char *text, const char *device)
{
    struct policy_library libraries[LAB_LIBRARIES];
    struct policy_source source = lab_source(text, libraries);
    struct policy_text argument = TEXT(device);
    struct policy_verdict verdict;
    host_admit(host, &source, &lab_moment, &argument, 1, &verdict);
    return verdict;
}

static struct policy_verdict advance(struct host *host, const char *text)
{
    struct policy_library libraries[LAB_LIBRARIES];
    struct policy_source source = lab_source(text, libraries);
    struct policy_verdict verdict;
    host_advance(host, &source, &lab_moment, TEXT(stats_json), &verdict);
    return verdict;
}

static void test_answers(void **state)
{
    struct policy_verdict verdict = admit(*state, canary, device_json);
    assert_int_equal(verdict.answer, POLICY_OFFER);
    assert_int_equal(verdict.line, 15);
    verdict = admit(*state, canary, "{\"telemetry\": {\"battery\": 3}}");
    assert_int_equal(verdict.answer, POLICY_HOLD);
    assert_string_equal(verdict.reason, "battery below 30 %");
    assert_int_equal(advance(*state, canary).answer, POLICY_ADVANCE);
    assert_int_equal(advance(*state, "return {}").answer, POLICY_DEFAULT);
    verdict =
        admit(*state, "return { admit = function() return require('lib.policy.good').say() end }", "{}");
    assert_string_equal(verdict.file, "scripts/lib/policy/good.lua");
    verdict = admit(*state, "return { admit = function() return 'hold', nil, { again = 90 } end }", "{}");
    assert_true(verdict.again == 90);
    assert_int_equal(host_counts(*state).started, 1);
}

static void test_load(void **state)
{
    struct policy_library libraries[LAB_LIBRARIES];
    struct policy_source source = lab_source("return { rate = { per_minute = 60 } }", libraries);
    struct buffer json = {0};
    assert_true(host_load(*state, &source, &json));
    assert_non_null(strstr(buffer_text(&json), "{\"problems\":[],\"declaration\":{\"stages\":["));
    assert_non_null(strstr(buffer_text(&json), "\"rate\":{\"per_minute\":60,\"growth\":1}"));
    json.len = 0;
    source = lab_source("return {\n  rat = {} }", libraries);
    assert_false(host_load(*state, &source, &json));
    assert_string_equal(
        buffer_text(&json),
        "{\"problems\":[{\"file\":\"scripts/policies/test.lua\",\"line\":2,\"severity\":\"error\","
        "\"message\":\"unknown field rat (did you mean rate?)\"}],\"declaration\":null}");
    json.len = 0;
    source = lab_source("local x = ('a'):rep(30000):find(('.-'):rep(30) .. 'b') return {}", libraries);
    assert_false(host_load(*state, &source, &json));
    assert_non_null(strstr(buffer_text(&json), "ran longer than 10 ms"));
    buffer_free(&json);
    struct policy_verdict verdict = admit(*state, "return {\n  rat = {} }", "{}");
    assert_true(verdict.failed);
    assert_int_equal(verdict.line, 2);
    assert_string_equal(verdict.reason, "the policy does not load: unknown field rat (did you mean rate?)");
    assert_int_equal(admit(*state, canary, device_json).answer, POLICY_OFFER);
}

/* Sorting them asks the system for nothing that the jail does not let it. */
static void test_many_problems(void **state)
{
    struct policy_library libraries[LAB_LIBRARIES];
    struct buffer text = {0}, json = {0};
    buffer_puts(&text, "return {");
    for (int i = 0; i < 100; i++)
        buffer_printf(&text, "\n  zz%d = 1,", i);
    buffer_puts(&text, "}");
    struct policy_source source = lab_source(buffer_text(&text), libraries);
    assert_false(host_load(*state, &source, &json));
    assert_non_null(strstr(buffer_text(&json), "unknown field zz7"));
    assert_int_equal(host_counts(*state).crashed, 0);
    buffer_free(&text);
    buffer_free(&json);
}

/* More policies than there is room for. */
static void test_many_policies(void **state)
{
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < LOADS; i++) {
            char text[80], reason[16];
            snprintf(text, sizeof(text), "return { admit = function() return 'hold', '%d' end }", i);
            snprintf(reason, sizeof(reason), "%d", i);
            assert_string_equal(admit(*state, text, "{}").reason, reason);
        }
    }
    assert_int_equal(host_counts(*state).started, 1);
}

/* Each hostile script, in admit and in advance: it holds, says why, and the next call works in time.
 */
static void test_hostile(void **state)
{
    for (size_t i = 0; i < HOSTILE; i++) {
        char *text = x_printf("return { admit = function()\n%s\nend, advance = function()\n%s\nend }",
                              hostile[i].body, hostile[i].body);
        for (int round = 0; round < 2; round++) {
            double began = lab_ms();
            struct policy_verdict verdict =
                round == 0 ? admit(*state, text, device_json) : advance(*state, text);
            double ended = lab_ms();
            struct policy_verdict next = admit(*state, canary, device_json);
            if (verdict.answer != POLICY_HOLD || !verdict.failed || *verdict.reason == '\0' ||
                ended - began > 10 * BOUND)
                fail_msg("%s: %d %s, %.0f ms", hostile[i].body, verdict.failed, verdict.reason,
                         ended - began);
            if (next.answer != POLICY_OFFER || lab_ms() - ended > BOUND)
                fail_msg("after %s: %s, %.0f ms", hostile[i].body, next.reason, lab_ms() - ended);
        }
        free(text);
    }
    assert_int_equal(host_counts(*state).crashed, 0);
    assert_true(host_counts(*state).overran >= 8);
}

static const char hangs_for_some[] =
    "return { admit = function(device)\n"
    "  if device.hang then return ('a'):rep(30000):find(('.-'):rep(30) .. 'b') end\n"
    "  return 'hold', device.id .. '' end }";

/* The culprits are exactly those that hang; all others get their own answers. */
static void test_batch(void **state)
{
    enum { COUNT = 500 };
    struct policy_library libraries[LAB_LIBRARIES];
    struct policy_source source = lab_source(hangs_for_some, libraries);
    struct policy_text devices[COUNT];
    struct policy_verdict *verdicts = x_alloc(COUNT * sizeof(*verdicts));
    for (int i = 0; i < COUNT; i++) {
        char *text =
            x_printf("{\"id\": %d, \"hang\": %s}", i, i == 0 || i == 250 || i == 499 ? "true" : "false");
        devices[i] = TEXT(text);
    }
    host_admit(*state, &source, &lab_moment, devices, COUNT, verdicts);
    for (int i = 0; i < COUNT; i++) {
        bool hung = i == 0 || i == 250 || i == 499;
        char reason[16];
        snprintf(reason, sizeof(reason), "%d", i);
        assert_int_equal(verdicts[i].answer, POLICY_HOLD);
        assert_int_equal(verdicts[i].failed, hung);
        assert_string_equal(verdicts[i].reason, hung ? "ran longer than 10 ms" : reason);
        free((char *)devices[i].text);
    }
    assert_int_equal(host_counts(*state).overran, 3);
    free(verdicts);
}

/* A policy that hangs for everybody does not hold the caller for long. */
static void test_all_hang(void **state)
{
    enum { COUNT = 100 };
    struct policy_library libraries[LAB_LIBRARIES];
    struct policy_source source = lab_source(hangs_for_some, libraries);
    struct policy_text devices[COUNT];
    struct policy_verdict *verdicts = x_alloc(COUNT * sizeof(*verdicts));
    for (int i = 0; i < COUNT; i++)
        devices[i] = TEXT("{\"hang\": true}");
    double began = lab_ms();
    host_admit(*state, &source, &lab_moment, devices, COUNT, verdicts);
    if (lab_ms() - began > 40 * BOUND)
        fail_msg("%.0f ms", lab_ms() - began);
    assert_true(verdicts[0].failed);
    for (int i = 8; i < COUNT; i++) {
        assert_int_equal(verdicts[i].answer, POLICY_HOLD);
        assert_false(verdicts[i].failed);
        assert_true(verdicts[i].again == 1);
    }
    free(verdicts);
}

/* Nor does one that takes all of its time for everybody. */
static void test_all_slow(void **state)
{
    enum { COUNT = 600 };
    struct policy_library libraries[LAB_LIBRARIES];
    struct policy_source source =
        lab_source("return { admit = function() while true do end end }", libraries);
    struct policy_text devices[COUNT];
    struct policy_verdict *verdicts = x_alloc(COUNT * sizeof(*verdicts));
    for (int i = 0; i < COUNT; i++)
        devices[i] = TEXT("{}");
    double began = lab_ms();
    host_admit(*state, &source, &lab_moment, devices, COUNT, verdicts);
    assert_in_range((long)(lab_ms() - began), 1900, 2000 + 10 * BOUND);
    assert_true(verdicts[0].failed);
    assert_string_equal(verdicts[0].reason, "line 1: ran longer than 10 ms");
    assert_false(verdicts[COUNT - 1].failed);
    assert_int_equal(verdicts[COUNT - 1].answer, POLICY_HOLD);
    assert_int_equal(admit(*state, canary, device_json).answer, POLICY_OFFER);
    free(verdicts);
}

static void test_time_zones(void **state)
{
    static const char text[] =
        "return { admit = function(d, r, ctx) return 'hold', ctx.hour .. ' ' .. ctx.weekday end }";
    assert_string_equal(admit(*state, text, "{\"tags\": {\"timezone\": \"Asia/Tokyo\"}}").reason, "9 4");
    assert_string_equal(admit(*state, text, "{\"tags\": {\"timezone\": \"Asia/Tokyo\"}}").reason, "9 4");
    assert_string_equal(admit(*state, text, "{}").reason, "0 4");
    assert_string_equal(admit(*state, text, "{\"tags\": {\"timezone\": \"Mars/Base\"}}").reason,
                        "line 1: the device's tag timezone: there is no time zone 'Mars/Base'");
}

static pid_t child(void)
{
    char path[64], text[32] = "";
    snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
    FILE *file = fopen(path, "r");
    if (file == NULL || fgets(text, sizeof(text), file) == NULL)
        *text = '\0';
    if (file != NULL)
        fclose(file);
    return (pid_t)atoi(text);
}

/* It has nothing that is worth stealing. */
static void test_bare_process(void **state)
{
    assert_int_equal(admit(*state, canary, device_json).answer, POLICY_OFFER);
    char path[64], text[4096];
    int descriptors = 0;
    pid_t pid = child();
    assert_true(pid > 0);
    snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
    DIR *directory = opendir(path);
    assert_non_null(directory);
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;)
        descriptors += *entry->d_name != '.';
    closedir(directory);
    snprintf(path, sizeof(path), "/proc/%d/environ", (int)pid);
    FILE *file = fopen(path, "r");
    assert_int_equal(fread(text, 1, sizeof(text), file), 0);
    fclose(file);
    if (SANITIZED)
        return;
    assert_int_equal(descriptors, 1);
    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    file = fopen(path, "r");
    text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
    fclose(file);
    assert_non_null(strstr(text, "Seccomp:\t2"));
    assert_non_null(strstr(text, "NoNewPrivs:\t1"));
}

static void test_killed_while_idle(void **state)
{
    for (int i = 0; i < 3; i++) {
        assert_int_equal(admit(*state, canary, device_json).answer, POLICY_OFFER);
        kill(child(), SIGKILL);
        usleep(20000);
    }
    assert_int_equal(advance(*state, canary).answer, POLICY_ADVANCE);
    assert_int_equal(host_counts(*state).crashed, 3);
}

/* One that does not run is ended, and another asked the next time. */
static void test_stopped(void **state)
{
    assert_int_equal(admit(*state, canary, device_json).answer, POLICY_OFFER);
    kill(child(), SIGSTOP);
    double began = lab_ms();
    struct policy_verdict verdict = admit(*state, canary, device_json);
    assert_int_equal(verdict.answer, POLICY_HOLD);
    assert_false(verdict.failed);
    assert_in_range((long)(lab_ms() - began), 1900, 4000 + 10 * BOUND);
    assert_int_equal(admit(*state, canary, device_json).answer, POLICY_OFFER);
}

/* A server without descriptors left knows nothing against the policy. */
static void test_cannot_start(void **state)
{
    struct rlimit was, none;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
    none = (struct rlimit){3, was.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    struct policy_verdict verdict = admit(*state, canary, device_json);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
    assert_int_equal(verdict.answer, POLICY_HOLD);
    assert_false(verdict.failed);
    assert_string_equal(verdict.reason, "no process can be started to run the policy");
    assert_int_equal(admit(*state, canary, device_json).answer, POLICY_OFFER);
}

/* It ends when the server is killed. */
static void test_parent_killed(void **state)
{
    int ends[2];
    pid_t pid = 0;
    assert_int_equal(pipe(ends), 0);
    pid_t parent = fork();
    if (parent == 0) {
        struct host *host = host_new();
        admit(host, canary, device_json);
        pid = child();
        if (write(ends[1], &pid, sizeof(pid)) == sizeof(pid))
            pause();
        _exit(1);
    }
    assert_int_equal(read(ends[0], &pid, sizeof(pid)), sizeof(pid));
    assert_true(pid > 0);
    assert_int_equal(kill(pid, 0), 0);
    kill(parent, SIGKILL);
    waitpid(parent, NULL, 0);
    double began = lab_ms();
    char path[64], text[512];
    for (bool runs = true; runs;) { /* whoever inherits it may be slow to bury it */
        snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
        FILE *file = fopen(path, "r");
        runs = file != NULL && fgets(text, sizeof(text), file) != NULL && strstr(text, ") Z") == NULL;
        if (file != NULL)
            fclose(file);
        assert_true(lab_ms() - began < 20000);
        usleep(1000);
    }
    close(ends[0]);
    close(ends[1]);
}

static void *ask_often(void *arg)
{
    for (int i = 0; i < 50; i++) {
        struct policy_verdict verdict = admit(arg, i % 2 == 0 ? canary : hangs_for_some, device_json);
        assert_false(verdict.failed);
    }
    return NULL;
}

static void test_threads(void **state)
{
    pthread_t threads[4];
    assert_int_equal(admit(*state, canary, device_json).answer, POLICY_OFFER); /* it ends with this thread */
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, ask_often, *state);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(host_counts(*state).started, 1);
}

/* Over there as here: the jail lets all of it happen. */
static void *leave(void *arg)
{
    usleep(300000);
    atomic_store((atomic_bool *)arg, true);
    return NULL;
}

/* Begun or not, it ends; the next is done. */
static void test_unwanted_work_ends(void **state)
{
    struct policy_library libraries[LAB_LIBRARIES];
    struct policy_source source =
        lab_source("return { admit = function() return 'hold', 'not today' end }", libraries);
    struct policy_text request = TEXT("{\"fleet\": {\"devices\": 20000}}");
    struct buffer json = {0};
    atomic_bool unwanted = false;
    pthread_t client;
    assert_int_equal(pthread_create(&client, NULL, leave, &unwanted), 0);
    host_heed(*state, &unwanted);
    for (int i = 0; i < 2; i++, json.len = 0) {
        assert_false(host_simulate(*state, &source, request, NULL, 0, &json));
        assert_non_null(strstr(buffer_text(&json), "nobody waits for it"));
    }
    pthread_join(client, NULL);
    host_heed(*state, NULL);
    assert_int_equal(host_counts(*state).overran, 0);
    assert_true(host_simulate(*state, &source, TEXT("{\"fleet\": {\"devices\": 2}}"), NULL, 0, &json));
    buffer_free(&json);
}

static void test_simulate(void **state)
{
    enum { COUNT = 3000 };
    struct policy_library libraries[LAB_LIBRARIES];
    struct policy_source source = lab_source(canary, libraries);
    struct policies policies = {.zones = zones_new(zones_load_file, NULL)};
    struct policy_text request = TEXT("{\"assume\": {\"failure_rate\": 0.01, \"durations\": [5, 9, 200]}}"),
                       *devices;
    struct buffer here = {0}, there = {0};
    devices = x_alloc(COUNT * sizeof(*devices));
    for (int i = 0; i < COUNT; i++) {
        char *text =
            x_printf("{\"id\": %d, \"tags\": {\"timezone\": \"Europe/Berlin\"}, \"telemetry\": {}}", i + 1);
        devices[i] = (struct policy_text){text, strlen(text)};
    }
    assert_true(simulate_run(&policies, &source, request, devices, COUNT, &here));
    assert_true(host_simulate(*state, &source, request, devices, COUNT, &there));
    assert_string_equal(buffer_text(&here), buffer_text(&there));
    assert_true(host_simulate(*state, &source, TEXT("{\"fleet\": {\"devices\": 20000}}"), NULL, 0, &there));
    there.len = 0;
    source =
        lab_source("return { admit = function(d, r, ctx) return ctx.hour < 5 and 'offer' or 'hold' end }",
                   libraries);
    assert_true(host_simulate(*state, &source, request, devices, COUNT, &there));
    assert_non_null(strstr(buffer_text(&there), "\"outcome\":\"completed\""));
    assert_int_equal(host_counts(*state).started, 1);
    there.len = 0;
    source =
        lab_source("return { admit = function() return ('a'):rep(30000):find(('.-'):rep(30) .. 'b') end }",
                   libraries);
    assert_false(host_simulate(*state, &source, request, devices, COUNT, &there));
    assert_non_null(strstr(buffer_text(&there), "a call of the policy ran longer than 10 ms"));
    there.len = 0;
    assert_false(host_simulate(*state, &source, TEXT("{\"days\": -1}"), NULL, 0, &there));
    assert_non_null(strstr(buffer_text(&there), "days must be a number"));
    assert_int_equal(admit(*state, canary, device_json).answer, POLICY_OFFER);
    for (int i = 0; i < COUNT; i++)
        free((char *)devices[i].text);
    free(devices);
    buffer_free(&here);
    buffer_free(&there);
    zones_free(policies.zones);
}

static void test_replay(void **state)
{
    enum { COUNT = 2000 };
    struct policy_library libraries[LAB_LIBRARIES], others[LAB_LIBRARIES];
    struct policy_source
        source =
            lab_source("return { admit = function(d) return d.id > 9 and 'offer' or 'skip' end }", libraries),
        other =
            lab_source("return { admit = function(d) return d.id > 5 and 'offer' or 'skip' end }", others);
    struct policy_text request = TEXT("{\"rollouts\": [{\"id\": 1}]}"),
                       *decisions = x_alloc(COUNT * sizeof(*decisions));
    struct buffer json = {0};
    for (int i = 0; i < COUNT; i++) {
        char *text = x_printf("{\"id\": %d, \"rollout_id\": 1, \"device_id\": %d, \"verdict\": \"offer\","
                              " \"inputs\": {\"device\": {\"id\": %d}, \"now\": 1, \"stage\": 0}}",
                              i, COUNT - i, COUNT - i);
        decisions[i] = (struct policy_text){text, strlen(text)};
    }
    assert_true(host_replay(*state, &source, NULL, request, decisions, COUNT, &json));
    assert_non_null(strstr(buffer_text(&json), "\"same\":1991,\"reworded\":0,\"differing\":9"));
    assert_non_null(
        strstr(buffer_text(&json), "\"no_longer_offered\":{\"count\":9,\"device_ids\":[1,2,3,4,5,6,7,8,9]}"));
    json.len = 0;
    assert_true(host_replay(*state, &other, &source, request, decisions, COUNT, &json));
    assert_non_null(strstr(buffer_text(&json), "\"now_offered\":{\"count\":4,\"device_ids\":[6,7,8,9]}"));
    assert_int_equal(host_counts(*state).started, 1);
    for (int i = 0; i < COUNT; i++)
        free((char *)decisions[i].text);
    free(decisions);
    buffer_free(&json);
}

/* Those that hang where only the end of the process helps fail, and the others run: dates, zones, and sorting
 * want nothing that the jail does not let happen. */
static void test_tests(void **state)
{
    static const char tests[] =
        "local names = {} for i = 1, 100 do names['t' .. i] = function() end end\n"
        "function names.hangs() policy 'test'.admit { online = false } end\n"
        "function names.hangs_too() policy 'test'.admit { online = false } end\n"
        "function names.offers() equal(policy 'test'.admit {}, 'offer') end\n"
        "function names.days() clock.set '2026-03-01T01:00:00Z' equal(time.rfc3339(clock.now()):sub(1, 4), "
        "'2026') end\n"
        "function names.zones() equal(policy 'test'.admit { id = 2, tags = { timezone = 'Europe/Berlin' } }, "
        "'skip') end\n"
        "return names";
    struct policy_library libraries[LAB_LIBRARIES];
    struct policy_source source = lab_source("return { admit = function(d, r, ctx)\n"
                                             "if d.id == 2 and ctx.hour == 1 then return 'skip' end\n"
                                             "if d.online then return 'offer' end\n"
                                             "return ('a'):rep(30000):find(('.-'):rep(30) .. 'b')\nend }",
                                             libraries);
    struct policy_text text = TEXT(tests);
    struct buffer json = {0};
    assert_true(host_test(*state, &source, &text, &json));
    if (strstr(buffer_text(&json), "{\"ok\":false,\"passed\":103,\"failed\":2,") == NULL)
        fail_msg("%s", buffer_text(&json));
    assert_non_null(strstr(buffer_text(&json), "\"coverage\":{\"lines\":4,\"ran\":3,\"missed\":[4]}"));
    assert_non_null(
        strstr(buffer_text(&json), "\"name\":\"hangs_too\",\"ok\":false,\"message\":\"ran too long"));
    assert_int_equal(host_counts(*state).started, 3);
    assert_int_equal(host_counts(*state).overran, 2);
    assert_int_equal(host_counts(*state).crashed, 0);
    json.len = 0;
    text = TEXT("policy 'test'.admit { online = false } return {}");
    assert_false(host_test(*state, &source, &text, &json));
    assert_non_null(strstr(buffer_text(&json), "the tests ran too long"));
    json.len = 0;
    assert_true(host_test(*state, &source, NULL, &json));
    assert_non_null(strstr(buffer_text(&json), "\"tests\":[]"));
    buffer_free(&json);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_answers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_load, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_problems, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_policies, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hostile, setup, teardown),
        cmocka_unit_test_setup_teardown(test_batch, setup, teardown),
        cmocka_unit_test_setup_teardown(test_all_hang, setup, teardown),
        cmocka_unit_test_setup_teardown(test_all_slow, setup, teardown),
        cmocka_unit_test_setup_teardown(test_time_zones, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bare_process, setup, teardown),
        cmocka_unit_test_setup_teardown(test_killed_while_idle, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stopped, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cannot_start, setup, teardown),
        cmocka_unit_test_setup_teardown(test_parent_killed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_threads, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unwanted_work_ends, setup, teardown),
        cmocka_unit_test_setup_teardown(test_simulate, setup, teardown),
        cmocka_unit_test_setup_teardown(test_replay, setup, teardown),
        cmocka_unit_test_setup_teardown(test_tests, setup, teardown),
    };
    if (argc == 2 && strcmp(argv[1], "policy-host") == 0)
        return host_main(argc - 1, argv + 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
