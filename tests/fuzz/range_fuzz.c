/* The Range header: the first two bytes are the size of the representation. A range that is taken lies within
 * it; of anything else nothing is left. */
#include "net/range.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    size_t whole = (size_t)data[0] << 8 | data[1], len = size - 2, first = SIZE_MAX, last = SIZE_MAX;
    char *text = malloc(len + (len == 0)); /* no byte behind it */
    memcpy(text, data + 2, len);
    enum range_result result = range_parse(text, len, whole, &first, &last);
    if (result == RANGE_ONE ? first > last || last >= whole : first != SIZE_MAX || last != SIZE_MAX)
        abort();
    free(text);
    return 0;
}
