/* How long a policy takes to answer.
 *
 *   bench-policy [FILE.lua [LIBRARY-DIRECTORY]]
 *
 * Asks the policy of CONTRACT, section 5, or that of a file about a device as the server words it: in this process, call by
 * call, and through the process of policies in batches of 500. Prints one line of JSON. */
#include "../../unit/policy/samples.h"
#include "base/mem.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { CALLS = 20000 };

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

int main(int argc, char **argv)
{
    struct policies policies = {.zones = zones_new(zones_load_file, NULL)};
    struct policy_source source = {.name = "bench", .source = TEXT(canary)};
    struct policy_moment moment = {.rollout = TEXT(rollout_json), .now = 1.8e9};
    struct problems problems = {0};
    struct policy *policy = policy_load(&policies, &source, &problems);
    if (policy == NULL) {
        fprintf(stderr, "%s\n", problems.list[0].message);
        return 1;
    }
    double *took = x_alloc(CALLS * sizeof(*took));
    struct policy_verdict verdict;
    double sum = now_us();
    for (int i = 0; i < CALLS; i++) {
        double began = now_us();
        policy_admit(policy, &moment, TEXT(device_json), &verdict);
        took[i] = now_us() - began;
    }
    sum = now_us() - sum;
    qsort(took, CALLS, sizeof(*took), by_size);
    printf("{\"admit_us\": {\"median\": %.2f, \"p99\": %.2f, \"mean\": %.2f}", took[CALLS / 2], took[CALLS * 99 / 100], sum / CALLS);
    printf("} %s %s\n", policy_answer_name(verdict.answer), verdict.reason);
    puts(policy_declaration(policy));
}
