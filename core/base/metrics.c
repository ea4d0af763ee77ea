#include "base/metrics.h"
#include "base/mem.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const double metrics_bounds[METRICS_BUCKETS] = {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025,
                                                0.05,   0.1,   0.5,    1,     10,   INFINITY};

/* Families and series are few (routes times codes) and found rarely: plain lists in order of first use. */
struct entry {
    struct metrics_series series;
    char *labels;
    struct entry *next;
};

struct family {
    char *name, *help;
    enum metrics_kind kind;
    struct entry *entries;
    struct family *next;
};

struct metrics {
    struct family *families;
};

struct metrics *metrics_new(void)
{
    return x_new(struct metrics);
}

void metrics_free(struct metrics *metrics)
{
    for (struct family *family = metrics->families, *next; family != NULL; family = next) {
        next = family->next;
        for (struct entry *entry = family->entries, *after; entry != NULL; entry = after) {
            after = entry->next;
            free(entry->labels);
            free(entry);
        }
        free(family->name);
        free(family->help);
        free(family);
    }
    free(metrics);
}

struct metrics_series *metrics_series(struct metrics *metrics, enum metrics_kind kind, const char *name,
                                      const char *labels, const char *help)
{
    struct family **family = &metrics->families;
    while (*family != NULL && strcmp((*family)->name, name) != 0)
        family = &(*family)->next;
    if (*family == NULL) {
        *family = x_new(struct family);
        (*family)->name = x_strdup(name);
        (*family)->help = x_strdup(help);
        (*family)->kind = kind;
    }
    struct entry **entry = &(*family)->entries;
    while (*entry != NULL && strcmp((*entry)->labels, labels) != 0)
        entry = &(*entry)->next;
    if (*entry == NULL) {
        *entry = x_new(struct entry);
        (*entry)->labels = x_strdup(labels);
    }
    return &(*entry)->series;
}

void metrics_observe(struct metrics_series *series, double seconds)
{
    size_t i = 0;
    while (seconds > metrics_bounds[i])
        i++;
    series->buckets[i]++;
    series->value += seconds;
}

void metrics_add(struct metrics *into, const struct metrics *from)
{
    for (const struct family *family = from->families; family != NULL; family = family->next) {
        for (const struct entry *entry = family->entries; entry != NULL; entry = entry->next) {
            struct metrics_series *sum =
                metrics_series(into, family->kind, family->name, entry->labels, family->help);
            sum->value += entry->series.value;
            for (size_t i = 0; i < METRICS_BUCKETS; i++)
                sum->buckets[i] += entry->series.buckets[i];
        }
    }
}

static void print_histogram(FILE *out, const char *name, const struct entry *entry)
{
    const char *comma = *entry->labels == '\0' ? "" : ",";
    uint64_t count = 0;
    for (size_t i = 0; i < METRICS_BUCKETS; i++) {
        count += entry->series.buckets[i];
        if (isinf(metrics_bounds[i]))
            fprintf(out, "%s_bucket{%s%sle=\"+Inf\"} %llu\n", name, entry->labels, comma,
                    (unsigned long long)count);
        else
            fprintf(out, "%s_bucket{%s%sle=\"%g\"} %llu\n", name, entry->labels, comma, metrics_bounds[i],
                    (unsigned long long)count);
    }
    const char *open = *entry->labels == '\0' ? "" : "{", *close = *entry->labels == '\0' ? "" : "}";
    fprintf(out, "%s_sum%s%s%s %.15g\n", name, open, entry->labels, close, entry->series.value);
    fprintf(out, "%s_count%s%s%s %llu\n", name, open, entry->labels, close, (unsigned long long)count);
}

char *metrics_print(const struct metrics *metrics, size_t *len)
{
    static const char *const kinds[] = {"counter", "gauge", "histogram"};
    char *text = NULL;
    FILE *out = open_memstream(&text, len);
    if (out == NULL)
        abort();
    for (const struct family *family = metrics->families; family != NULL; family = family->next) {
        if (*family->help != '\0')
            fprintf(out, "# HELP %s %s\n", family->name, family->help);
        fprintf(out, "# TYPE %s %s\n", family->name, kinds[family->kind]);
        for (const struct entry *entry = family->entries; entry != NULL; entry = entry->next) {
            if (family->kind == METRICS_HISTOGRAM)
                print_histogram(out, family->name, entry);
            else if (*entry->labels == '\0')
                fprintf(out, "%s %.15g\n", family->name, entry->series.value);
            else
                fprintf(out, "%s{%s} %.15g\n", family->name, entry->labels, entry->series.value);
        }
    }
    fclose(out);
    return text;
}
