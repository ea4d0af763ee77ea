#include "policy/report.h"

void report_problems(struct buffer *json, const struct problems *problems)
{
    buffer_puts(json, "{\"problems\":");
    problems_put_json(problems, json);
    buffer_putc(json, '}');
}

void report_error(struct buffer *json, const char *message)
{
    struct problems problems = {0};
    problems_add(&problems, "", 0, message);
    report_problems(json, &problems);
    problems_free(&problems);
}
