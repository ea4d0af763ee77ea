/* Whose pages ask (Origin, RFC 6454): browsers say, and pages of other hosts may do no more than http.origins
 * allows. `origins` is that list, separated by commas. Pure functions, any thread. */
#pragma once
#include <h2o.h>
#include <stdbool.h>

bool origin_listed(h2o_iovec_t origin, const char *origins);
/* Of the host that is asked for, or listed; or none was told (NULL-based): that is no page. */
bool origin_allowed(h2o_iovec_t origin, h2o_iovec_t host, const char *origins);
