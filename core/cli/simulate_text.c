#include "cli/simulate_text.h"
#include "cli/words.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { BAR = 24 };

static long long integer(json_t *object, const char *name)
{
    return json_integer_value(json_object_get(object, name));
}

static double number(json_t *object, const char *name)
{
    return json_number_value(json_object_get(object, name));
}

static const char *text(json_t *object, const char *name)
{
    const char *value = json_string_value(json_object_get(object, name));
    return value == NULL ? "" : value;
}

static void fill(char *bar, int *at, char c, double share)
{
    for (int until = (int)lround(share * BAR); *at < until && *at < BAR; ++*at)
        bar[*at] = c;
}

/* # succeeded, x failed, > under way, . not yet */
static void draw_bar(json_t *stage, char bar[BAR + 1])
{
    double all = (double)integer(stage, "targeted");
    long long succeeded = integer(stage, "succeeded"), failed = integer(stage, "failed"),
              under_way = integer(stage, "under_way");
    int at = 0;
    memset(bar, '.', BAR);
    bar[BAR] = '\0';
    if (all <= 0)
        return;
    /* Too few for a mark of their own are seen all the same. */
    double few = 1.0 / BAR, bad = failed > 0 ? fmax((double)failed / all, few) : 0,
           busy = under_way > 0 ? fmax((double)under_way / all, few) : 0;
    fill(bar, &at, '#', fmin((double)succeeded / all, 1 - bad - busy));
    fill(bar, &at, 'x', fmin((double)succeeded / all, 1 - bad - busy) + bad);
    fill(bar, &at, '>', fmin((double)succeeded / all, 1 - bad - busy) + bad + busy);
}

static void print_stage(json_t *stage, int width)
{
    char share[WORDS], entered[WORDS], until[WORDS], offered[WORDS], succeeded[WORDS], failed[WORDS],
        low[WORDS], high[WORDS], rate[WORDS], bar[BAR + 1];
    printf("  %-*s %7s", width, text(stage, "name"), words_share(share, number(stage, "share")));
    if (json_is_null(json_object_get(stage, "entered_s"))) {
        puts("  not reached");
        return;
    }
    draw_bar(stage, bar);
    printf("  %11s  %11s  %s  %9s %9s %9s", words_span(entered, integer(stage, "entered_s")),
           words_span(until, integer(stage, "until_s")), bar, words_count(offered, integer(stage, "offered")),
           words_count(succeeded, integer(stage, "succeeded")),
           words_count(failed, integer(stage, "failed")));
    if (integer(stage, "succeeded") + integer(stage, "failed") > 0)
        printf("  %s (%s to %s)", words_share(rate, number(stage, "failure_rate")),
               words_share(low, number(stage, "failure_low")),
               words_share(high, number(stage, "failure_high")));
    putchar('\n');
}

static void print_stages(json_t *answer)
{
    json_t *stages = json_object_get(answer, "stages"), *stage;
    size_t i;
    int width = 5;
    json_array_foreach(stages, i, stage)
    {
        int len = (int)strlen(text(stage, "name"));
        width = len > width ? len : width;
    }
    printf("  %-*s %7s  %11s  %11s  %-*s  %9s %9s %9s  %s\n", width, "stage", "share", "entered", "until",
           BAR, "", "offered", "succeeded", "failed", "failure rate (bounds, 95 %)");
    json_array_foreach(stages, i, stage)
    {
        print_stage(stage, width);
    }
    puts("  (# succeeded, x failed, > under way, . not yet; numbers are of all stages so far)");
}

void simulate_print_end(json_t *answer)
{
    static const struct {
        const char *outcome, *words;
    } ends[] = {{"completed", "Completed"},   {"paused", "Pauses"},
                {"aborted", "Aborted"},       {"rolled_back", "Rolled back"},
                {"running", "Still running"}, {"reverted", "The revision of the policy is reverted"}};
    char span[WORDS];
    const char *outcome = text(answer, "outcome"), *words = outcome, *stage = text(answer, "stage"),
               *reason = text(answer, "reason");
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        if (strcmp(ends[i].outcome, outcome) == 0)
            words = ends[i].words;
    }
    printf("%s after %s", words, words_span(span, integer(answer, "at_s")));
    if (*stage != '\0' && strcmp(outcome, "completed") != 0)
        printf(", in stage %s", stage);
    printf("%s%s\n", *reason == '\0' ? "" : ": ", reason);
}

static void print_turn(const struct cli_source *source, json_t *answer)
{
    json_t *line;
    char span[WORDS];
    size_t i;
    json_array_foreach(json_object_get(answer, "timeline"), i, line)
    {
        if (strcmp(text(line, "verdict"), "rollback") == 0)
            printf("Turns back after %s, in stage %s: %s\n", words_span(span, integer(line, "at_s")),
                   text(line, "stage"), text(line, "reason"));
    }
}

static void print_place(const struct cli_source *source, json_t *answer)
{
    const char *file = text(answer, "file");
    int line = (int)integer(answer, "line");
    if (line <= 0)
        return;
    printf("  %s:%d\n", *file == '\0' ? source->path : file, line);
    if (*file == '\0')
        cli_source_line(source, line, "    ");
}

static void print_counts(json_t *answer)
{
    json_t *counts = json_object_get(answer, "counts"), *count, *reason;
    const char *state, *comma = "";
    char n[WORDS];
    size_t i;
    printf("\n%s devices: ", words_count(n, integer(answer, "devices")));
    json_object_foreach(counts, state, count)
    {
        if (json_integer_value(count) == 0)
            continue;
        printf("%s%s %.*s%s%s", comma, words_count(n, json_integer_value(count)), (int)strcspn(state, "_"),
               state, strchr(state, '_') == NULL ? "" : " ",
               strchr(state, '_') == NULL ? "" : strchr(state, '_') + 1);
        comma = ", ";
    }
    putchar('\n');
    json_array_foreach(json_object_get(answer, "held"), i, reason)
    {
        int line = (int)integer(reason, "line");
        printf("  %s, %s: %s", words_count(n, integer(reason, "count")),
               strcmp(text(reason, "verdict"), "skip") == 0 ? "skipped" : "held",
               *text(reason, "reason") == '\0' ? "no reason given" : text(reason, "reason"));
        if (line > 0)
            printf(" (line %d)", line);
        putchar('\n');
    }
    json_array_foreach(json_object_get(answer, "excluded"), i, reason)
    {
        printf("  %s, excluded: %s\n", words_count(n, integer(reason, "count")), text(reason, "reason"));
    }
}

void simulate_print(const struct cli_source *source, json_t *answer)
{
    print_stages(answer);
    putchar('\n');
    print_turn(source, answer);
    simulate_print_end(answer);
    print_place(source, answer);
    print_counts(answer);
}
