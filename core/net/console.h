/* The web console: files that its build made, at / and below /ui/. Loaded at start, shared by all workers. */
#pragma once
#include "net/http.h"

struct console;

/* NULL: there is none in this directory, or it cannot be served; the log says which. */
struct console *console_load(const char *directory) __attribute__((warn_unused_result));
void console_free(struct console *console); /* after the last answer */
/* False: the path is not the console's, of which there may be none (NULL). */
bool console_answer(const struct console *console, struct http_request *request);
