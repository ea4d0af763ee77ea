/* Accept-Encoding (RFC 9110, 12.5.3): which of the encodings that are there a client wants. Pure functions,
 * any thread. */
#pragma once
#include <h2o.h>
#include <stdbool.h>

enum encoding { ENCODING_IDENTITY, ENCODING_GZIP, ENCODING_BR, ENCODINGS };

const char *encoding_name(enum encoding encoding); /* "gzip" */
/* The one the header likes best, of equal ones the smallest; identity where it allows none, is malformed, or
 * is not there (NULL-based). Identity is always there. */
enum encoding encoding_choose(h2o_iovec_t accept, const bool there[ENCODINGS]);
