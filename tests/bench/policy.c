/* How long a policy takes to answer.
 *
 *   bench-policy [DIRECTORY NAME]
 *
 * Asks the sample policy, or one of the scripts in DIRECTORY, about a device as the server words it: in this
 * process, call by call; and through the process of policies, in batches of 500, one by one, and after a
 * device whose call had to be ended from outside. Prints one line of JSON, in microseconds. It is its own
 * process of policies. */
#include "../unit/policy/samples.h"
#include "base/mem.h"
#include "policy/host.h"
#include "policy/shelf.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { CALLS = 50000, BATCHES = 100, BATCH = 500, ALONE = 2000, HANGS = 20 };

static const char hanging[] =
    "return { admit = function() return ('a'):rep(30000):find(('.-'):rep(30) .. 'b') end }";

static double now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static int by_size(const void *a, const void *b)
{
    return (*(const double *)a > *(const double *)b) - (*(const double *)a < *(const double *)b);
}

static void print(const char *name, double *took, size_t count, const char *end)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += took[i];
    qsort(took, count, sizeof(*took), by_size);
    printf("\"%s\": {\"median\": %.2f, \"mean\": %.2f, \"p99\": %.2f}%s", name, took[count / 2],
           sum / (double)count, took[count * 99 / 100], end);
}

static void must(bool fine, const struct policy_verdict *verdict)
{
    if (fine)
        return;
    fprintf(stderr, "bench-policy: %s, %s\n", policy_answer_name(verdict->answer), verdict->reason);
    exit(1);
}

static void in_process(const struct policy_source *source, const struct policy_moment *moment, double *took)
{
    struct policies policies = {.zones = zones_new(zones_load_file, NULL)};
    struct problems problems = {0};
    struct policy_verdict verdict;
    struct policy *policy = policy_load(&policies, source, &problems);
    if (policy == NULL) {
        fprintf(stderr, "bench-policy: line %d: %s\n", problems.list[0].line, problems.list[0].message);
        exit(1);
    }
    for (size_t i = 0; i < CALLS; i++) {
        double began = now_us();
        policy_admit(policy, moment, TEXT(device_json), &verdict);
        took[i] = now_us() - began;
        must(!verdict.failed, &verdict);
    }
    print("call_us", took, CALLS, ", ");
    policy_free(policy);
    zones_free(policies.zones);
}

static void through_host(const struct policy_source *source, const struct policy_moment *moment, double *took)
{
    struct host *host = host_new();
    struct policy_source bad = {.name = "hanging", .source = TEXT(hanging)};
    struct policy_verdict *verdicts = x_alloc(BATCH * sizeof(*verdicts));
    struct policy_text devices[BATCH];
    for (size_t i = 0; i < BATCH; i++)
        devices[i] = TEXT(device_json);
    double began = now_us();
    host_admit(host, source, moment, devices, 1, verdicts);
    printf("\"first_us\": %.0f, ", now_us() - began);
    for (size_t i = 0; i < BATCHES; i++) {
        began = now_us();
        host_admit(host, source, moment, devices, BATCH, verdicts);
        took[i] = (now_us() - began) / BATCH;
        must(!verdicts[BATCH - 1].failed, &verdicts[BATCH - 1]);
    }
    print("of_batch_us", took, BATCHES, ", ");
    for (size_t i = 0; i < ALONE; i++) {
        began = now_us();
        host_admit(host, source, moment, devices, 1, verdicts);
        took[i] = now_us() - began;
    }
    print("alone_us", took, ALONE, ", ");
    for (size_t i = 0; i < HANGS; i++) {
        began = now_us();
        host_admit(host, &bad, moment, devices, 1, verdicts);
        must(verdicts[0].failed, &verdicts[0]);
        took[i] = now_us() - began;
        began = now_us();
        host_admit(host, source, moment, devices, 1, verdicts);
        must(!verdicts[0].failed, &verdicts[0]);
        took[HANGS + i] = now_us() - began;
    }
    print("hung_us", took, HANGS, ", ");
    print("after_hung_us", took + HANGS, HANGS, "}\n");
    host_free(host);
    free(verdicts);
}

int main(int argc, char **argv)
{
    struct policy_source source = {.name = "bench", .source = TEXT(canary)};
    struct policy_moment moment = {.rollout = TEXT(rollout_json), .now = 1767225600};
    if (argc == 2 && strcmp(argv[1], "policy-host") == 0)
        return host_main(argc - 1, argv + 1);
    if (argc == 3) {
        char *error, *name = x_printf("policies/%s", argv[2]);
        struct bundle *bundle = bundle_read(argv[1], &error);
        const struct bundle_file *file = bundle == NULL ? NULL : bundle_find(bundle, name);
        struct shelf shelf;
        if (file == NULL || (shelf = shelf_of(bundle), !shelf_policy(&shelf, file, &source))) {
            fprintf(stderr, "bench-policy: there is no %s/%s.lua\n", argv[1], name);
            return 2;
        }
        free(name);
    }
    double *took = x_alloc(CALLS * sizeof(*took));
    putchar('{');
    in_process(&source, &moment, took);
    through_host(&source, &moment, took);
    free(took);
    return 0;
}
