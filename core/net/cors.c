#include "net/cors.h"
#include "net/origin.h"

static void add(h2o_req_t *req, const char *name, size_t name_len, const char *value, size_t len)
{
    h2o_add_header_by_str(&req->pool, &req->res.headers, name, name_len, 1, NULL, value, len);
}

void cors_headers(h2o_req_t *req, const char *origins)
{
    if (*origins == '\0')
        return;
    add(req, H2O_STRLIT("vary"), H2O_STRLIT("origin"));
    ssize_t at = h2o_find_header_by_str(&req->headers, H2O_STRLIT("origin"), -1);
    if (at < 0 || !origin_listed(req->headers.entries[at].value, origins))
        return;
    h2o_iovec_t origin = req->headers.entries[at].value;
    add(req, H2O_STRLIT("access-control-allow-origin"), origin.base, origin.len);
    add(req, H2O_STRLIT("access-control-allow-credentials"), H2O_STRLIT("true"));
    add(req, H2O_STRLIT("access-control-expose-headers"), H2O_STRLIT("etag, x-request-id, retry-after"));
}

bool cors_preflight(struct http_request *request, const char *origins)
{
    static const struct http_header headers[] = {
        {"access-control-allow-methods", H2O_STRLIT("GET, HEAD, POST, PUT, PATCH, DELETE")},
        {"access-control-allow-headers",
         H2O_STRLIT("authorization, content-type, if-match, if-none-match, x-request-id")},
        {"access-control-max-age", H2O_STRLIT("7200")}};
    h2o_iovec_t method = http_method(request);
    if (!h2o_memis(method.base, method.len, H2O_STRLIT("OPTIONS")) ||
        http_header(request, "access-control-request-method").base == NULL ||
        !origin_listed(http_header(request, "origin"), origins))
        return false;
    http_set_route(request, "preflight");
    http_answer(request, 204, headers, sizeof(headers) / sizeof(headers[0]), NULL, 0);
    return true;
}
