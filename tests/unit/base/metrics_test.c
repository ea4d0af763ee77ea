#include "base/metrics.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void check_text(const struct metrics *metrics, const char *expected)
{
    size_t len;
    char *text = metrics_print(metrics, &len);
    assert_int_equal(len, strlen(text));
    assert_string_equal(text, expected);
    free(text);
}

static void test_text_format(void **state)
{
    struct metrics *metrics = metrics_new();
    check_text(metrics, "");
    metrics_series(metrics, METRICS_COUNTER, "hits_total", "code=\"200\"", "Hits")->value = 12345678901;
    metrics_series(metrics, METRICS_GAUGE, "open", "", "")->value = -0.5;
    metrics_series(metrics, METRICS_COUNTER, "hits_total", "code=\"500\"", "ignored")->value++;
    metrics_series(metrics, METRICS_COUNTER, "hits_total", "code=\"500\"", "")->value++;
    check_text(metrics, "# HELP hits_total Hits\n# TYPE hits_total counter\n"
                        "hits_total{code=\"200\"} 12345678901\nhits_total{code=\"500\"} 2\n"
                        "# TYPE open gauge\nopen -0.5\n");
    metrics_free(metrics);
}

static void test_histograms_are_cumulative(void **state)
{
    struct metrics *metrics = metrics_new();
    struct metrics_series *series = metrics_series(metrics, METRICS_HISTOGRAM, "took", "r=\"x\"", "");
    metrics_observe(series, 0);
    metrics_observe(series, 0.0005); /* a bound belongs to its bucket */
    metrics_observe(series, 0.3);
    metrics_observe(series, 10.5);
    assert_int_equal(series->buckets[0], 2);
    assert_int_equal(series->buckets[METRICS_BUCKETS - 1], 1);
    char *text = metrics_print(metrics, &(size_t){0});
    assert_non_null(strstr(text, "\ntook_bucket{r=\"x\",le=\"0.0005\"} 2\n"));
    assert_non_null(strstr(text, "\ntook_bucket{r=\"x\",le=\"0.1\"} 2\n"));
    assert_non_null(strstr(text, "\ntook_bucket{r=\"x\",le=\"0.5\"} 3\n"));
    assert_non_null(strstr(text, "\ntook_bucket{r=\"x\",le=\"10\"} 3\n"));
    assert_non_null(strstr(text, "\ntook_bucket{r=\"x\",le=\"+Inf\"} 4\n"));
    assert_non_null(strstr(text, "\ntook_sum{r=\"x\"} 10.8005\n"));
    assert_non_null(strstr(text, "\ntook_count{r=\"x\"} 4\n"));
    free(text);
    metrics_free(metrics);
}

/* Nine digits were printed: after three days of requests a second's worth of them no longer showed. */
static void test_sums_keep_their_digits(void **state)
{
    struct metrics *metrics = metrics_new();
    struct metrics_series *series = metrics_series(metrics, METRICS_HISTOGRAM, "took", "", "");
    series->value = 250000;
    metrics_observe(series, 0.0004);
    char *text = metrics_print(metrics, &(size_t){0});
    assert_non_null(strstr(text, "\ntook_sum 250000.0004\n"));
    free(text);
    metrics_free(metrics);
}

static void test_odd_observations(void **state)
{
    struct metrics *metrics = metrics_new();
    struct metrics_series *series = metrics_series(metrics, METRICS_HISTOGRAM, "took", "", "");
    metrics_observe(series, -1);
    metrics_observe(series, INFINITY);
    metrics_observe(series, NAN);
    uint64_t count = 0;
    for (size_t i = 0; i < METRICS_BUCKETS; i++)
        count += series->buckets[i];
    assert_int_equal(count, 3);
    metrics_free(metrics);
}

static void test_sum_of_workers(void **state)
{
    struct metrics *sum = metrics_new(), *worker[2] = {metrics_new(), metrics_new()};
    for (int i = 0; i < 2; i++) {
        metrics_series(worker[i], METRICS_COUNTER, "hits", "", "Hits")->value = i + 1;
        metrics_observe(metrics_series(worker[i], METRICS_HISTOGRAM, "took", "", ""), 0.002);
    }
    metrics_series(worker[1], METRICS_GAUGE, "only", "w=\"1\"", "")->value = 7;
    metrics_add(sum, worker[0]);
    metrics_add(sum, worker[1]);
    assert_true(metrics_series(sum, METRICS_COUNTER, "hits", "", "")->value == 3);
    assert_true(metrics_series(sum, METRICS_GAUGE, "only", "w=\"1\"", "")->value == 7);
    assert_int_equal(metrics_series(sum, METRICS_HISTOGRAM, "took", "", "")->buckets[2], 2);
    assert_true(metrics_series(worker[0], METRICS_COUNTER, "hits", "", "")->value == 1);
    metrics_free(sum);
    metrics_free(worker[0]);
    metrics_free(worker[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_format),
        cmocka_unit_test(test_histograms_are_cumulative),
        cmocka_unit_test(test_sums_keep_their_digits),
        cmocka_unit_test(test_odd_observations),
        cmocka_unit_test(test_sum_of_workers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
