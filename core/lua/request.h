/* The `req` that a handler gets, and the answer made of what it returns. */
#pragma once
#include "fleet/jwt.h"
#include "lua/coroutine.h"
#include "lua/routes.h"

struct request_arrival { /* only read before the handler first runs */
    struct http_request *request;
    const struct route *route;
    h2o_iovec_t params[ROUTE_PARAMS];
    struct jwt_claims claims;
};

/* The coroutine's function: argument a light userdata of struct request_arrival. Checks and decodes what the
 * route declares, calls the handler, and answers; then the coroutine's `request` is NULL. */
int request_run(lua_State *L);

/* Answers with the problem that the failed coroutine raised by fail(); false if it raised something else. */
bool request_answer_problem(struct coroutine *coroutine);

/* Whether the body is declared to be of this media type, whatever its parameters. */
bool request_has_type(struct http_request *request, const char *type);

/* A copy of the text that lives as long as the process, one per text: labels of metrics. */
const char *request_intern(struct runtime *runtime, const char *text);
void request_free_interned(struct runtime *runtime);
