/* The Range header of one representation (RFC 9110 section 14). */
#pragma once
#include <stdbool.h>
#include <stddef.h>

enum range_result {
    RANGE_NONE,  /* no range, not in bytes, malformed, or several: the whole is sent */
    RANGE_ONE,   /* *first .. *last, both within the representation */
    RANGE_BEYOND /* begins past the end: 416 */
};

/* A last byte past the end is cut to the end, as esp_https_ota needs: it may ask `start-<length>`. *first and
 * *last are only changed for RANGE_ONE. */
enum range_result range_parse(const char *text, size_t len, size_t size, size_t *first, size_t *last);
