/* The check of sources: whatever Lua compiles is checked to its end, with problems on lines that exist; what
 * it does not compile is one error. The first byte chooses the kind of source. */
#include "base/mem.h"
#include "policy/check.h"
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct checker *checker;
    struct problems problems = {0};
    int most = 2, *lines;
    if (size == 0 || size > POLICY_LARGEST)
        return 0;
    if (checker == NULL)
        checker = checker_new(NULL);
    if (checker_missing(checker) != NULL)
        abort();
    char *text = x_memdup(data + 1, size - 1);
    struct policy_text source = {text, size - 1};
    for (size_t i = 0; i < source.len; i++)
        most += text[i] == '\n' || text[i] == '\r';
    checker_run(checker, "fuzz", (enum check_kind)(data[0] % CHECK_KINDS), source, &problems);
    for (size_t i = 0; i < problems.count; i++) {
        const struct problem *problem = &problems.list[i];
        char module[32];
        int at; /* an error of the check's own begins with where it was raised */
        if (problem->line < 0 || problem->line > most || problem->column < 0 ||
            sscanf(problem->message, "cannot be checked: %31[a-z_.]:%d:", module, &at) == 2) {
            fprintf(stderr, "%d:%d: %s\n", problem->line, problem->column, problem->message);
            abort();
        }
    }
    size_t count = checker_lines(checker, source, &lines);
    for (size_t i = 0; i < count; i++) {
        if (lines[i] < 1 || lines[i] > most)
            abort();
    }
    free(lines);
    problems_free(&problems);
    free(text);
    return 0;
}
