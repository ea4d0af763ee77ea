/* What is wrong, as an answer: {"problems": [{"file", "line", "severity", "message"}]}, like everywhere over
 * HTTP. */
#pragma once
#include "base/buffer.h"
#include "lua/problems.h"

void report_problems(struct buffer *json, const struct problems *problems);
void report_error(struct buffer *json, const char *message); /* one, without a place */
