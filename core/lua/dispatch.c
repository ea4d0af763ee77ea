#include "lua/dispatch.h"
#include "base/buffer.h"
#include "base/log.h"
#include "lua/coroutine.h"
#include "lua/json.h"
#include "lua/modules.h"
#include "lua/request.h"
#include "lua/routes.h"
#include "net/console.h"
#include "net/cors.h"
#include "net/multipart.h"
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Who asks. False: refused, and answered. */
static bool authenticate(struct runtime *runtime, struct http_request *request, const struct route *route,
                         struct jwt_claims *claims)
{
    static const char scheme[] = "Bearer ";
    h2o_iovec_t header = http_header(request, "authorization");

    if (header.base == NULL && route->who == ROUTE_GUEST)
        return true;
    if (header.len < sizeof(scheme) || strncasecmp(header.base, scheme, sizeof(scheme) - 1) != 0) {
        http_problem(request, 401, "This needs an access token: Authorization: Bearer ...", "", NULL, 0);
        return false;
    }
    if (!runtime->revocations_known) { /* a token may be good and its session over */
        http_problem(request, 503, "The database does not answer.", "", NULL, 0);
        return false;
    }
    enum jwt_error error = jwt_cache_verify(runtime->jwt_cache, header.base + sizeof(scheme) - 1,
                                            header.len - (sizeof(scheme) - 1), (int64_t)time(NULL), claims);
    if (error != JWT_OK || revocations_has(runtime->revocations, claims->sid)) {
        static const struct http_header invalid = {"www-authenticate", "Bearer error=\"invalid_token\"", 28};
        http_problem(request, 401,
                     error == JWT_EXPIRED ? "The access token has expired." : "The access token is not good.",
                     "", &invalid, 1);
        return false;
    }
    if (route->who == ROUTE_OPERATOR && claims->role != JWT_OPERATOR) {
        http_problem(request, 403, "This is for operators.", "", NULL, 0);
        return false;
    }
    return true;
}

static void refuse_path(struct http_request *request, const char *allow)
{
    if (*allow == '\0') {
        http_problem(request, 404, NULL, "", NULL, 0);
        return;
    }
    struct http_header header = {"allow", allow, strlen(allow)};
    http_problem(request, 405, NULL, "", &header, 1);
}

/* An error of a script, or a problem it raised. */
static void answer_error(struct coroutine *coroutine)
{
    struct http_request *request = coroutine->request;
    if (request_answer_problem(coroutine))
        return;
    char *text = coroutine_error_text(coroutine);
    log_error("script failed", LOG_STR("error", text), LOG_STR("request_id", http_id(request)));
    free(text);
    http_problem(request, 500, "A script failed; the log of the server says why.", "", NULL, 0);
}

static void on_end(struct coroutine *coroutine, bool ok, int results)
{
    /* A sound handler has been answered by its last continuation, inside the coroutine. */
    if (!ok && coroutine->request != NULL)
        answer_error(coroutine);
}

/* Limits are about what is sent; a form may have its frame and its other fields besides. */
static size_t largest_body(const struct runtime *runtime, const struct route *route,
                           struct http_request *request)
{
    size_t most = route->max_body != 0 ? route->max_body : (size_t)runtime->services->config->http_max_body;
    bool form = route->body == ROUTE_MULTIPART && request_has_type(request, "multipart/form-data");
    return form ? most + MULTIPART_FRAME : most;
}

void dispatch(struct http_request *request, void *arg)
{
    struct runtime *runtime = arg;
    struct request_arrival arrival = {.request = request};
    char allow[96];

    if (cors_preflight(request, runtime->services->config->http_origins))
        return;
    arrival.route = routes_find(runtime->current->routes, http_method(request), http_path(request),
                                arrival.params, allow, sizeof(allow));
    if (arrival.route == NULL) {
        /* A path that scripts declare is theirs, whatever the method. */
        if (*allow != '\0' || !console_answer(runtime->services->console, request))
            refuse_path(request, allow);
        return;
    }
    http_set_route(request, request_intern(runtime, arrival.route->path));
    if (arrival.route->who != ROUTE_ANYONE) {
        if (!authenticate(runtime, request, arrival.route, &arrival.claims))
            return;
    }
    if (http_body(request).len > largest_body(runtime, arrival.route, request)) {
        http_problem(request, 413, "The body is larger than this path takes.", "", NULL, 0);
        return;
    }
    struct coroutine *coroutine = coroutine_new(runtime->current);
    if (coroutine == NULL) {
        http_problem(request, 503, "The server is out of memory for scripts.", "", NULL, 0);
        return;
    }
    /* Known from now on: who changes something and leaves at once is not nameless. */
    if (strcmp(arrival.route->method, "GET") != 0)
        http_address(request);
    coroutine->request = request;
    coroutine->user = arrival.claims.sub;
    coroutine->on_end = on_end;
    lua_pushcfunction(coroutine->L, request_run);
    lua_pushlightuserdata(coroutine->L, &arrival);
    coroutine_resume(coroutine, 1);
}
