/* The count of header fields in front of libh2o's HPACK decoder: never more than asked for plus one, and a
 * longer block never counts less, so that nothing hides behind what came before. */
#include "net/limits.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t all = limits_hpack(data, size, LIMITS_HEADER_FIELDS), before = 0;
    if (all > LIMITS_HEADER_FIELDS + 1 || all > size)
        abort();
    for (size_t len = 0; len <= size && len <= 512; len++) {
        size_t count = limits_hpack(data, len, LIMITS_HEADER_FIELDS);
        if (count < before || count > all)
            abort();
        before = count;
    }
    return 0;
}
