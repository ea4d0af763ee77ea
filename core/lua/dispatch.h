/* From a request to its script and back: finds the route, checks who asks, runs the handler in a coroutine of
 * its own, answers with what it returns. */
#pragma once
#include "lua/runtime.h"

/* The http_handler of each worker; `arg` is its struct runtime. */
void dispatch(struct http_request *request, void *arg);
