/* Conditional requests for one representation (RFC 9110, 13). Pure functions, any thread. */
#pragma once
#include <h2o.h>
#include <stdbool.h>
#include <stdint.h>

struct condition_state {
    h2o_iovec_t tag;  /* strong, in its quotes */
    int64_t modified; /* s since 1970; 0: not known, and conditions on it are passed over */
};

/* Values of the headers; NULL-based where there is none. */
struct condition {
    h2o_iovec_t if_match, if_none_match, if_modified_since, if_unmodified_since;
};

/* In the order of RFC 9110, 13.2.2, for GET and HEAD: 412, 304, or 0: answer. */
int condition_check(const struct condition *condition, const struct condition_state *state);
/* Whether a Range holds, given the If-Range that came with it, if any. */
bool condition_range(h2o_iovec_t if_range, const struct condition_state *state);
